"""Folders of images: what is read, kept in the cache, and refused."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._pytree import tree_leaves

from fkd.data import Normalize, Resident, Source, Streamed, _folder, datasets


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


@pytest.mark.parametrize("memory", [0, 1])
def test_few_images_are_in_memory_beside_the_tensor_that_holds_all(images, memory, monkeypatch):
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
    monkeypatch.setattr(_folder, "ThreadPoolExecutor", partial(ThreadPoolExecutor, 2))
    data = datasets.load("folder", images, memory=memory, workers=0)
    assert len(most) == (48 if memory else 0)  # with those to test on, or none beforehand
    source = data.train.batched(4)
    batches = [source.read(feed).inputs.sum() for feed in source.feeds(0, 0)]
    assert (len(batches), len(most)) == (11, 48 if memory else 44)
    assert max(most) <= 8  # of a stream, the batch that is read and the one before


def test_sizes_have_caches_of_their_own(images, cache):
    for _ in range(2):
        for size in (32, 48):
            assert datasets.load("folder", images, image_size=size).train.inputs.shape[-1] == size
        assert len(list((cache / "folder").iterdir())) == 2


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("memory", [0, 1])
def test_images_are_converted_to_the_channels(images, channels, mode, memory):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(images / "train" / "cat" / "0.png")
    data = datasets.load("folder", images, channels=channels, memory=memory, workers=0)
    first = next(data.train.in_order(1)).inputs[0]
    expected = torch.tensor(np.asarray(picture.convert(mode))).reshape(32, 32, -1) / 255
    # ImageNet's for three channels, and 0.5 for any other number
    mean, std = (datasets.MEAN, datasets.STD) if channels == 3 else (0.5, 0.5)
    expected = (expected - torch.tensor(mean)) / torch.tensor(std)
    torch.testing.assert_close(first, expected.movedim(-1, 0), rtol=0, atol=1e-5)


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


@pytest.mark.parametrize("memory", [0, 1])
def test_deep_images_are_refused_for_they_would_be_cut_off(images, memory):
    deep = np.full((32, 32), 1000, dtype=np.uint16)
    Image.fromarray(deep).save(images / "train" / "cat" / "0.png")
    with pytest.raises(ValueError, match=r"cat/0.png: it has more than 8 bits a colour \(mode I"):
        next(datasets.load("folder", images, memory=memory, workers=0).train.in_order(1))


def test_a_folder_is_decoded_once_and_again_when_it_changes(images, cache, monkeypatch):
    before = {path for path in images.rglob("*")}
    first = datasets.load("folder", images)
    with monkeypatch.context() as patch:
        patch.setattr(_folder, "_decode", lambda images: pytest.fail("decoded again"))
        again = datasets.load("folder", images)
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert {path for path in images.rglob("*")} == before  # nothing beside the user's images
    Image.fromarray(np.zeros((32, 32, 3), dtype=np.uint8)).save(images / "train" / "cat" / "0.png")
    assert datasets.load("folder", images).train.inputs[0].max() == 0
    assert len(list((cache / "folder").iterdir())) == 1  # the stale one is gone


def test_a_cache_that_cannot_be_written_costs_only_time(images, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FKD_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="could not be cached .* Set FKD_CACHE"):
        assert len(datasets.load("folder", images).train.inputs) == 4


def test_a_broken_cache_is_decoded_again(images, cache):
    datasets.load("folder", images)
    (file,) = (cache / "folder").iterdir()
    file.write_bytes(b"broken")
    assert len(datasets.load("folder", images).train.inputs) == 4


def test_a_missing_or_empty_folder_is_refused(images, tmp_path):
    with pytest.raises(ValueError, match="which folder"):
        datasets.load("folder")
    with pytest.raises(ValueError, match=r"nowhere/train is missing; .* must hold train/<class>/"):
        datasets.load("folder", tmp_path / "nowhere")
    (images / "train" / "empty").mkdir()
    with pytest.raises(ValueError, match=r"must hold a folder of images for each class .*empty"):
        datasets.load("folder", images)


def test_classes_that_differ_are_named(images):
    (images / "test" / "dog").rename(images / "test" / "wolf")
    with pytest.raises(
        ValueError, match=r"\['dog'\] are only in train and \['wolf'\] only in test"
    ):
        datasets.load("folder", images)


def test_unreadable_images_are_named(images):
    (images / "train" / "cat" / "0.png").write_text("not an image")
    whole = (images / "test" / "dog" / "1.png").read_bytes()
    (images / "test" / "dog" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError) as error:
        datasets.load("folder", images)
    assert "2 images cannot be read" in str(error.value)
    assert "train/cat/0.png" in str(error.value)
    assert "test/dog/1.png" in str(error.value)
