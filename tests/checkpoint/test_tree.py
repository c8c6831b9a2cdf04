"""A tree comes back as it was; what does not fit is named; a crash leaves the old file."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map, tree_structure

from fkd import checkpoint


class Pair(NamedTuple):
    weight: dict[str, torch.Tensor]
    steps: list[torch.Tensor]


def _tree(value: float = 1.0) -> Pair:
    return Pair({"fc.bias": torch.full((2,), value)}, [torch.tensor(3), torch.zeros(1, 2)])


def through(tmp_path, tensor: Tensor, like: Tensor) -> Tensor:
    checkpoint.save(tmp_path / "x", {"x": tensor})
    return checkpoint.load(tmp_path / "x", like={"x": like})["x"]


LEAVES = st.one_of(
    arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)),
    arrays.arrays(np.int64, arrays.array_shapes(min_dims=0, max_dims=2, max_side=3)),
).map(torch.from_numpy)
KEYS = st.text("abc", min_size=1, max_size=3)  # without a dot, so no two ways are one name
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(tree=TREES)
def test_any_tree_comes_back(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("tree") / "x"
    checkpoint.save(path, tree, {"step": 1})
    back = checkpoint.load(path, like=tree_map(torch.zeros_like, tree))
    assert tree_structure(back) == tree_structure(tree)
    for one, other in zip(tree_leaves(back), tree_leaves(tree), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_tree_comes_back(tmp_path):
    checkpoint.save(tmp_path / "x.pt", _tree(5.0))
    back = checkpoint.load(tmp_path / "x.pt", like=_tree())
    assert isinstance(back, Pair)
    assert torch.equal(back.weight["fc.bias"], torch.tensor([5.0, 5.0]))
    assert back.steps[0].item() == 3
    assert sorted(checkpoint.read(tmp_path / "x.pt")) == ["steps.0", "steps.1", "weight.fc.bias"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_a_state_dict_comes_in_from_torch_and_goes_out_to_safetensors(tmp_path):
    module = nn.Linear(2, 3)
    torch.save(module.state_dict(), tmp_path / "theirs.pt")
    tree = checkpoint.load(tmp_path / "theirs.pt", like=dict(module.state_dict()))
    checkpoint.save(tmp_path / "ours", tree)
    nn.Linear(2, 3).load_state_dict(load_file(tmp_path / "ours"))


def test_all_that_does_not_fit_is_named_at_once(tmp_path):
    held = {
        "a": torch.zeros(2),
        "b": torch.zeros(3),
        "c": torch.zeros(1),
        "e": torch.tensor([1]),
    }
    wanted = {"a": torch.zeros(2), "b": torch.zeros(4), "d": torch.zeros(1), "e": torch.zeros(1)}
    checkpoint.save(tmp_path / "x.pt", held)
    with pytest.raises(ValueError, match=r"x\.pt: its tensors do not fit:") as error:
        checkpoint.load(tmp_path / "x.pt", like=wanted)
    assert str(error.value).splitlines()[1:] == [
        "  d is missing",
        "  c is not wanted",
        "  b must be (4,), but is (3,)",
        "  e must be torch.float32, and its values in torch.int64 are not the same there",
    ]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.net.", "0000."])
def test_the_names_of_a_wrapped_module_are_told_by_their_prefix(prefix, tmp_path):
    wanted = dict(nn.Linear(2, 3).state_dict())
    held = {f"{prefix}{name}": x for name, x in wanted.items()}
    checkpoint.save(tmp_path / "x.pt", held | {"criterion.weight": torch.ones(1)})
    with pytest.raises(ValueError) as error:
        checkpoint.load(tmp_path / "x.pt", like=wanted)
    assert f"with {prefix!r} before each name" in str(error.value)
    remedy = str(error.value).partition("without it: ")[2]
    named = eval(remedy, {"state": checkpoint.read(tmp_path / "x.pt")})
    checkpoint.save(tmp_path / "y.pt", named)
    assert checkpoint.load(tmp_path / "y.pt", like=wanted).keys() == wanted.keys()


def test_a_prefix_that_explains_no_more_than_a_part_is_none(tmp_path):
    checkpoint.save(tmp_path / "x.pt", {"module.weight": torch.zeros(2)})
    wanted = {"weight": torch.zeros(2), "bias": torch.zeros(2)}
    with pytest.raises(ValueError) as error:
        checkpoint.load(tmp_path / "x.pt", like=wanted)
    assert str(error.value).splitlines()[1:] == [
        "  weight is missing",
        "  bias is missing",
        "  module.weight is not wanted",
    ]


def of(values: list[Any], dtype: torch.dtype) -> Tensor:
    exact = torch.float64 if dtype.is_floating_point else dtype  # for those of eight bits
    return torch.tensor(values, dtype=exact).to(dtype)


NOT_A_NUMBER, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("dtype", "values", "other"),
    [
        (torch.float32, [0.1, -0.0, NOT_A_NUMBER, INFINITE], torch.float64),
        (torch.float64, [0.5, -0.0, NOT_A_NUMBER, INFINITE], torch.float32),
        (torch.bfloat16, [0.1, 3e38], torch.float32),
        (torch.float16, [6e4], torch.float32),
        (torch.float8_e4m3fn, [1.75, NOT_A_NUMBER], torch.float32),
        (torch.float32, [1.75], torch.float8_e4m3fn),
        (torch.complex64, [1 + 2j], torch.complex64),
        (torch.int32, [-(2**31)], torch.int64),
        (torch.int64, [2**31 - 1], torch.int32),
        (torch.int64, [2**63 - 1], torch.uint64),
        (torch.uint64, [2**63 - 1], torch.int64),
        (torch.uint8, [127], torch.int8),
        (torch.float64, [], torch.float16),
    ],
)
def test_a_dtype_that_holds_every_value_is_taken(dtype, values, other, tmp_path):
    x = of(values, dtype)
    back = through(tmp_path, x, torch.zeros(len(values)).to(other))
    assert back.dtype == other and back.shape == x.shape
    assert str(back.to(x.dtype).tolist()) == str(x.tolist())


@pytest.mark.parametrize(
    ("dtype", "values", "other"),
    [
        (torch.float64, [0.1], torch.float32),
        (torch.float64, [1e300], torch.float32),
        (torch.float32, [1e5], torch.float16),
        (torch.float32, [1 + 2**-10], torch.bfloat16),
        (torch.float32, [INFINITE], torch.float8_e4m3fn),
        (torch.bfloat16, [1e-30], torch.float16),
        (torch.int64, [2**31], torch.int32),
        (torch.uint8, [200], torch.int8),
        (torch.int8, [-1], torch.uint8),
        (torch.int64, [-1], torch.uint64),
        (torch.uint64, [2**63], torch.int64),
        (torch.int64, [1], torch.float32),
        (torch.float32, [1.0], torch.int64),
        (torch.bool, [1], torch.uint8),
        (torch.int64, [1], torch.bool),
        (torch.float32, [1.0], torch.complex64),
        (torch.complex64, [1.0], torch.float32),
    ],
)
def test_a_dtype_that_does_not_is_refused(dtype, values, other, tmp_path):
    with pytest.raises(ValueError, match=f"x must be {other}, and its values in {dtype} are not"):
        through(tmp_path, of(values, dtype), torch.zeros(1).to(other))


def test_strides_are_those_of_the_leaf(tmp_path):
    like = torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)
    x = torch.arange(96.0).reshape(2, 3, 4, 4)
    back = through(tmp_path, x, like)
    assert back.is_contiguous(memory_format=torch.channels_last) and torch.equal(back, x)


def test_no_two_leaves_share_their_memory(tmp_path):
    torch.save({"a": (x := torch.ones(2)), "b": x}, tmp_path / "x")
    back = checkpoint.load(tmp_path / "x", like={"a": torch.zeros(2), "b": torch.zeros(2)})
    back["a"].zero_()
    assert back["b"].tolist() == [1, 1]


@pytest.mark.plain
@pytest.mark.parametrize(
    "tree",
    [
        {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}},
        {1: torch.ones(1), "1": torch.zeros(1)},
        {"a": [torch.ones(1)], "a.0": torch.zeros(1)},
    ],
)
def test_names_that_collide_are_refused(tree, tmp_path):
    with pytest.raises(ValueError, match="checkpoint: two leaves have the name"):
        checkpoint.save(tmp_path / "x", tree)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.plain
@pytest.mark.parametrize("leaf", [3, None, "x", 1.5])
def test_a_leaf_that_is_no_tensor_is_refused(leaf, tmp_path):
    with pytest.raises(ValueError, match=r"a tree holds tensors, but its a\.0 is a"):
        checkpoint.save(tmp_path / "x", {"a": [leaf]})
    checkpoint.save(tmp_path / "x", {"a": [torch.ones(1)]})
    with pytest.raises(ValueError, match=r"a tree holds tensors, but its a\.0 is a"):
        checkpoint.load(tmp_path / "x", like={"a": [leaf]})


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


def test_a_folder_that_is_none_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="No such file or directory"):
        checkpoint.save(tmp_path / "none" / "x", {"a": torch.ones(1)})
