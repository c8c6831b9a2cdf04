"""Decoded images in the cache: when they are decoded anew, and how many at once."""

import os
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks._forked import forked
from fkd import checkpoint
from fkd.data import _decoded, _folder
from fkd.data._decoded import Decoded, decoded


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes with two images each, in either split, that are no smaller when compressed."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "root" / split / label
            folder.mkdir(parents=True)
            for number in range(2):
                pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.bmp")
    return tmp_path / "root"


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache" / "folder"


def load(root: Path, cache: Path, side: int = 64) -> Mapping[str, Decoded]:
    return decoded(_folder.splits(root, side, 3), cache)


def kept(root: Path, cache: Path, monkeypatch) -> bool:
    """Whether the images come from the cache."""
    with monkeypatch.context() as patch:
        patch.setattr(_decoded, "_decode", lambda *arguments: (_ for _ in ()).throw(KeyError))
        try:
            load(root, cache)
        except KeyError:
            return False
    return True


def test_images_are_decoded_once_and_anew_when_one_is_changed_added_or_removed(
    root, cache, monkeypatch
):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    first = load(root, cache)
    with Image.open(root / "train" / "dog" / "0.bmp") as image:
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert torch.equal(first["train"].images[2], expected)
    assert kept(root, cache, monkeypatch)
    assert torch.equal(load(root, cache)["test"].images, first["test"].images)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    image = root / "train" / "cat" / "0.bmp"
    for change in (
        lambda: Image.new("RGB", (64, 64)).save(image),
        lambda: image.rename(image.with_name("9.bmp")),
        lambda: image.with_name("9.bmp").unlink(),
    ):
        change()
        assert not kept(root, cache, monkeypatch)
        load(root, cache)
        assert kept(root, cache, monkeypatch)
        assert len(list(cache.iterdir())) == 1  # what was there before is gone


