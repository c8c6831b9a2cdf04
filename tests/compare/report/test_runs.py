"""Several runs: differences by run, and ranks by hand."""

from compare.comparison_records import method, record

from fkd.compare.report import _runs


def run(ce: float, kd: float, hint: float, **more: float):
    scores = {"ce": ce, "kd": kd, "hint": hint} | more
    return record({name: method([score - 0.1, score + 0.1]) for name, score in scores.items()})


def test_ranks_by_hand():
    # Mean ranks of Demšar's kind: ce is first in three of four runs, and second in the other.
    runs = {
        "a": run(0.9, 0.8, 0.7),
        "b": run(0.6, 0.5, 0.4, own=0.9),
        "c": run(0.8, 0.9, 0.7),
        "d": run(0.3, 0.2, 0.1),
    }
    table, words = _runs.ranks(runs)
    assert table is not None
    assert [(row.head, *row.cells) for row in table.rows] == [
        ("ce", "1.25", "1", "1", "2", "1"),
        ("kd", "1.75", "2", "2", "1", "2"),
        ("hint", "3.00", "3", "3", "3", "3"),
    ]
    # χ² = 12 · 4 / (3 · 4) · (0.75² + 0.25² + 1²) = 6.5, F = 3 · 6.5 / (8 − 6.5) = 13;
    # q of three means at 0.05 is 2.343 (Demšar's table 5), · √(3 · 4 / (6 · 4)) = 1.657
    assert "F 13.00" in words and "more than 1.66" in words and "With 4 runs this is rough" in words


def test_ranks_need_two_runs_and_two_methods_in_common():
    table, words = _runs.ranks({"a": run(0.9, 0.8, 0.7)})
    assert table is None and "two runs" in words
    other = record({"ce": method([0.5, 0.5]), "own": method([0.5, 0.6])})
    assert _runs.ranks({"a": run(0.9, 0.8, 0.7), "b": other})[0] is None
    lost = record({"ce": method([0.5, 0.5]), "kd": method([0.5, float("nan")])})
    assert _runs.ranks({"a": run(0.9, 0.8, 0.7), "b": lost})[0] is None


def test_differences_have_a_column_for_each_run():
    other = record({"kd": method([0.5, 0.6]), "own": method([0.4, 0.5])})
    table = _runs.differences({"a": run(0.9, 0.8, 0.7), "b": other})
    assert [column.head for column in table.columns] == ["a: − ce", "b: − kd"]
    assert {row.head: row.cells[1] for row in table.rows} == {
        "kd": "",
        "hint": "",
        "own": "-10.00 –",
    }
