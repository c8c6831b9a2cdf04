"""Splitting changes nothing: methods on every small mesh of real ranks, against one process."""

import pytest

from benchmarks._launched import launched
from benchmarks.splits.command import TEN, fails, largest
from benchmarks.splits.law import MESHES, RANKS, errors


@pytest.mark.plain
@pytest.mark.slow
def test_ten_methods_are_on_each_mesh_what_they_are_on_one_process():
    meshes = MESHES[1:]  # the first is one process itself
    rows = largest(launched(errors, RANKS, TEN, ["loop"], meshes, 2))
    asked = {(name, *mesh) for name in TEN for mesh in meshes}
    assert {(row["method"], *row["mesh"]) for row in rows} == asked
    assert not fails(rows)
