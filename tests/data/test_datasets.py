"""Data sets by name: the embedded digits, and torchvision's from local copies."""

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

from fkd.data import Normalize, datasets

# torchvision unpacks its archives as it likes, of which Pythons 3.12 and 3.13 warn
ARCHIVE = pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FKD_CACHE", str(folder))
    return folder


def test_digits_are_split_in_two_halves_with_the_classes_shares():
    data = datasets.load("digits")
    assert data.train.inputs.shape == (898, 3, 32, 32)
    assert data.test.inputs.shape == (899, 3, 32, 32)
    train, test = data.train.targets["labels"].bincount(), data.test.targets["labels"].bincount()
    assert (train - test).abs().max() <= 1
    assert torch.equal(data.train.inputs[:, 0], data.train.inputs[:, 2])
    assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 255)


def test_digits_are_the_same_every_time_and_no_image_is_in_both_halves():
    one, two = datasets.load("digits"), datasets.load("digits")
    assert torch.equal(one.train.inputs, two.train.inputs)
    rows = {split: {x.numpy().tobytes() for x in images} for split, images in
            (("train", one.train.inputs), ("test", one.test.inputs))}  # fmt: skip
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
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_address[1]}"
        web.shutdown()


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
        files = [[name, md5(inner / name)] for name, _ in getattr(tv.CIFAR10, attribute)]
        monkeypatch.setattr(tv.CIFAR10, attribute, files)
    meta = dict(tv.CIFAR10.meta, md5=md5(inner / "batches.meta"))
    monkeypatch.setattr(tv.CIFAR10, "meta", meta)
    return rows


@ARCHIVE
def test_cifar10_is_downloaded_once_and_read(local_cifar10, tmp_path, monkeypatch):
    data = datasets.load("cifar10", tmp_path / "root")
    expected = torch.from_numpy(local_cifar10).reshape(12, 3, 32, 32)
    assert torch.equal(data.train.inputs, expected[:10])
    assert torch.equal(data.test.inputs, expected[10:])
    assert data.train.targets["labels"].tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert data.classes[3] == "class3"
    monkeypatch.setattr(tv.CIFAR10, "url", "file:///nowhere")
    datasets.load("cifar10", tmp_path / "root")


@ARCHIVE
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
    assert "give the folder that holds them as root=; the data set 'digits' needs no" in message


class Local:
    """A data set of torchvision's kind, of grey images that are all the same or not."""

    classes = ("shirt", "shoe")

    def __init__(self, root: str, train: bool, download: bool):
        self.data = torch.full((3, 28, 28), 7 if train else 9, dtype=torch.uint8)
        self.targets = torch.tensor([0, 1, 0])


class Colourful(Local):
    def __init__(self, root: str, train: bool, download: bool):
        super().__init__(root, train, download)
        self.data = np.random.default_rng(train).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


def test_fashion_mnist_is_resized_and_made_three_channels():
    data = datasets._torchvision("fashion-mnist", Local, None, datasets.Form())
    assert torch.equal(data.train.inputs, torch.full((3, 3, 32, 32), 7, dtype=torch.uint8))
    assert torch.equal(data.test.inputs, torch.full((3, 3, 32, 32), 9, dtype=torch.uint8))


def test_grey_images_may_stay_grey_and_colours_are_not_thrown_away():
    form = datasets.Form(side=28, channels=1, normalize=Normalize((0.5,), (0.5,)))
    data = datasets._torchvision("fashion-mnist", Local, None, form)
    assert torch.equal(data.train.inputs, torch.full((3, 1, 28, 28), 7, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"mine: its images have 3 channels, .* but it is 1"):
        datasets._torchvision("mine", Colourful, None, form)


@pytest.mark.parametrize("kind", [Local, Colourful])
def test_images_that_do_not_fit_are_resized_within_the_step_to_the_same_batches(kind):
    held = 6 * 3 * 20 * 20  # bytes of both splits
    data = [
        datasets._torchvision("mine", kind, None, datasets.Form(side=20, memory=size / 2**30))
        for size in (held, held - 1)
    ]
    assert [one.train.inputs.shape[-1] for one in data] == [20, 28 if kind is Local else 16]
    rows = torch.tensor([[2, 0], [1, 1]])
    first, second = (one.train.read(rows) for one in data)
    assert first.inputs.shape == (2, 2, 3, 20, 20)
    assert torch.equal(first.inputs, second.inputs)
    (first,), (second,) = (list(one.test.in_order(3)) for one in data)
    assert torch.equal(first.inputs, second.inputs)


def test_digits_come_at_any_size_from_the_pixels_that_they_have():
    data = datasets.load("digits", image_size=8, channels=1)
    assert data.train.inputs.shape == (898, 1, 8, 8)
    levels = (torch.arange(17) * (255 / 16)).round().byte()  # the pixels are 0 to 16
    assert torch.isin(data.train.inputs, levels).all()


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("", "root must be the path of a folder, but it is ''"),
        ("a\0b", r"root must be the path of a folder, but it is 'a\\x00b'"),
        (3, "root must be a str or a Path, but it is 3"),
        ("~nobody-of-this-name/x", "root must begin with a home that there is, but '~nobody-of-th"),
        ("caf\udce9", r"root must be written in UTF-8, but it is 'caf\\udce9'; give a link to it"),
        (Path("caf\udce9"), "root must be written in UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["folder", "cifar10"])
@pytest.mark.plain
def test_a_root_that_means_no_folder_is_refused(name, root, message):
    with pytest.raises(ValueError, match=f"load: {message}"):
        datasets.load(name, root)


@pytest.mark.parametrize("way", [".", "..", "link", "~/pictures"])
def test_a_folder_has_its_own_name_by_whatever_way_it_is_given(way, tmp_path, monkeypatch):
    root = tmp_path / "pictures"
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(root / split / label / "0.png")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir({".": root, "..": root / "train", "link": tmp_path}.get(way, "/"))
    assert datasets.load("folder", way).name == "pictures"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 0}, "image_size must be a whole number of at least 1"),
        ({"channels": 0}, "channels must be a whole number of at least 1"),
        ({"memory": -1.0}, "memory must be zero or more"),
        ({"workers": -1}, "workers must be a whole number of at least 0"),
        ({"mean": (0.5,), "std": (0.5,)}, "each of the 3 channels, but they hold 1"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("digits", **changes)
