"""A state_dict of torch's loads; an archive that is damaged, a bomb, or a program does not."""

import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.serialization import set_crc32_options

from fkd import checkpoint


class Evil:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_a_state_dict_loads(options, tmp_path):
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    torch.save(module.state_dict(), tmp_path / "x.pt", **options)
    read = checkpoint.read(tmp_path / "x.pt")
    assert list(read) == list(module.state_dict())
    torch.testing.assert_close(read, dict(module.state_dict()), rtol=0, atol=0)
    assert checkpoint.about(tmp_path / "x.pt") == {}


def test_one_that_was_written_without_checksums_loads(tmp_path):
    set_crc32_options(False)
    try:
        torch.save({"x": torch.arange(3)}, tmp_path / "x.pt")
    finally:
        set_crc32_options(True)
    assert checkpoint.read(tmp_path / "x.pt")["x"].tolist() == [0, 1, 2]


def test_tied_weights_and_views_come_back_apart(tmp_path):
    large = torch.arange(1000.0)
    tied = {"one": large, "other": large, "part": large[3:5], "turned": large.view(10, 100).T}
    torch.save(tied, tmp_path / "x.pt")
    read = checkpoint.read(tmp_path / "x.pt")
    torch.testing.assert_close(read, tied, rtol=0, atol=0)
    storages = {x.untyped_storage().data_ptr() for x in read.values()}
    assert len(storages) == 4 and read["part"].untyped_storage().nbytes() == 8
    torch.save({"part": large[3:5]}, tmp_path / "part.pt")  # with all of what it is a part of
    part = checkpoint.read(tmp_path / "part.pt")["part"]
    assert part.tolist() == [3.0, 4.0] and part.untyped_storage().nbytes() == 8


def test_a_flipped_bit_is_found_or_changes_nothing(tmp_path):
    path = tmp_path / "x.pt"
    tensors = {"weight": torch.randn(64, 8), "bias": torch.randn(8)}
    torch.save(tensors, path)
    whole, draw, used = path.read_bytes(), random.Random(0), 0
    for _ in range(1000):
        place = draw.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            read = checkpoint.read(path)
        except ValueError:
            continue
        used += 1  # in padding, and in what an archive says twice or of times
        torch.testing.assert_close(read, tensors, rtol=0, atol=0)
    assert used < 500
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="checkpoint "):
            checkpoint.read(path)


def test_stretches_of_noise_are_found_or_change_nothing(tmp_path):
    path = tmp_path / "x.pt"
    tensors = {"weight": torch.randn(64, 8), "bias": torch.randn(8)}
    torch.save(tensors, path)
    whole, draw, found = path.read_bytes(), random.Random(1), 0
    for k in range(500):
        length = draw.choice([2, 8, 64])
        start = draw.randrange(len(whole) - length)
        stretch = draw.randbytes(length) if k % 2 else bytes(length)
        path.write_bytes(whole[:start] + stretch + whole[start + length :])
        try:
            read = checkpoint.read(path)
        except ValueError:
            found += 1
        else:
            torch.testing.assert_close(read, tensors, rtol=0, atol=0)
    assert found > 250


def test_a_number_that_was_changed_is_told_as_damage(tmp_path):
    torch.save({"x": torch.ones(100)}, tmp_path / "x.pt")
    whole = (tmp_path / "x.pt").read_bytes()
    ones = torch.ones(100).numpy().tobytes()
    (tmp_path / "x.pt").write_bytes(whole.replace(ones, b"\0" + ones[1:-1] + b"\1"))
    with pytest.raises(ValueError, match="x/data/0 in it is damaged by its CRC-32; take a copy"):
        checkpoint.read(tmp_path / "x.pt")


def test_no_pickle_ever_runs(tmp_path):
    evil = Evil(tmp_path / "ran")
    for value in (evil, [evil], {"x": evil}):
        torch.save(value, tmp_path / "torch's")
        (tmp_path / "bare").write_bytes(pickle.dumps(value, protocol=2))
        for path in (tmp_path / "torch's", tmp_path / "bare"):
            with pytest.raises(ValueError, match="it cannot be read as a dict of tensors"):
                checkpoint.read(path)
    assert not (tmp_path / "ran").exists()
    pickle.loads((tmp_path / "bare").read_bytes())
    assert (tmp_path / "ran").exists()


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(2**26))
    assert (tmp_path / "x.pt").stat().st_size < 100_000
    with pytest.raises(ValueError, match="it is a compressed archive"):
        checkpoint.read(tmp_path / "x.pt")


def test_entries_that_lie_over_one_another_are_refused(tmp_path):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", bytes(10_000))
        (entry,) = archive.infolist()
        archive.filelist = [entry] * 100
        archive._didModify = True  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match=r"it unpacks to 1,000,000 bytes, more than its own"):
        checkpoint.read(path)


def test_a_tensor_that_is_larger_than_its_file_is_refused(tmp_path):
    torch.save({"x": torch.ones(1).expand(2**40)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x is 4,398,046,511,104 bytes, more than its file"):
        checkpoint.read(tmp_path / "x.pt")


@pytest.mark.plain
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # the same in torch 2.11
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nn.Linear(1, 1), "it cannot be read as a dict .*it holds a torch.nn.modules.linear"),
        ({"hyper": Path("x")}, "it cannot be read as a dict of tensors, .*it holds a pathlib"),
        ({"epoch": 3, "model": {}}, "it must hold a dict of tensors by name"),
        ([torch.ones(1)], "it must hold a dict of tensors by name"),
        (torch.ones(1), "it must hold a dict of tensors by name"),
        ({3: torch.ones(1)}, "it must hold a dict of tensors by name"),
        (OrderedDict(_extra_state={"version": 2}), "it must hold a dict of tensors by name"),
        ({"x": torch.eye(2).to_sparse()}, "x must be a dense tensor, but it is torch.sparse_coo"),
        ({"x": torch.eye(2, device="meta")}, "x must be a dense tensor, but it is .* on meta"),
    ],
)
def test_what_is_no_state_dict_is_refused(value, message, tmp_path):
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=f"checkpoint .*x.pt: {message}"):
        checkpoint.read(tmp_path / "x.pt")


@pytest.mark.plain
def test_a_state_dict_within_a_training_scripts_state_is_told_by_its_key(tmp_path):
    state = nn.Linear(1, 1).state_dict()
    torch.save({"epoch": 3, "state_dict": state, "hyper": {}}, tmp_path / "x.pt")
    with pytest.raises(
        ValueError, match=r"under 'state_dict': .*torch.load\(path\)\['state_dict'\]"
    ):
        checkpoint.read(tmp_path / "x.pt")
    torch.save(torch.load(tmp_path / "x.pt")["state_dict"], tmp_path / "y.pt")  # as it is told
    assert checkpoint.read(tmp_path / "y.pt").keys() == state.keys()
