"""The record of a comparison: what it derives, writes and reads, of any age; and its folder."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from compare.comparison_records import method, record, results_of_any_numbers, swept
from hypothesis import given, settings
from scipy import stats

from fkd.compare import environment
from fkd.compare.conclusions import differences
from fkd.compare.results import Failure, Results

COMMITTED = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*/results.json"))
# What results.json did not have in earlier versions.
LATER = {
    "config": ["precision", "layout", "chunk", "graph", "teacher_memory", "sweep", "validation"],
    "data": ["validation", "unit"],
    "teacher": ["live"],
    "seconds": ["first_steps"],
}


def close(mine: Any, theirs: Any) -> bool:
    """Whether two JSON values are equal, numbers to rounding."""
    if isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(close(mine[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list | tuple):
        return len(mine) == len(theirs) and all(map(close, mine, theirs))
    if isinstance(theirs, float):
        return math.isclose(mine, theirs, rel_tol=1e-6, abs_tol=1e-9)
    return mine == theirs


def test_there_are_committed_results():
    assert len(COMMITTED) >= 4


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_results_are_read_and_written_as_they_are(path, tmp_path):
    entry = json.loads(path.read_text())
    results = Results.read(path.parent)
    results.write(tmp_path)
    again = json.loads((tmp_path / "results.json").read_text())
    assert close(again, entry)
    assert Results.read(tmp_path) == results


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_results_of_an_earlier_version_are_read_and_drawn(path, tmp_path):
    entry = json.loads(path.read_text())
    if entry["config"]["sweep"] or "training" in entry["config"]:
        pytest.skip("no earlier version swept or had recipes")
    for part, names in LATER.items():
        for name in names:
            entry[part].pop(name, None)
    (tmp_path / "results.json").write_text(json.dumps(entry))
    results = Results.read(tmp_path)
    assert results.data.validation == 0 and results.teacher and not results.teacher.live
    results.write(tmp_path)
    assert "Adam 0.001, fp32; teacher" in (tmp_path / "table.md").read_text()


def test_what_is_derived_is_what_scipy_says():
    base, other = [0.70, 0.72, 0.71, 0.75], [0.74, 0.73, 0.75, 0.76]
    results = record({"ce": method(base), "kd": method(other)})
    accuracy, difference = results.accuracy("kd"), differences(results)["kd"]
    expected = stats.t.interval(0.95, 3, np.mean(other), stats.sem(other))
    assert (accuracy.mean, accuracy.low, accuracy.high) == pytest.approx(
        (np.mean(other), *expected)
    )
    assert difference.p == pytest.approx(stats.ttest_rel(other, base).pvalue)
    assert difference.mean == pytest.approx(np.mean(other) - np.mean(base))
    assert set(differences(results)) == {"kd"}


def test_there_is_no_difference_from_a_baseline_that_diverged():
    results = record(
        {"kd": method([0.5, 0.6])}, baseline="ce", failed={"ce": Failure("diverged", "member 0")}
    )
    assert differences(results) == {}
    assert "differences" not in results.to_json()["methods"]["kd"]


def test_the_structure_is_what_earlier_readers_know():
    entry = swept({"lr": (1.0, 2.0)}).to_json()
    kd = entry["methods"]["kd"]
    assert kd["seeds"][1]["seed"] == 1 and kd["seeds"][1]["test_accuracy"] == 0.5
    assert kd["sweep"]["settings"][1]["hyper"] == {"lr": 2.0} and kd["sweep"]["chosen"] == 0
    assert set(kd["accuracy"]) == {"mean", "deviation", "low", "high"}
    assert "failed" not in entry and "networks" not in entry


def test_a_record_reads_itself_back(tmp_path):
    results = swept({"lr": (1.0, 2.0, 3.0), "kd.weight": (0.1, 0.2)}, diverged=5)
    results.failed = {"hint": Failure("disk", "the disk is full")}
    results.resumed = 2
    results.write(tmp_path)
    assert Results.read(tmp_path) == results
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["results.json", "table.md"]


def test_answers_tests_of_settings_and_a_pilot_are_read_back(tmp_path):
    results = swept({"lr": (1.0, 2.0)})
    one = results.methods["kd"]
    assert one.sweep
    settings = [replace(setting, test_accuracy=[0.5, None]) for setting in one.sweep.settings]
    answers = np.random.default_rng(0).random((2, 13)) < 0.5  # which fill no whole bytes
    results.data = replace(results.data, test=13)
    curves = one.curves | {"test_accuracy": [answers.mean(1).tolist()]}
    swept_and_tested = replace(one.sweep, settings=settings)
    results.methods["kd"] = replace(one, curves=curves, sweep=swept_and_tested, answers=answers)
    results.pilot = 2
    results.write(tmp_path)
    again = Results.read(tmp_path)
    assert again == results and again.pilot == 2
    back = again.methods["kd"].answers
    assert back is not None and back.dtype == bool and np.array_equal(back, answers)
    others = replace(results.methods["kd"], answers=~answers)
    assert again.methods["kd"] != others != replace(others, answers=None)
    assert again.methods["kd"] != 3


def test_divergence_as_an_earlier_version_wrote_it_is_read(tmp_path):
    entry = record({"ce": method([0.5, 0.6])}).to_json() | {"diverged": {"kd": "member 0"}}
    del entry["resumed"]
    (tmp_path / "results.json").write_text(json.dumps(entry))
    results = Results.read(tmp_path)
    assert results.failed == {"kd": Failure("diverged", "member 0")} and results.resumed == 0


def test_numbers_that_are_not_finite_are_null_and_read_back_as_nan(tmp_path):
    results = record({"ce": method([0.5, 0.6])})
    results.methods["ce"].curves["loss"] = [[0.5, math.inf], [math.nan, 0.25]]
    results.write(tmp_path)
    entry = json.loads((tmp_path / "results.json").read_text())
    assert entry["methods"]["ce"]["curves"]["loss"] == [[0.5, None], [None, 0.25]]
    again = Results.read(tmp_path).methods["ce"].curves["loss"]
    assert np.array_equal(again, [[0.5, math.nan], [math.nan, 0.25]], equal_nan=True)


@given(results_of_any_numbers())
@settings(deadline=None)
def test_any_results_are_written_and_read_back(results):
    with TemporaryDirectory() as folder:
        results.write(folder)
        again = Results.read(folder)
        assert again.to_json() == results.to_json()
        assert sorted(os.listdir(folder)) == ["results.json", "table.md"]
        text = Path(folder, "table.md").read_text(encoding="utf-8")
    rows = [line for line in text.split("\n") if line.startswith("|")]
    others = 2 + len(results.methods) if results.methods else 0  # agreement and the like
    assert len(rows) == 2 + len(results.methods) + len(results.failed) + others


def test_a_mean_of_what_is_not_finite_is_none():
    results = record({"ce": method([0.5, 0.6]), "kd": method([0.5, 0.6])})
    results.methods["kd"].curves["test_accuracy"][-1][0] = math.inf
    assert math.isnan(results.accuracy("kd").mean) and results.accuracy("kd").low is None
    difference = differences(results)["kd"]
    assert math.isnan(difference.mean) and difference.p is None
    assert results.best("kd").mean == pytest.approx((0.25 + 0.6) / 2)


WRITE = """
import sys
from compare.comparison_records import method, record
names = "ce", "gr\\u00f6\\u00dfe \\udce9"
record({name: method([0.5, 0.6]) for name in names}).write(sys.argv[1])
"""


def test_files_are_in_utf8_whatever_the_locale_and_the_names(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    subprocess.run(command, check=True, env=os.environ | plain | {"PYTHONPATH": paths})
    text = (tmp_path / "table.md").read_bytes().decode("utf-8")
    assert "| größe \\udce9 |" in text and "− ce" in text
    assert list(Results.read(tmp_path).methods) == ["ce", "größe \udce9"]


@pytest.mark.plain
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file"),
        ("\udcff", "must hold the results of a comparison, but UnicodeDecodeError"),
        ("{", "must hold the results of a comparison, but JSONDecodeError"),
        ("{}", "must hold the results of a comparison, but KeyError: 'shapes'"),
        ("[]", "must hold the results of a comparison, but TypeError"),
    ],
)
def test_what_is_no_comparison_is_refused(text, message, tmp_path):
    if text is not None:
        (tmp_path / "results.json").write_bytes(os.fsencode(text))
    with pytest.raises(ValueError, match=message):
        Results.read(tmp_path)


@pytest.mark.plain
def test_a_folder_in_the_place_of_results_is_refused(tmp_path):
    (tmp_path / "results.json").mkdir()
    with pytest.raises(ValueError, match=r"Results.read: .*results.json cannot be read: Is a dir"):
        Results.read(tmp_path)


def test_reading_loads_neither_pictures_nor_tables(tmp_path):
    record({"ce": method([0.5, 0.6])}).write(tmp_path)
    program = (
        "import sys; from fkd.compare import Results; "
        f"Results.read({str(tmp_path)!r}); "
        "assert not {'matplotlib', 'rich', 'torch._dynamo', 'fkd.train'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_folder_is_never_used_twice(tmp_path):
    folders = [environment.new_folder(tmp_path / "x" / "y") for _ in range(3)]
    assert [folder.name for folder in folders] == ["y", "y-2", "y-3"]
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        environment.new_folder(tmp_path / "file" / "sub")


def test_the_environment_is_plain_json_and_knows_this_torch():
    import torch

    entry = environment.environment()
    assert json.loads(json.dumps(entry)) == entry
    assert entry["torch"] == torch.__version__.partition("+")[0]
    assert entry["cores"] > 0 and entry["processor"]


def test_no_commit_is_told_of_another_repository(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    (tmp_path / "environment.py").write_text("")
    assert environment.environment()["commit"] is None
