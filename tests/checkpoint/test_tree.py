"""A tree comes back as it was; what does not fit is named; a crash leaves the old file."""

from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fkd import checkpoint


class Pair(NamedTuple):
    weight: dict[str, torch.Tensor]
    steps: list[torch.Tensor]


def _tree(value: float = 1.0) -> Pair:
    return Pair({"fc.bias": torch.full((2,), value)}, [torch.tensor(3), torch.zeros(1, 2)])


def test_a_tree_comes_back(tmp_path):
    checkpoint.save(tmp_path / "x.pt", _tree(5.0))
    back = checkpoint.load(tmp_path / "x.pt", like=_tree())
    assert isinstance(back, Pair)
    assert torch.equal(back.weight["fc.bias"], torch.tensor([5.0, 5.0]))
    assert back.steps[0].item() == 3
    assert sorted(checkpoint.read(tmp_path / "x.pt")) == ["steps.0", "steps.1", "weight.fc.bias"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_a_state_dict_is_such_a_file_both_ways(tmp_path):
    module = nn.Linear(2, 3)
    torch.save(module.state_dict(), tmp_path / "theirs.pt")
    tree = checkpoint.load(tmp_path / "theirs.pt", like=dict(module.state_dict()))
    checkpoint.save(tmp_path / "ours.pt", tree)
    nn.Linear(2, 3).load_state_dict(load_file(tmp_path / "ours.pt"))


def test_what_does_not_fit_is_named(tmp_path):
    checkpoint.save(
        tmp_path / "x.pt", {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(1)}
    )
    with pytest.raises(ValueError) as error:
        checkpoint.load(
            tmp_path / "x.pt", like={"a": torch.zeros(2), "b": torch.zeros(4), "d": torch.zeros(1)}
        )
    assert "b must be (4,), but is (3,)" in str(error.value)
    assert "d is missing" in str(error.value)
    assert "c is not wanted" in str(error.value)
    assert "a " not in str(error.value).partition("fit:")[2]


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        checkpoint.read(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match="must be a safetensors file or a state_dict"):
        checkpoint.read(tmp_path / "text.pt")
    torch.save(nn.Linear(1, 1), tmp_path / "module.pt")
    with pytest.raises(ValueError, match="it cannot be read as a dict of tensors"):
        checkpoint.read(tmp_path / "module.pt")
    torch.save({"epoch": 3, "model": {}}, tmp_path / "script.pt")
    with pytest.raises(ValueError, match="it must hold a dict of tensors by name"):
        checkpoint.read(tmp_path / "script.pt")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    checkpoint.save(path, {"a": torch.ones(1)})

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("fkd.checkpoint._file.serialize_file", full)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(path, {"a": torch.zeros(1)})
    assert checkpoint.read(path)["a"].item() == 1
    assert [found.name for found in tmp_path.iterdir()] == ["x.pt"]