@pytest.mark.parametrize("whole", [2**32, 0])
def test_a_change_is_seen_that_leaves_size_and_time_as_they_were(root, cache, monkeypatch, whole):
    monkeypatch.setattr(_decoded, "WHOLE", whole)
    load(root, cache)
    assert kept(root, cache, monkeypatch)
    image = root / "train" / "cat" / "0.bmp"
    status, data = image.stat(), bytearray(image.read_bytes())
    data[len(data) // 2] ^= 255  # far from either end
    image.write_bytes(data)
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert image.stat().st_mtime_ns == status.st_mtime_ns
    assert not kept(root, cache, monkeypatch)


def test_another_version_of_the_rules_or_the_libraries_decodes_anew(root, cache, monkeypatch):
    load(root, cache)
    for where, name in ((_decoded, "RULES"), (_decoded.PIL, "__version__")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, "another")
            assert not kept(root, cache, monkeypatch)
    assert kept(root, cache, monkeypatch)


def test_an_image_that_changes_while_it_is_decoded_is_not_kept(root, cache, monkeypatch):
    decode = _decoded._decode

    def changed(*arguments):
        result = decode(*arguments)
        Image.new("RGB", (64, 64)).save(root / "train" / "cat" / "0.bmp")
        return result

    monkeypatch.setattr(_decoded, "_decode", changed)
    load(root, cache)
    assert not cache.exists()


def test_every_flipped_bit_is_found_and_the_images_decoded_anew(root, cache, monkeypatch):
    expected = load(root, cache)
    (file,) = cache.iterdir()
    whole, random = file.read_bytes(), np.random.default_rng(0)
    for place in [*random.integers(0, len(whole), 60), len(whole) // 2]:
        data = bytearray(whole)
        data[place] ^= 1 << int(random.integers(8))
        file.write_bytes(data)
        again = load(root, cache)
        assert all(torch.equal(again[s].images, expected[s].images) for s in expected)
    file.write_bytes(whole[: len(whole) // 2])
    assert not kept(root, cache, monkeypatch)
    file.unlink()
    file.mkdir()
    with pytest.warns(UserWarning, match="could not be cached"):
        load(root, cache)


def test_what_is_of_another_form_is_decoded_anew(root, cache, monkeypatch):
    result = dict(load(root, cache))
    (file,) = cache.iterdir()
    key = file.stem.partition("-")[2]
    train = result["train"]
    for wrong in (
        {"train": train},
        result | {"more": train},
        result | {"train": train._replace(images=train.images[:3])},
        result | {"train": train._replace(images=train.images.short())},
        result | {"train": train._replace(frames=train.frames.byte())},
    ):
        checkpoint.save(file, wrong, {"key": key})
        assert not kept(root, cache, monkeypatch)
    checkpoint.save(file, result, {"key": "another"})
    assert not kept(root, cache, monkeypatch)
    checkpoint.save(file, result, {"key": key})
    assert kept(root, cache, monkeypatch)


def test_sizes_have_caches_of_their_own(root, cache):
    for _ in range(2):
        for side in (32, 48):
            assert load(root, cache, side)["train"].images.shape == (4, 3, side, side)
        assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(root, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    with pytest.warns(UserWarning, match=r"could not be cached .* Set FKD_CACHE"):
        assert load(root, tmp_path / "cache")["train"].images.shape == (4, 3, 64, 64)


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(root, cache):
    cache.mkdir(parents=True)
    old, new = cache / ".left.pt.abc", cache / ".written.pt.def"
    for path in (old, new):
        path.write_text("half")
    hours_ago = time.time() - 2 * 3600
    os.utime(old, (hours_ago, hours_ago))
    load(root, cache)
    assert not old.exists() and new.exists()


def sum_of(images: Mapping[str, Decoded]) -> int:
    return sum(int(one.images.long().sum()) for one in images.values())


def decode_together(root: Path, cache: Path, begin: Barrier, told: Connection) -> None:
    images = _folder.splits(root, 64, 3)
    begin.wait(60)
    told.send(sum_of(decoded(images, cache)))


@pytest.mark.slow
def test_two_processes_that_decode_at_once_both_end_right(root, cache):
    begin, (here, there) = forked().Barrier(2), forked().Pipe(duplex=False)
    arguments = root, cache, begin, there
    both = [forked().Process(target=decode_together, args=arguments) for _ in range(2)]
    for one in both:
        one.start()
    sums = [here.recv() for _ in both if here.poll(60)]
    for one in both:
        one.join(60)
    assert sums == [sum_of(load(root, cache))] * 2 and [one.exitcode for one in both] == [0, 0]
    assert len(list(cache.iterdir())) == 1


def test_pixels_that_are_decoded_at_once_are_bounded(root, cache, monkeypatch):
    for number in range(10, 40):
        Image.new("L", (8, 8), number).save(root / "train" / "cat" / f"{number}.bmp")
    decode, lock, now, seen = _decoded.decode, threading.Lock(), [], []

    def counted(path: str, channels: int, side: int) -> torch.Tensor:
        with Image.open(path) as image:
            pixels = image.width * image.height
        with lock:
            now.append(pixels)
            seen.append((list(now), threading.current_thread()))
        time.sleep(0.001)  # so that others come in between
        with lock:
            now.remove(pixels)
        return decode(path, channels, side)

    monkeypatch.setattr(_decoded, "decode", counted)
    monkeypatch.setattr(_decoded, "PIXELS", 256)  # four of the small ones, and no large one
    load(root, cache)
    assert len(seen) == 8 + 30
    small = [together for together, _ in seen if max(together) == 64]
    assert len(small) == 30 and max(map(sum, small)) <= 256
    assert max(map(len, small)) > 1  # in threads, all the same
    large = [(together, thread) for together, thread in seen if max(together) > 64]
    assert large == [([64 * 64], threading.main_thread())] * 8  # one alone, here


def test_the_folder_of_a_killed_writer_stops_no_cache(root, cache, monkeypatch):
    cache.mkdir(parents=True)
    left = cache / ".another.0123abcd.fkd-partial"
    left.mkdir()
    (left / "another").write_bytes(b"half")
    os.utime(left, (0, 0))
    load(root, cache)
    assert not left.exists() and kept(root, cache, monkeypatch)
