"""Ranks as a grid, alone and on three processes that share no batch."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from more_ranks import MORE_RANKS

from benchmarks._launched import launched
from fkd.distributed import Mesh, started


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 20))
def test_members_are_dealt_in_order_each_once(member_ranks, data_ranks, more):
    count = member_ranks + more
    meshes = [Mesh(k, member_ranks, data_ranks) for k in range(member_ranks * data_ranks)]
    for rank, mesh in enumerate(meshes):
        assert mesh.member_rank * data_ranks + mesh.data_rank == rank
    dealt = [list(range(count))[mesh.members(count)] for mesh in meshes[::data_ranks]]
    assert [member for members in dealt for member in members] == list(range(count))
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    for mesh in meshes:  # who share a batch have the same members
        assert mesh.members(count) == meshes[mesh.member_rank * data_ranks].members(count)


@pytest.mark.plain
def test_what_cannot_be_dealt_is_refused():
    with pytest.raises(ValueError, match=r"2 members cannot be dealt over 3 ranks.*more seeds"):
        Mesh(0, 3).members(2)
    with pytest.raises(ValueError, match="rank"):
        Mesh(2, 2)


def test_one_process_shares_with_nobody():
    mesh = Mesh()
    assert mesh.split is None
    assert mesh.gather([1, None]) == [1, None]
    assert mesh.words("ä") == ["ä"]
    tree = {"w": torch.ones(2)}
    assert mesh.of_first(tree) is tree


def on_a_rank() -> dict[str, Any]:
    with started() as mesh:
        rows = [f"{mesh.rank}-{k}" for k in range(mesh.rank + 1)]
        tree = {"w": torch.full((2,), float(mesh.rank)), "n": torch.tensor(mesh.rank)}
        first = mesh.of_first(tree)
        return {
            "mesh": [mesh.rank, mesh.ranks, mesh.member_ranks, mesh.data_ranks],
            "gathered": mesh.gather(rows),
            "words": mesh.words({"rank": mesh.rank, "text": "é" * 300 * mesh.rank}),
            "first": [first["w"].tolist(), first["n"].item()],
            "own": [tree["w"].tolist(), tree["n"].item()],
        }


@MORE_RANKS
@pytest.mark.plain
@pytest.mark.slow
def test_three_ranks_tell_each_other_what_they_have():
    each = launched(on_a_rank, 3)
    for rank, told in enumerate(each):
        assert told["mesh"] == [rank, 3, 3, 1]
        assert told["gathered"] == ["0-0", "1-0", "1-1", "2-0", "2-1", "2-2"]
        assert told["words"] == [{"rank": k, "text": "é" * 300 * k} for k in range(3)]
        assert told["first"] == [[0.0, 0.0], 0]
        assert told["own"] == [[float(rank)] * 2, rank]
        json.dumps(told)
