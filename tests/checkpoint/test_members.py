"""A stacked tree by its members and back: any of them, in any order, in one file or several."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map, tree_structure

from fkd import checkpoint, methods, optim
from fkd.data import Batch
from fkd.distillation import distill, step
from fkd.ensemble import ensemble
from fkd.model import functional


def tree(count: int = 3) -> dict[str, Any]:
    weight = torch.arange(count * 6.0).reshape(count, 2, 3)
    return {"params": {"fc.weight": weight}, "step": torch.arange(count), "m": [weight.mT]}


def assert_same(one: Any, other: Any) -> None:
    assert tree_structure(one) == tree_structure(other)
    for x, y in zip(tree_leaves(one), tree_leaves(other), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x.numpy(), y.numpy())


@st.composite
def stacked(draw: st.DrawFn) -> tuple[Any, int]:
    """A tree of a few leaves with one member axis, and how many members it has."""
    count = draw(st.integers(1, 4))
    shapes = draw(st.lists(st.lists(st.integers(0, 3), max_size=2), min_size=1, max_size=4))
    dtypes = st.sampled_from([torch.float32, torch.int64, torch.bool, torch.float64])
    leaves = [torch.randint(0, 2, (count, *shape)).to(draw(dtypes)) for shape in shapes]
    return {"a": leaves[0], "b": {str(k): leaf for k, leaf in enumerate(leaves[1:])}}, count


@given(drawn=stacked(), name=st.sampled_from(["", "kd", "kd.weight=0.5", "0001"]), data=st.data())
def test_any_members_are_the_rows_of_the_tree(drawn, name, data):
    full, count = drawn
    tensors = checkpoint.by_member(full, name)
    like = tree_map(torch.zeros_like, full)
    assert_same(checkpoint.of_members(tensors, like, name=name), full)
    members = data.draw(st.lists(st.integers(0, count - 1), max_size=5))
    some = checkpoint.of_members(tensors, like, members, name)
    assert_same(some, tree_map(lambda leaf: leaf[torch.tensor(members).long()], full))


def test_names_are_the_member_and_the_way(tmp_path):
    names = ["kd.0000.params.fc.weight", "kd.0000.step", "kd.0000.m.0"]
    assert list(checkpoint.by_member(tree(1), "kd")) == names
    assert list(checkpoint.by_member(torch.zeros(2))) == ["0000", "0001"]
    assert list(checkpoint.by_member({"a": torch.zeros(10_001)}))[-1] == "10000.a"


def test_rows_are_views_and_what_is_stacked_is_not():
    full = tree()
    tensors = checkpoint.by_member(full)
    back = checkpoint.of_members(tensors, full)
    tensors["0001.step"].fill_(9)
    assert full["step"].tolist() == [0, 9, 2] and back["step"].tolist() == [0, 1, 2]


def test_members_of_a_file_are_read_alone(tmp_path, monkeypatch):
    checkpoint.save_members(tmp_path / "x", tree(), {"step": 1}, name="kd")
    seen = []
    own = checkpoint.checksum

    def told(name: str, x: Tensor) -> bytes:
        seen.append(name)
        return own(name, x)

    monkeypatch.setattr("fkd.checkpoint._file.checksum", told)
    some = checkpoint.load_members(tmp_path / "x", tree(), [2], "kd")
    assert_same(some, tree_map(lambda leaf: leaf[2:], tree()))
    assert {name[:7] for name in seen} == {"kd.0002"} and len(seen) == 3
    assert checkpoint.about(tmp_path / "x") == {"step": 1}


def test_one_file_holds_several_ensembles_and_what_else_there_is(tmp_path):
    tensors = checkpoint.by_member(tree(2), "ce") | checkpoint.by_member(tree(3), "kd")
    checkpoint.write(tmp_path / "x", tensors | {"order": torch.arange(5)})
    read = checkpoint.read(tmp_path / "x")
    assert_same(checkpoint.of_members(read, tree(2), name="ce"), tree(2))
    assert_same(checkpoint.of_members(read, tree(3), name="kd"), tree(3))


@given(data=st.data(), drawn=stacked())
def test_files_of_several_processes_are_one_ensemble(data, drawn, tmp_path_factory):
    full, count = drawn
    folder = tmp_path_factory.mktemp("parts")
    bounds = sorted(data.draw(st.lists(st.integers(0, count), max_size=3)))
    ranks = list(zip([0, *bounds], [*bounds, count], strict=True))  # some of them have no members
    files = [folder / f"{rank}" for rank in range(len(ranks))]
    for file, (first, last) in zip(files, ranks, strict=True):
        own = tree_map(lambda leaf, first=first, last=last: leaf[first:last], full)
        checkpoint.save_members(file, own, name="kd", first=first)
    files = data.draw(st.permutations(files))
    assert_same(checkpoint.load_members(files, full, name="kd"), full)
    members = data.draw(st.lists(st.integers(0, count - 1), max_size=5))
    some = tree_map(lambda leaf: leaf[torch.tensor(members).long()], full)
    assert_same(checkpoint.load_members(files, full, members, "kd"), some)
    rows = checkpoint.only_members(files, members, "kd")
    assert {int(key.split(".")[1]) for key in rows} == set(members)
    assert_same(checkpoint.of_members(rows, full, members, "kd"), some)


@pytest.mark.plain
def test_files_that_hold_a_member_twice_or_not_at_all_are_refused(tmp_path):
    for file, first in (("a", 0), ("b", 2), ("c", 3)):
        checkpoint.save_members(tmp_path / file, tree(2), first=first)
    a, b, c = (tmp_path / file for file in "abc")
    assert_same(
        checkpoint.load_members([a, b], tree(), [1, 2]), tree_map(lambda x: x[[1, 0]], tree(2))
    )
    with pytest.raises(ValueError, match=r"c: it holds 0003\.m\.0, and so does another"):
        checkpoint.load_members([a, b, c], tree())
    with pytest.raises(ValueError, match="its tensors do not fit:\n  member 2 is missing"):
        checkpoint.only_members([a, c], [1, 2])
    with pytest.raises(ValueError, match=r"members\[0\] must be a whole number"):
        checkpoint.only_members([a], [-1])
    with pytest.raises(ValueError, match="by_member: first must be"):
        checkpoint.by_member(tree(), first=-1)
    with pytest.raises(ValueError, match="path must be a list or a tuple"):
        checkpoint.load_members(3, tree())  # pyright: ignore[reportArgumentType]


def test_a_file_of_a_state_goes_on_as_if_it_had_never_been_one(tmp_path):
    net = functional(lambda: torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout()))
    batch = Batch(torch.ones(2, 4), {"labels": torch.tensor([0, 2])})
    run = ensemble(distill(net, methods.ce(), optim.adam(), batch))
    state, _ = step(run, run.init([3, 4]), batch)
    checkpoint.save_members(tmp_path / "x", state)
    again = checkpoint.load_members(tmp_path / "x", run.init([0, 1]))
    assert_same(step(run, again, batch)[0], step(run, state, batch)[0])


def lines(tensors: dict[str, Tensor], members: list[int] | None = None) -> list[str]:
    with pytest.raises(ValueError, match="of_members: its tensors do not fit:") as error:
        checkpoint.of_members(tensors, tree(), members)
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def test_all_that_does_not_fit_is_named_at_once():
    tensors = checkpoint.by_member(tree())
    assert lines(checkpoint.by_member(tree(2))) == ["member 2 is missing"]
    assert lines(checkpoint.by_member(tree(5))) == [
        "member 3 is not wanted",
        "member 4 is not wanted",
    ]
    assert lines(tensors, [0, 7, 8]) == ["member 7 is missing", "member 8 is missing"]
    assert lines(tensors | {"order": torch.ones(1)}) == ["order is not wanted"]
    assert lines(tensors | {"00001.step": torch.ones(1)}) == ["00001.step is not wanted"]
    of_all = {f"000{k}.step": torch.tensor([k]) for k in range(3)}
    assert lines(tensors | of_all) == ["step must be (), but is (1,)"]
    assert lines(tensors | {f"000{k}.new": torch.ones(1) for k in range(3)}) == [
        "new is not wanted"
    ]
    bad = tensors | {"0001.params.fc.weight": torch.full((2, 3), 0.1, dtype=torch.float64)}
    wrong = "params.fc.weight must be torch.float32, and its values in torch.float64 are not the"
    assert lines(bad) == [f"{wrong} same there (members 1)"]
    bad = dict(tensors)
    del bad["0001.step"]
    bad["0002.m.0"] = torch.zeros(9)
    bad["0000.m.0"] = torch.zeros(9)
    assert lines(bad) == [
        "step is missing (members 1)",
        "m.0 must be (3, 2), but is (9,) (members 0, 2)",
    ]


@pytest.mark.plain
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "the tree must hold a leaf"),
        ({"a": torch.ones(2), "b": torch.tensor(1)}, r"the members', but b is \(\) and a \(2,\)"),
        ({"a": torch.ones(2), "b": torch.ones(3)}, r"the members', but b is \(3,\) and a \(2,\)"),
        ({"a.b": torch.ones(2), "a": {"b": torch.ones(2)}}, "two leaves have the name"),
    ],
)
def test_a_tree_without_one_member_axis_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        checkpoint.by_member(bad)
    with pytest.raises(ValueError, match=message):
        checkpoint.of_members({}, bad)


@pytest.mark.plain
@pytest.mark.parametrize("member", [-1, 1.0, True, "0"])
def test_a_member_is_a_whole_number(member):
    with pytest.raises(ValueError, match=r"of_members: members\[1\] must be a whole number"):
        checkpoint.of_members(checkpoint.by_member(tree()), tree(), [0, member])


def test_the_numbers_of_members_are_those_of_all_files(tmp_path):
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    checkpoint.save_members(one, {"w": torch.ones(2, 3), "b": torch.ones(2)}, name="kd", first=7)
    checkpoint.save_members(other, {"w": torch.ones(1, 3)}, name="kd", first=2)
    assert checkpoint.members(one, "kd") == [7, 8]
    assert checkpoint.members([one, other], "kd") == [2, 7, 8]
    assert checkpoint.members(one, "ce") == []
    with pytest.raises(ValueError, match=r"kd\.0007\.w is not wanted"):
        checkpoint.members(one)
