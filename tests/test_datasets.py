"""Data sets: the embedded digits, torchvision's from local copies, and folders of images."""

import hashlib
import http.server
import pickle
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets as tv

from fkd import datasets


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FKD_CACHE", str(folder))
    return folder


def test_digits_are_split_in_two_halves_with_the_classes_shares():
    data = datasets.load("digits")
    assert data.train_images.shape == (898, 3, 32, 32)
    assert data.test_images.shape == (899, 3, 32, 32)
    train, test = data.train_labels.bincount(), data.test_labels.bincount()
    assert (train - test).abs().max() <= 1
    assert torch.equal(data.train_images[:, 0], data.train_images[:, 2])
    assert (data.train_images.min(), data.train_images.max()) == (0, 255)


def test_digits_are_the_same_every_time_and_no_image_is_in_both_halves():
    one, two = datasets.load("digits"), datasets.load("digits")
    assert torch.equal(one.train_images, two.train_images)
    rows = {split: {x.numpy().tobytes() for x in images} for split, images in
            (("train", one.train_images), ("test", one.test_images))}  # fmt: skip
    assert not rows["train"] & rows["test"]


def test_an_unknown_data_set_is_refused():
    with pytest.raises(
        ValueError, match="data set 'mnits' is not known; choose from digits, cifar10"
    ):
        datasets.load("mnits")


def test_the_cache_can_be_moved(monkeypatch, tmp_path):
    assert datasets.cache_dir() != tmp_path
    monkeypatch.delenv("FKD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert datasets.cache_dir() == tmp_path / "fkd"


def _cifar10_archive(folder: Path) -> tuple[Path, np.ndarray]:
    """A small archive in CIFAR-10's own layout: pickled batches of rows of 3072 bytes."""
    inner = folder / "cifar-10-batches-py"
    inner.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for i, name in enumerate(names):
        batch = {"data": rows[2 * i : 2 * i + 2], "labels": [i, (i + 1) % 10]}
        (inner / name).write_bytes(pickle.dumps(batch))
    meta = {"label_names": [f"class{i}" for i in range(10)]}
    (inner / "batches.meta").write_bytes(pickle.dumps(meta))
    archive = folder / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(inner, inner.name)
    return archive, rows


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """The address of a web server, on this machine alone, for what is in `tmp_path`."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()


@pytest.fixture
def local_cifar10(tmp_path, monkeypatch, server) -> np.ndarray:
    source = tmp_path / "source"
    source.mkdir()
    archive, rows = _cifar10_archive(source)

    def md5(path: Path) -> str:
        return hashlib.md5(path.read_bytes()).hexdigest()

    inner = source / "cifar-10-batches-py"
    monkeypatch.setattr(tv.CIFAR10, "url", f"{server}/source/{archive.name}")
    monkeypatch.setattr(tv.CIFAR10, "tgz_md5", md5(archive))
    for attribute in ("train_list", "test_list"):
        found = [[name, md5(inner / name)] for name, _ in getattr(tv.CIFAR10, attribute)]
        monkeypatch.setattr(tv.CIFAR10, attribute, found)
    meta = dict(tv.CIFAR10.meta, md5=md5(inner / "batches.meta"))
    monkeypatch.setattr(tv.CIFAR10, "meta", meta)
    return rows


def test_cifar10_is_downloaded_once_and_read(local_cifar10, tmp_path, monkeypatch):
    data = datasets.load("cifar10", tmp_path / "root")
    expected = torch.from_numpy(local_cifar10).reshape(12, 3, 32, 32)
    assert torch.equal(data.train_images, expected[:10])
    assert torch.equal(data.test_images, expected[10:])
    assert data.train_labels.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert data.classes[3] == "class3"
    monkeypatch.setattr(tv.CIFAR10, "url", "file:///nowhere")
    datasets.load("cifar10", tmp_path / "root")


def test_the_download_goes_to_the_cache_by_default(local_cifar10, cache):
    datasets.load("cifar10")
    assert (cache / "torchvision" / "cifar-10-batches-py").is_dir()


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist"])
def test_a_failed_download_says_what_failed_and_what_to_do(name, tmp_path, monkeypatch):
    nowhere = (tmp_path / "nowhere").as_uri() + "/"
    for kind in (tv.CIFAR10, tv.CIFAR100):
        monkeypatch.setattr(kind, "url", nowhere)
    monkeypatch.setattr(tv.FashionMNIST, "mirrors", [nowhere])
    with pytest.raises(ValueError) as error:
        datasets.load(name, tmp_path / "root")
    message = str(error.value)
    assert message.startswith(f"{name} could not be downloaded into {tmp_path / 'root'}")
    assert nowhere in message
    assert "--dataset digits needs no download" in message


def test_fashion_mnist_is_resized_and_made_three_channels(monkeypatch):
    class Local:
        classes = ("shirt", "shoe")

        def __init__(self, root, train, download):
            self.data = torch.full((3, 28, 28), 7 if train else 9, dtype=torch.uint8)
            self.targets = torch.tensor([0, 1, 0])

    data = datasets._torchvision("fashion-mnist", Local)(None)
    assert torch.equal(data.train_images, torch.full((3, 3, 32, 32), 7, dtype=torch.uint8))
    assert torch.equal(data.test_images, torch.full((3, 3, 32, 32), 9, dtype=torch.uint8))


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
    assert data.train_labels.tolist() == [0, 0, 1, 1]
    expected = np.asarray(Image.open(images / "train" / "cat" / "0.png")).transpose(2, 0, 1)
    assert np.array_equal(data.train_images[0].numpy(), expected)
    assert data.test_images.shape == (4, 3, 32, 32)


def test_a_grey_image_becomes_three_channels(images):
    Image.fromarray(np.full((32, 32), 9, dtype=np.uint8)).save(images / "train" / "cat" / "0.png")
    assert torch.equal(
        datasets.load("folder", images).train_images[0],
        torch.full((3, 32, 32), 9, dtype=torch.uint8),
    )


def test_a_folder_is_decoded_once_and_again_when_it_changes(images, cache, monkeypatch):
    before = {path for path in images.rglob("*")}
    first = datasets.load("folder", images)
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "_decode", lambda splits: pytest.fail("decoded again"))
        again = datasets.load("folder", images)
    assert torch.equal(first.train_images, again.train_images)
    assert {path for path in images.rglob("*")} == before  # nothing beside the user's images
    Image.fromarray(np.zeros((32, 32, 3), dtype=np.uint8)).save(images / "train" / "cat" / "0.png")
    assert datasets.load("folder", images).train_images[0].max() == 0
    assert len(list((cache / "folder").iterdir())) == 1  # the stale one is gone


def test_a_cache_that_cannot_be_written_costs_only_time(images, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FKD_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="could not be cached .* Set FKD_CACHE"):
        assert len(datasets.load("folder", images).train_images) == 4


def test_a_broken_cache_is_decoded_again(images, cache):
    datasets.load("folder", images)
    (file,) = (cache / "folder").iterdir()
    file.write_bytes(b"broken")
    assert len(datasets.load("folder", images).train_images) == 4


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
