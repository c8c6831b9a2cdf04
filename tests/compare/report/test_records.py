"""The record in a run's folder: a comparison's, or of all teachers, whole or not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from compare.comparison_records import method, record
from compare.test_teachers import BY_HAND
from compare.test_teachers import runs as of_teachers
from compare.test_variance import PLAN, random
from compare.test_variance import runs as of_factorial

from fkd.compare import Results, Teachers, Variance
from fkd.compare.report import _records


def folder(path: Path, runs: list[Results]) -> Path:
    """The folder of runs as the command line leaves them, in no order."""
    for k, run in reversed(list(enumerate(runs))):
        run.config["teacher_seed"] = 99 + k  # of which names are not in the order of numbers
        place = path / f"teacher-{99 + k}"
        place.mkdir(parents=True)
        run.write(place)
    return path


def factorial() -> list[Results]:
    runs = of_factorial(random("ce", "kd", "hint"))
    for run in runs:
        run.config |= {"vary": list(PLAN.sources), "levels": PLAN.levels}
        run.config["methods"] = ["ce", "kd", "hint"]
    return runs


def test_a_comparison_is_its_results(tmp_path):
    record({"ce": method([0.5])}).write(tmp_path)
    assert isinstance(_records.read(tmp_path), Results)
    with pytest.raises(ValueError, match=r"there is no file .*gone"):
        _records.read(tmp_path / "gone")


def test_a_factorial_that_was_stopped_is_told_from_its_runs(tmp_path):
    runs = factorial()
    del runs[1].methods["hint"]
    one = _records.read(folder(tmp_path, runs))
    assert isinstance(one, Variance) and one.factorial == PLAN and one.waiting == ["hint"]
    expected = Variance.of(PLAN, runs)
    np.testing.assert_array_equal(one.accuracy["kd"], expected.accuracy["kd"])
    # The record beside them may be of a moment before.
    expected.waiting = ["kd", "hint"]
    del expected.accuracy["kd"]
    expected.write(tmp_path)
    assert _records.read(tmp_path).waiting == ["hint"]


def test_a_record_alone_is_read(tmp_path):
    Variance.of(PLAN, factorial()).write(tmp_path)
    assert isinstance(_records.read(tmp_path), Variance)
    (tmp_path / "variance.json").unlink()
    Teachers.of(of_teachers({"ce": BY_HAND})).write(tmp_path)
    assert isinstance(_records.read(tmp_path), Teachers)


def test_several_teachers_are_told_from_their_runs(tmp_path):
    runs = of_teachers({"ce": BY_HAND, "kd": BY_HAND})
    one = _records.read(folder(tmp_path, runs))
    assert isinstance(one, Teachers) and one.teacher_seeds == [99, 100] and one.whole


def test_too_little_is_refused(tmp_path):
    place = folder(tmp_path / "factorial", factorial())
    shutil.rmtree(place / "teacher-100")
    with pytest.raises(ValueError, match=r"too little has ended .*, 2, but there are 1; go on"):
        _records.read(place)
    place = folder(tmp_path / "teachers", of_teachers({"ce": BY_HAND})[:1])
    with pytest.raises(ValueError, match=r"too little has ended .* of two teachers or more"):
        _records.read(place)
    (place / "teacher-99" / "results.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="must hold the results of a comparison"):
        _records.read(place)
