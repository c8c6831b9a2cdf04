"""Folders of images: what is read, held or streamed, told and refused."""

import os
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils._pytree import tree_leaves

from fkd.data import Normalize, Resident, Source, Streamed, _decoded, _folder, datasets


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FKD_CACHE", str(folder))
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    """ROOT/train/<class>/* and ROOT/test/<class>/*, of two classes with two images each."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "root" / split / label
            folder.mkdir(parents=True)
            for i, side in enumerate((32, 48)):
                pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "root"


def test_a_folder_is_read_as_it_is_and_resized_to_32(images):
    data = datasets.load("folder", images)
    assert data.classes == ("cat", "dog")
    assert data.train.targets["labels"].tolist() == [0, 0, 1, 1]
    expected = np.asarray(Image.open(images / "train" / "cat" / "0.png")).transpose(2, 0, 1)
    assert np.array_equal(data.train.inputs[0].numpy(), expected)
    assert data.test.inputs.shape == (4, 3, 32, 32)


def test_a_grey_image_becomes_three_channels(images):
    Image.fromarray(np.full((32, 32), 9, dtype=np.uint8)).save(images / "train" / "cat" / "0.png")
    assert torch.equal(
        datasets.load("folder", images).train.inputs[0],
        torch.full((3, 32, 32), 9, dtype=torch.uint8),
    )


def _same(first: Source, second: Source) -> bool:
    """Whether two sources have the same batches in an epoch, and in order."""
    one, other = (
        [source.read(feed, None) for feed in source.feeds(3, 1)] + list(source.in_order(3))
        for source in (first.batched(2), second.batched(2))
    )
    leaves = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in leaves)


# from Python 3.12 on, a fork of a process with threads warns; torch's workers are forks on Linux
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_that_does_not_fit_is_streamed_in_the_same_batches(images, cache, workers):
    resident = datasets.load("folder", images, image_size=96)
    assert resident.train.inputs.shape == (4, 3, 96, 96)
    held = 2 * 4 * 3 * 96 * 96  # bytes of both splits
    just = datasets.load("folder", images, image_size=96, memory=held / 2**30)
    assert isinstance(just.train, Resident)
    files = sorted(cache.rglob("*"))
    streamed = datasets.load(
        "folder", images, image_size=96, memory=(held - 1) / 2**30, workers=workers
    )
    assert isinstance(streamed.train, Streamed) and isinstance(streamed.test, Streamed)
    assert streamed.classes == ("cat", "dog")
    assert _same(streamed.train, resident.train) and _same(streamed.test, resident.test)
    parts = [data.hold_out(0.5, seed=1) for data in (streamed, resident)]
    assert _same(parts[0][1], parts[1][1])
    assert sorted(cache.rglob("*")) == files  # nothing is kept of what is streamed


def test_of_a_stream_few_images_are_in_memory(images, monkeypatch):
    for number in range(2, 22):  # 44 images to train on
        for label in ("cat", "dog"):
            image = Image.fromarray(np.full((48, 48, 3), number, dtype=np.uint8))
            image.save(images / "train" / label / f"{number}.png")
    alive, most = weakref.WeakSet(), []
    decode = _folder.decode

    def counted(path: str, channels: int, side: int) -> torch.Tensor:
        image = decode(path, channels, side)
        alive.add(image)
        most.append(len(alive))
        return image

    monkeypatch.setattr(_folder, "decode", counted)
    data = datasets.load("folder", images, memory=0, workers=0)
    assert most == []  # none beforehand
    source = data.train.batched(4)
    batches = [source.read(feed).inputs.sum() for feed in source.feeds(0, 0)]
    assert (len(batches), len(most)) == (11, 44)
    assert max(most) <= 8  # the batch that is read and the one before


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("memory", [0, 1])
def test_images_are_converted_to_the_channels_and_normalised(images, channels, memory):
    Image.new("RGBA", (32, 32), (200, 100, 50, 128)).save(images / "train" / "cat" / "0.png")
    data = datasets.load("folder", images, channels=channels, memory=memory, workers=0)
    first = next(data.train.in_order(1)).inputs[0, :, 0, 0]
    # laid on black, unless there is a fourth channel
    pixel = {1: [62], 3: [100, 50, 25], 4: [200, 100, 50, 128]}[channels]
    # ImageNet's for three channels, and 0.5 for any other number
    mean, std = (datasets.MEAN, datasets.STD) if channels == 3 else (0.5, 0.5)
    expected = (torch.tensor(pixel) / 255 - torch.tensor(mean)) / torch.tensor(std)
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-5)


def test_statistics_are_the_users_own(images):
    data = datasets.load("folder", images, channels=1, mean=[0.2], std=[0.1])
    assert data.train.transform == Normalize((0.2,), (0.1,))
    assert data.train.inputs.shape == (4, 1, 32, 32)


def test_other_channels_are_refused(images):
    with pytest.raises(ValueError, match="number of channels '2' is not known; choose from 1, 3, "):
        datasets.load("folder", images, channels=2)
    with pytest.raises(ValueError, match="one number for each of the 1 channels, but they hold 3"):
        datasets.load("folder", images, channels=1, mean=datasets.MEAN, std=datasets.STD)
    with pytest.raises(ValueError, match=r"mean and std .* but they hold 1 and 3"):
        datasets.load("folder", images, mean=[0.5])


def test_a_missing_or_empty_folder_is_refused(images, tmp_path):
    with pytest.raises(ValueError, match="which folder"):
        datasets.load("folder")
    with pytest.raises(
        ValueError, match=r"root must be a folder, .*nowhere is not there; it holds"
    ):
        datasets.load("folder", tmp_path / "nowhere")
    (images / "train" / "empty").mkdir()
    with pytest.raises(ValueError, match=r"must hold a folder of images for each class .*empty"):
        datasets.load("folder", images)
    with pytest.raises(ValueError, match=r"for each class .*, but it holds no folder"):
        for path in sorted((images / "train").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        datasets.load("folder", images)
    (images / "train").rmdir()
    with pytest.raises(ValueError, match=r"train/ in root must be a folder, but .* is not there"):
        datasets.load("folder", images)
    (images / "train").symlink_to("test")
    with pytest.raises(ValueError, match=r"train/ and test/ in .* must be two folders, not one"):
        datasets.load("folder", images)


def test_classes_that_differ_are_named(images):
    (images / "test" / "dog").rename(images / "test" / "wolf")
    with pytest.raises(ValueError, match="but dog are only in train and wolf only in test"):
        datasets.load("folder", images)


@pytest.mark.parametrize(
    ("one", "other"), [("e\u0301tui", "\xe9tui"), ("Cat", "cat"), ("cat", "cat ")]
)
def test_classes_that_look_alike_are_told_apart(one, other, images):
    (images / "train" / "cat").rename(images / "train" / one)
    (images / "test" / "cat").rename(images / "test" / other)
    with pytest.raises(ValueError, match="differ in case, blanks or how accents") as error:
        datasets.load("folder", images)
    assert f"{one!a} and {other!a}" in str(error.value)


@pytest.mark.parametrize("memory", [0, 1])
def test_unreadable_images_are_named_before_any_is_decoded(images, memory, monkeypatch):
    monkeypatch.setattr(_decoded, "decode", None)
    (images / "train" / "cat" / "0.png").write_text("not an image")
    (images / "test" / "dog" / "1.png").write_bytes(b"P5 50000 50000 255 ")
    with pytest.raises(ValueError) as error:
        datasets.load("folder", images, memory=memory)
    assert "2 images or folders cannot be read; mend or remove them:" in str(error.value)
    assert "train/cat/0.png: it is no image of JPEG, PNG" in str(error.value)
    assert "test/dog/1.png: it unpacks to more than 89,478,485 pixels" in str(error.value)


def _cut(images: Path) -> None:
    """Cut two images short, which their headers do not show."""
    for name in ("train/cat/0.png", "train/dog/1.png"):
        whole = (images / name).read_bytes()
        (images / name).write_bytes(whole[: len(whole) // 2])


def test_what_cannot_be_decoded_is_named_with_the_others(images, cache):
    _cut(images)
    with pytest.raises(ValueError, match="2 images or folders cannot be read") as error:
        datasets.load("folder", images)
    assert "train/cat/0.png: image file is truncated" in str(error.value)
    assert "train/dog/1.png: image file is truncated" in str(error.value)
    assert list(cache.rglob("*.*")) == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_decoded_in_a_stream_is_named(images, workers):
    _cut(images)
    source = datasets.load("folder", images, memory=0, workers=workers).train
    with pytest.raises(ValueError) as error:
        list(source.in_order(4))
    where = f"{images.resolve()}/train/cat/0.png"
    assert str(error.value).startswith(f"root: {where}: image file is truncated")
    assert str(error.value).endswith("; mend or remove it")


@pytest.mark.parametrize("memory", [0, 1])
def test_what_is_passed_over_and_images_of_several_frames_are_told(images, memory):
    assert datasets.load("folder", images, memory=memory).notes == ()
    for number in range(12):
        (images / "test" / "dog" / f"{number:02}.txt").touch()
    (images / "train" / ".DS_Store").touch()
    blue = Image.new("RGB", (32, 32), (0, 0, 255))
    blue.save(
        images / "train" / "cat" / "2.gif", save_all=True, append_images=[Image.new("L", (32, 32))]
    )
    for _ in range(2):  # decoded and from the cache
        notes = datasets.load("folder", images, memory=memory).notes
        assert len(notes) == 2
        assert notes[0].startswith(
            "13 files or folders are passed over, for they are hidden, no im"
        )
        assert notes[0].endswith(
            ": train/.DS_Store, test/dog/00.txt, test/dog/01.txt, test/dog/02."
            "txt, test/dog/03.txt, test/dog/04.txt, test/dog/05.txt, test/dog/"
            "06.txt, test/dog/07.txt, test/dog/08.txt, and 3 more"
        )
        assert notes[1] == (
            "1 images hold several frames, of which the first is taken: train/cat/2.gif"
        )


def test_the_digest_is_of_names_labels_sizes_and_ends(images):
    def digest() -> str:
        return datasets.load("folder", images, memory=0).train.digest()

    digests = [digest()]
    assert digest() == digests[0]
    path = images / "train" / "cat" / "0.png"
    data = bytearray(path.read_bytes())
    status = path.stat()
    data[-13] ^= 1  # in the checksum of the last chunk but one
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    digests.append(digest())
    path.rename(path.with_name("00.png"))
    digests.append(digest())
    (images / "train" / "cat" / "00.png").rename(images / "train" / "dog" / "00.png")
    digests.append(digest())
    assert len(set(digests)) == 4


def test_where_the_folder_lies_is_of_no_matter_to_the_digest(images, tmp_path):
    before = datasets.load("folder", images, memory=0).train.digest()
    images.rename(tmp_path / "moved")
    assert datasets.load("folder", tmp_path / "moved", memory=0).train.digest() == before


FAULTS = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("x" * 200),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "gone": lambda path: (path.unlink(), path.symlink_to("gone")),
    "cycle": lambda path: (path.unlink(), path.symlink_to("..")),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "flipped": lambda path: path.write_bytes(bytes(b ^ 1 for b in path.read_bytes())),
    "hidden": lambda path: path.rename(path.with_name(".x")),
    "removed": lambda path: path.unlink(),
    "kept": lambda path: None,
}


@given(
    faults=st.lists(st.sampled_from(list(FAULTS)), min_size=8, max_size=8), memory=st.integers(0, 1)
)
def test_any_folder_is_read_or_refused_in_our_words(tmp_path_factory, faults, memory):
    root = tmp_path_factory.mktemp("faults")
    names = [f"{s}/{c}/{i}.png" for s in ("train", "test") for c in "ab" for i in range(2)]
    for name, fault in zip(names, faults, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((6, 5), 50).save(root / name)
        FAULTS[fault](root / name)
    try:
        data = datasets.load("folder", root, memory=memory, workers=0)
        for source in (data.train, data.test):
            list(source.in_order(2))
    except ValueError as error:
        assert str(error).startswith(("folder: ", "root: ")) and str(root.resolve()) in str(error)
    else:
        assert set(faults) <= {"kept", "removed", "hidden", "folder"}
