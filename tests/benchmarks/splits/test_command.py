"""The table of errors, from made-up rows."""

import pytest

from benchmarks.splits.command import fails, largest, main, table


def row(mesh: tuple[int, int], error: float) -> dict[str, object]:
    return {"method": "kd", "layout": "loop", "mesh": list(mesh), "error": error}


def test_the_largest_error_of_all_ranks_counts():
    ranks = [[row((1, 2), 1e-15), row((2, 1), 0.0)], [row((1, 2), 3e-15), row((2, 1), 1e-17)]]
    assert [one["error"] for one in largest(ranks)] == [3e-15, 1e-17]


@pytest.mark.parametrize(
    ("mesh", "error", "broken"),
    [
        ((2, 1), 0.0, False),
        ((2, 1), 1e-17, True),  # members alone are dealt bit for bit
        ((1, 2), 1e-13, False),
        ((2, 2), 2e-12, True),
        ((1, 4), float("nan"), True),
    ],
)
def test_the_law_is_broken_by(mesh, error, broken):
    assert bool(fails([row(mesh, error)])) == broken


def test_a_method_has_a_row_and_a_mesh_a_column():
    meshes = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 4)]
    grid = table([row(mesh, 0.0) for mesh in meshes])
    assert [column.header for column in grid.columns][2:] == [str(mesh) for mesh in meshes]
    assert grid.row_count == 1


def test_a_method_that_is_not_known_is_refused(capsys):
    assert main(["--methods", "none"]) == 2
    assert "method 'none' is not known" in capsys.readouterr().err
