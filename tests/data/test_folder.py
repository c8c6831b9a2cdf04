"""Folders of images: what is read, kept in the cache, and refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fkd.data import _folder, datasets


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


def test_a_folder_is_decoded_once_and_again_when_it_changes(images, cache, monkeypatch):
    before = {path for path in images.rglob("*")}
    first = datasets.load("folder", images)
    with monkeypatch.context() as patch:
        patch.setattr(_folder, "_decode", lambda splits, side: pytest.fail("decoded again"))
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
