"""Two runs are compared by the seeds that both have."""

import json
import math
from pathlib import Path

import pytest
from scipy import stats

from benchmarks.rehearsal import precision
from fkd.compare.results import MethodResults

DIGITS = Path(__file__).parents[3] / "benchmarks" / "results" / "digits-cpu"


def run(**accuracy: dict[int, float]) -> precision.Methods:
    """What a comparison has of methods, whose last epoch's accuracy this is by seed."""
    methods: dict[str, MethodResults] = {}
    for name, by_seed in accuracy.items():
        curves = {"test_accuracy": [[0.5] * len(by_seed), list(by_seed.values())]}
        methods[name] = MethodResults(list(by_seed), curves, {})
    return methods


def test_a_row_is_of_the_seeds_in_common():
    first = run(ce={0: 0.60, 1: 0.70, 2: 0.65, 9: 0.1}, kd={0: 0.5})
    second = run(ce={2: 0.66, 1: 0.70, 0: 0.63, 8: 0.9}, dkd={0: 0.5})
    (row,) = precision.rows(first, second)
    differences = [3.0, 0.0, 1.0]  # of the seeds 0, 1 and 2
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (row["method"], row["seeds"]) == ("ce", 3)
    assert row["difference"] == pytest.approx(4 / 3)
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_what_is_not_finite_has_no_interval():
    (row,) = precision.rows(run(ce={0: 0.6, 1: math.nan}), run(ce={0: 0.6, 1: 0.6}))
    assert (row["low"], row["high"]) == (None, None)


def test_runs_are_read_from_their_folders(tmp_path, capsys):
    arguments = [str(DIGITS), str(DIGITS), "--output", str(tmp_path / "new")]
    assert precision.main(arguments) == 0
    told = json.loads((tmp_path / "new" / "precision.json").read_text())
    assert [run["precision"] for run in told["runs"]] == ["fp32", "fp32"]
    assert {row["method"]: row["difference"] for row in told["rows"]} == dict.fromkeys(
        ["ce", "kd", "cosine", "hint"], 0.0
    )
    assert "fp32 − fp32" in capsys.readouterr().out
