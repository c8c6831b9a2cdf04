"""A file that is damaged, or no checkpoint at all, is refused in our words and never used."""

import json
import os
import random
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks._forked import forked
from fkd import checkpoint

FLIPS = 1000


def write_again_and_again(path: Path, told: Connection) -> None:
    for number in range(1, 1000):
        checkpoint.write(path, {"x": torch.full((500_000,), float(number))}, {"number": number})
        told.send(number)


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "0000.params.fc.weight": torch.randn(6, 4, generator=generator),
        "0000.params.ü": torch.randn(3, generator=generator).to(torch.bfloat16),
        "0000.step": torch.tensor(3),
        "0000.mask": torch.tensor([True, False]),
        "0000.none": torch.zeros(0, 2),
    }


def written(folder: Path) -> Path:
    path = folder / "x.safetensors"
    checkpoint.write(path, tensors(), {"step": 3, "methods": ["ce", "kd ü"], "loss": 0.25})
    return path


def assert_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"checkpoint .*x\.safetensors: "):
        checkpoint.read(path)


def test_every_flipped_bit_is_found(tmp_path):
    path = written(tmp_path)
    whole = path.read_bytes()
    body = 8 + int.from_bytes(whole[:8], "little")
    draw = random.Random(0)
    places = [draw.randrange(8 * body) for _ in range(FLIPS // 2)]
    places += [draw.randrange(8 * body, 8 * len(whole)) for _ in range(FLIPS // 2)]
    places += range(8 * 8)  # the length of the header
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert_refused(path)


def test_every_flipped_bit_of_a_header_is_found_when_it_is_asked_alone(tmp_path):
    path = written(tmp_path)
    whole = path.read_bytes()
    start = whole.index(b"fkd.about")  # its key, and what the file is about
    for place in range(8 * start, 8 * (start + 40)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"checkpoint .*x\.safetensors: "):
            checkpoint.about(path)


def test_every_truncation_is_found(tmp_path):
    path = written(tmp_path)
    whole = path.read_bytes()
    body = 8 + int.from_bytes(whole[:8], "little")
    lengths = {0, 1, 7, 8, 9, body // 2, body - 1, body, body + 1, len(whole) - 1}
    for length in lengths | set(range(0, len(whole), 37)):
        path.write_bytes(whole[:length])
        assert_refused(path)
    for more in (b"\0", b" ", whole):
        path.write_bytes(whole + more)
        assert_refused(path)


def test_stretches_of_noise_and_of_zeros_are_found(tmp_path):
    path = written(tmp_path)
    whole = path.read_bytes()
    draw = random.Random(1)
    for k in range(300):
        length = draw.choice([2, 16, 512])
        start = draw.randrange(len(whole) - length)
        stretch = draw.randbytes(length) if k % 2 else bytes(length)
        damaged = whole[:start] + stretch + whole[start + length :]
        if damaged != whole:
            path.write_bytes(damaged)
            assert_refused(path)


def test_a_part_of_another_checkpoint_is_found(tmp_path):
    one, other = written(tmp_path), tmp_path / "other"
    moved = {name: x + 1 if x.is_floating_point() else x for name, x in tensors().items()}
    checkpoint.write(other, moved, checkpoint.about(one))
    body = 8 + int.from_bytes(one.read_bytes()[:8], "little")
    one.write_bytes(one.read_bytes()[:body] + other.read_bytes()[body:])
    assert_refused(one)


@pytest.mark.parametrize("version", ["2", "10", "0", "x"])
def test_a_newer_format_is_refused(version, tmp_path):
    metadata = {"fkd.format": version, "fkd.whatever": "is new"}
    save_file({"x": torch.ones(1)}, tmp_path / "x", metadata=metadata)
    for ask in (checkpoint.read, checkpoint.about):
        with pytest.raises(ValueError, match=f"it is of format {version}, and this fkd, .* reads"):
            ask(tmp_path / "x")


def test_a_header_without_some_of_its_entries_is_refused(tmp_path):
    save_file({"x": torch.ones(1)}, tmp_path / "x", metadata={"fkd.format": "1"})
    with pytest.raises(ValueError, match="x: its header is damaged"):
        checkpoint.read(tmp_path / "x")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"author": "someone", "about": "{}"}])
def test_a_safetensors_file_of_others_is_read(metadata, tmp_path):
    save_file({"a.b": torch.arange(3)}, tmp_path / "x", metadata=metadata)
    assert checkpoint.read(tmp_path / "x")["a.b"].tolist() == [0, 1, 2]
    assert checkpoint.about(tmp_path / "x") == {}


def test_what_is_read_is_no_part_of_the_file(tmp_path):
    path = written(tmp_path)
    read = checkpoint.read(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert all(torch.equal(x, read[name]) for name, x in tensors().items())


def header(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> object:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.plain
@pytest.mark.parametrize(
    "head",
    [
        [],
        {"x": 1},
        {"__metadata__": {"a": 1}},
        header(shape=(2,)),
        header(shape=(-1,)),
        header(shape=(2**40, 2**40)),
        header(offsets=(4, 0)),
        header(offsets=(0, 2**62)),
        header(dtype="F33"),
        header(dtype="F4", shape=(8,)),  # two numbers a byte, which torch has by halves
    ],
    ids=str,
)
def test_a_header_that_makes_no_sense_is_refused(head, tmp_path):
    text = json.dumps(head).encode().ljust(128)
    text = b"{" + text[1:]
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    assert_refused(tmp_path / "x.safetensors")


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "there is no such file"),
    "empty": (lambda path: path.write_bytes(b""), "but it is empty"),
    "text": (lambda path: path.write_text("somebody's notes"), "but it holds something else"),
    "json": (lambda path: path.write_text('{"a": 1, "b": [2]}'), "but it holds something else"),
    "short": (lambda path: path.write_bytes(b"PK"), "it cannot be read|it is a damaged archive"),
    "folder": (lambda path: path.mkdir(), "it must be a file, but it is a folder"),
    "pipe": (os.mkfifo, "it must be a file, but it is a folder, a pipe or a device"),
    "link": (lambda path: path.symlink_to("nowhere"), "there is no such file"),
    "loop": (lambda path: path.symlink_to(path.name), "it cannot be read"),
    "of nothing": (lambda path: path.write_bytes(bytes(100)), "but it holds something else"),
    "a header of 100 GB": (
        lambda path: path.write_bytes((10**11).to_bytes(8, "little") + b"{}"),
        "it is damaged, or no safetensors file",
    ),
}


@pytest.mark.plain
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_checkpoint_is_refused(kind, tmp_path):
    make, message = KINDS[kind]
    make(tmp_path / "x")
    with pytest.raises(ValueError, match=f"checkpoint .*x: .*({message})"):
        checkpoint.read(tmp_path / "x")


@pytest.mark.plain
@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "file/x"])
def test_a_name_that_no_file_can_have_is_refused(name, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="it cannot be read: "):
        checkpoint.read(tmp_path / name)


def test_names_of_other_alphabets_are_read(tmp_path):
    for name in ("ü", "a b\nc", os.fsdecode(b"\xff")):
        checkpoint.write(tmp_path / name, {"x": torch.ones(1)})
        assert checkpoint.read(tmp_path / name)["x"].item() == 1
        assert checkpoint.about(str(tmp_path / name)) == {}


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    draw = random.Random(0)
    path, last = tmp_path / "x", 0
    for _ in range(5):
        here, there = forked().Pipe(duplex=False)
        process = forked().Process(target=write_again_and_again, args=(path, there))
        process.start()
        there.close()
        with here:
            for _ in range(draw.randrange(1, 20)):
                assert here.poll(60)
                last = here.recv()
            process.join(draw.random() * 0.01)  # with luck in the writing
            process.kill()
            process.join()
        read = checkpoint.read(path)["x"]
        assert (read == read[0]).all() and read[0] == checkpoint.about(path)["number"] >= last
    checkpoint.write(path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["x"]
