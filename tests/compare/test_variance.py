"""The record of a factorial: its components, what they mean for intervals, its file."""

import math
from pathlib import Path

import numpy as np
import pytest
from compare.comparison_records import method, record

from fkd.compare import Factorial, Results, Variance
from fkd.compare.failure import Failure
from fkd.statistics import components

PLAN = Factorial(("init", "order", "teacher"), levels=2)
COMMITTED = Path(__file__).parents[2] / "benchmarks" / "results" / "cifar10-variance-cpu"


def runs(accuracy: dict[str, np.ndarray], plan: Factorial = PLAN) -> list[Results]:
    """The comparisons of each teacher whose members have this accuracy, [teachers, members]."""
    made = []
    for teacher in range(len(plan.teacher_seeds(0))):
        rows = {name: method(values[teacher].tolist()) for name, values in accuracy.items()}
        results = record(rows)
        for one in results.methods.values():
            one.seeds[:] = plan.seeds
        made.append(results)
    return made


def random(*names: str) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(0)
    return {name: draws.uniform(0.5, 1, (2, 4)) for name in names}


def test_components_are_those_of_the_accuracies_laid_out_by_hand():
    accuracy = random("ce", "kd", "hint")
    variance = Variance.of(PLAN, runs(accuracy))
    # [teachers, (init, order)] -> [init, order, teacher]
    by_hand = {
        name: np.stack([x[0].reshape(2, 2), x[1].reshape(2, 2)], axis=-1)
        for name, x in accuracy.items()
    }
    for name, x in by_hand.items():
        np.testing.assert_array_equal(variance.accuracy[name], x)
        assert variance.of_method(name) == components(x, PLAN.sources)
    assert variance.compared == ["kd", "hint"]
    expected = components(by_hand["kd"] - by_hand["ce"], PLAN.sources)
    assert variance.of_difference("kd") == expected


def by_order(difference: list[list[float]]) -> Variance:
    """Of a method whose differences from a baseline of zero are these, [init, order]."""
    plan = Factorial(("init", "order"), levels=2)
    values = np.array(difference)
    object.__setattr__(plan, "levels", len(values))
    flat = values.reshape(1, -1)
    return Variance.of(plan, runs({"ce": np.zeros_like(flat), "kd": flat}, plan))


def test_the_width_of_an_interval_is_that_of_numbers_worked_by_hand():
    # Sums of squares: init (rows) 24/... by hand: means 2, 5, 8 and 4, 5, 6 about 5.
    variance = by_order([[1.0, 2.0, 3.0], [4.0, 4.0, 7.0], [7.0, 9.0, 8.0]])
    # init: 3 (9 + 0 + 9) / 2 = 27; order: 3 (1 + 0 + 1) / 2 = 3; left: 0, 0, 0, 0, −1, 1, 0, 1, −1
    rest, init, order = 4 / 4, (27 - 1) / 3, (3 - 1) / 3
    found = {name: part.variance for name, part in variance.of_difference("kd").items()}
    assert found == pytest.approx({"init": init, "order": order, "rest": rest})
    width = variance.width("kd", "order", seeds=5)
    assert width is not None
    assert width.factor == pytest.approx(math.sqrt(1 + 5 * order / (init + rest)))
    assert width.low == 1 < width.factor < width.high


def test_the_width_covers_what_a_shared_order_hides():
    # 4,000 comparisons of 6 seeds that share an order: the deviation of their mean against the one
    # that their own spread tells, which is the width by definition.
    draws = np.random.default_rng(3)
    order, other, seeds = 0.5, 1.0, 6
    x = draws.normal(0, order, (4000, 1)) + draws.normal(0, other, (4000, seeds))
    true, told = x.mean(1).std(), math.sqrt((x.var(1, ddof=1) / seeds).mean())
    levels = 60
    x = draws.normal(0, order, (1, levels)) + draws.normal(0, other, (levels, levels))
    width = by_order(x.tolist()).width("kd", "order", seeds)
    assert width is not None
    assert width.factor == pytest.approx(true / told, rel=0.15)
    assert width.low < true / told < width.high


def test_a_record_reads_itself_back(tmp_path):
    variance = Variance.of(PLAN, runs(random("ce", "kd")))
    variance.failed["hint"] = Failure("error", "it fell")
    variance.write(tmp_path)
    again = Variance.read(tmp_path)
    assert again.to_json() == variance.to_json()
    assert again.factorial == PLAN and again.failed == variance.failed
    np.testing.assert_array_equal(again.accuracy["kd"], variance.accuracy["kd"])
    told = (tmp_path / "variance.md").read_text(encoding="utf-8")
    assert "hint failed: it fell" in told and "| kd − ce | teacher |" in told
    with pytest.raises(ValueError, match=r"Variance.read: there is no file .*elsewhere"):
        Variance.read(tmp_path / "elsewhere")
    (tmp_path / "variance.json").write_text("{}")
    with pytest.raises(ValueError, match="must hold the variances of a factorial run, but Key"):
        Variance.read(tmp_path)


def test_what_is_not_the_factorials_is_refused():
    made = runs(random("ce"))
    with pytest.raises(ValueError, match="there must be a run for each teacher, 2, but there are"):
        Variance.of(PLAN, made[:1])
    made[1].methods["ce"].seeds[:] = [0, 1, 2, 3]
    with pytest.raises(ValueError, match="ce must have the factorial's seeds, but it has others"):
        Variance.of(PLAN, made)


def test_a_run_that_was_stopped_has_the_methods_that_have_ended(tmp_path):
    made = runs(random("ce", "kd", "hint"))
    for run in made:
        run.config["methods"] = ["ce", "kd", "mypackage.mine:hint"]
    assert Variance.of(PLAN, made).whole
    del made[1].methods["hint"]
    variance = Variance.of(PLAN, made)
    assert list(variance.accuracy) == ["ce", "kd"] and variance.waiting == ["hint"]
    assert not variance.whole
    variance.write(tmp_path)
    again = Variance.read(tmp_path)
    assert again.waiting == ["hint"] and again.compared == ["kd"]
    told = (tmp_path / "variance.md").read_text(encoding="utf-8")
    assert "\nINCOMPLETE: hint is not trained yet with all teachers. mine:" in told


def test_the_committed_record_of_an_earlier_version_is_read():
    variance = Variance.read(COMMITTED)
    assert variance.whole and variance.waiting == [] and variance.compared == ["kd"]


def test_accuracies_that_are_not_finite_have_no_components(tmp_path):
    variance = Variance.of(PLAN, runs(random("ce", "kd")))
    variance.accuracy["kd"][0, 0, 0] = np.nan
    assert variance.compared == []
    variance.write(tmp_path)
    again = Variance.read(tmp_path)
    assert again.finite == ["ce"] and np.isnan(again.accuracy["kd"][0, 0, 0])


def test_a_method_that_failed_with_one_teacher_is_left_out():
    made = runs(random("ce", "kd", "hint"))
    del made[1].methods["ce"]
    made[1].failed["ce"] = Failure("diverged", "it went")
    variance = Variance.of(PLAN, made)
    assert list(variance.accuracy) == ["kd", "hint"] and variance.compared == []
    assert variance.failed == made[1].failed
