"""The record of several teachers: its two intervals, its components, its file."""

import json

import numpy as np
import pytest
from compare.comparison_records import method, record
from scipy import stats

from fkd.compare import Results, Teachers
from fkd.compare.failure import Failure
from fkd.compare.presentation import teachers_table
from fkd.compare.teachers import differs
from fkd.ensemble import Seeds


def runs(accuracy: dict[str, np.ndarray]) -> list[Results]:
    """The comparisons with each teacher whose students are so accurate, [teachers, seeds]."""
    made = []
    for teacher in range(len(next(iter(accuracy.values())))):
        rows = {name: method(values[teacher].tolist()) for name, values in accuracy.items()}
        results = record(rows)
        results.config |= {"teacher_seed": 42 + teacher, "methods": list(rows)}
        made.append(results)
    return made


def above(difference: np.ndarray) -> Teachers:
    """Of a method that is so far above a baseline of one half, [teachers, seeds]."""
    base = np.full_like(difference, 0.5)
    return Teachers.of(runs({"ce": base, "kd": base + difference}))


# With two teachers and three seeds; by hand: the mean is 4, the teachers' means are 2 and 6, the
# seeds' 2, 4 and 6, and what is left of it is -1, 0, 1 and 1, 0, -1.
BY_HAND = np.array([[-1.0, 2.0, 5.0], [5.0, 6.0, 7.0]]) / 100


def test_both_intervals_are_those_of_numbers_worked_by_hand():
    over = above(BY_HAND).over("kd")
    # M_seeds = 2 (4 + 0 + 4) / 2 = 8, M_teachers = 3 (4 + 4) / 1 = 24, M_rest = 4 / 2 = 2
    assert over.mean == pytest.approx(0.04)
    half = float(stats.t.ppf(0.975, 2)) * (8 / 6) ** 0.5 / 100
    assert over.on_these == pytest.approx((0.04 - half, 0.04 + half, 2))
    degrees = (8 + 24 - 2) ** 2 / (8**2 / 2 + 24**2 / 1 + 2**2 / 2)
    half = float(stats.t.ppf(0.975, degrees)) * ((8 + 24 - 2) / 6) ** 0.5 / 100
    assert over.on_like_these == pytest.approx((0.04 - half, 0.04 + half, degrees))


def test_for_these_teachers_it_is_the_interval_of_the_seeds_means():
    mean, spread = BY_HAND.mean(axis=0).mean(), stats.sem(BY_HAND.mean(axis=0))
    expected = stats.t.interval(0.95, 2, mean, spread)
    assert above(BY_HAND).over("kd").on_these[:2] == pytest.approx(expected)


def test_seeds_whose_means_are_the_same_are_too_few_to_tell(tmp_path):
    # Accuracies are shares of few images, so two seeds often meet: mean squares of the seeds that
    # are zero leave an interval without a width, beside a rest of two points squared.
    told = above(np.array([[1.0, 3.0], [5.0, 3.0]]) / 100)
    assert told.of_difference("kd")["rest"].variance == pytest.approx(4e-4)
    over = told.over("kd")
    assert over.mean == pytest.approx(0.03) and not over.known
    assert not differs(over.on_these) and not differs(over.on_like_these)
    told.write(tmp_path)
    of_file = json.loads((tmp_path / "teachers.json").read_text())["differences"]["kd"]
    assert of_file["on_these"]["low"] is None and of_file["on_like_these"]["high"] is None
    assert teachers_table.of_methods(told)["kd"] == ["53.00", "+3.00", "–", "–"]
    text = (tmp_path / "teachers.md").read_text(encoding="utf-8").splitlines()[0]
    assert text.endswith("; 2 seeds with the same means are too few to tell how sure kd's is.")
    told.draw(tmp_path)
    # Another seed that differs, and both are known.
    assert above(np.array([[1.0, 3.0, 2.0], [5.0, 3.0, 2.0]]) / 100).over("kd").known


def test_the_components_are_of_the_teacher_and_the_seed():
    # (24 - 2) / 3, (8 - 2) / 2 and 2, in points squared
    parts = above(BY_HAND).of_difference("kd")
    found = {name: 1e4 * part.variance for name, part in parts.items()}
    assert found == pytest.approx({"teacher": 22 / 3, "seed": 3.0, "rest": 2.0})
    assert parts["teacher"].degrees == 1 and parts["seed"].degrees == 2


def test_it_is_never_surer_of_teachers_like_these_than_of_these():
    # Two seeds that differ widely, whose t has one degree of freedom, and a little of the teachers.
    draws = np.random.default_rng(0)
    difference = np.array([0.0, 0.2]) + draws.normal(0, 0.1, (12, 1))
    these, like = above(difference).over("kd")[1:]
    assert like.degrees > 1
    assert like.low <= these.low < these.high <= like.high


def test_each_interval_covers_what_it_is_for():
    # 600 comparisons of 4 teachers and 8 seeds with a true difference of a point. With teachers
    # that are fixed, what is covered is the difference with these; 95 % within 4 deviations.
    draws, true = np.random.default_rng(1), 0.01
    shape, hits = (600, 4, 8), {"these": 0, "like": 0, "these for like": 0}
    teacher = draws.normal(0, 0.01, (600, 4, 1))
    seed, rest = draws.normal(0, 0.005, (600, 1, 8)), draws.normal(0, 0.005, shape)
    x = true + teacher + seed + rest
    run = above(x[0])
    for k in range(600):
        run.accuracy["kd"] = 0.5 + x[k]
        _, these, like = run.over("kd")
        hits["these"] += these.low <= true + teacher[k].mean() <= these.high
        hits["like"] += like.low <= true <= like.high
        hits["these for like"] += these.low <= true <= these.high
    error = 4 * (600 * 0.95 * 0.05) ** 0.5
    assert abs(hits["these"] - 570) < error and abs(hits["like"] - 570) < error
    assert hits["these for like"] < 450  # it is not what it is not for


def test_a_record_reads_itself_back(tmp_path):
    told = above(BY_HAND)
    told.failed["hint"] = Failure("error", "it fell")
    told.write(tmp_path)
    again = Teachers.read(tmp_path)
    assert again.to_json() == told.to_json()
    assert again.teacher_seeds == [42, 43] and again.seeds == [0, 1, 2]
    assert again.teacher_accuracy == [0.75, 0.75] and again.failed == told.failed
    np.testing.assert_array_equal(again.accuracy["kd"], told.accuracy["kd"])
    text = (tmp_path / "teachers.md").read_text(encoding="utf-8")
    assert text == teachers_table.markdown(again) and "- hint failed: it fell" in text
    with pytest.raises(ValueError, match=r"Teachers.read: there is no file .*elsewhere"):
        Teachers.read(tmp_path / "elsewhere")
    (tmp_path / "teachers.json").write_text("{}")
    with pytest.raises(ValueError, match="must hold the results of several teachers, but KeyErr"):
        Teachers.read(tmp_path)


def test_runs_that_are_not_of_one_comparison_are_refused():
    for change, message in (
        ({"epochs": 3}, "they differ in epochs"),
        ({"teacher_seed": 42}, r"from a seed of its own, but the seeds are \[42, 42\]"),
        ({"teacher_seed": None}, r"from a seed of its own, but the seeds are \[42\]"),
    ):
        made = runs({"ce": BY_HAND, "kd": BY_HAND})
        made[1].config |= change
        with pytest.raises(ValueError, match=f"^Teachers.of: .*{message}"):
            Teachers.of(made)
    with pytest.raises(ValueError, match="two teachers or more, but there is one"):
        Teachers.of(runs({"ce": BY_HAND[:1]}))
    with pytest.raises(ValueError, match="without two seeds and more nothing is known"):
        Teachers.of(runs({"ce": BY_HAND[:, :1]}))
    made = runs({"ce": BY_HAND, "kd": BY_HAND})
    made[1].methods["kd"].seeds[:] = [0, 1, 3]
    with pytest.raises(ValueError, match="each method must have the seeds that its run was asked"):
        Teachers.of(made)
    made = runs({"ce": BY_HAND})
    for one in made:
        one.methods["ce"].seeds[:] = [Seeds(k, 0, 0) for k in range(3)]
    with pytest.raises(ValueError, match="there is a sweep, a pilot or a factorial"):
        Teachers.of(made)


def test_a_method_that_failed_or_has_not_ended_with_a_teacher_is_left_out(tmp_path):
    made = runs({"ce": BY_HAND, "kd": BY_HAND})
    del made[1].methods["kd"]
    told = Teachers.of(made)
    assert list(told.accuracy) == ["ce"] and told.waiting == ["kd"] and not told.whole
    told.write(tmp_path)
    text = (tmp_path / "teachers.md").read_text(encoding="utf-8")
    assert text.startswith("No difference from ce is known with every teacher")
    assert "INCOMPLETE: kd is not trained yet with all teachers. mine:" in text
    made[1].failed["kd"] = Failure("diverged", "it went")
    told = Teachers.of(made)
    assert list(told.accuracy) == ["ce"] and told.waiting == [] and list(told.failed) == ["kd"]


def test_of_a_run_that_was_stopped_there_are_the_teachers_that_have_ended(tmp_path):
    three = np.concatenate([BY_HAND, BY_HAND[:1]])
    made = runs({"ce": three, "kd": three + 0.5})
    for run in made:
        run.config["teachers"] = 4
    del made[2].methods["kd"]
    told = Teachers.of(made)
    assert told.teacher_seeds == [42, 43] and list(told.accuracy) == ["ce", "kd"]
    assert told.waiting == [] and not told.whole
    told.write(tmp_path)
    assert Teachers.read(tmp_path).teachers_asked == 4
    assert "; 2 of 4 teachers have ended." in (tmp_path / "teachers.md").read_text().splitlines()[0]
    # From Python nothing but the runs says how many there were to be.
    for run in made:
        del run.config["teachers"]
    assert Teachers.of(made).teachers_asked == 3 and not Teachers.of(made).whole


def test_what_is_not_finite_has_no_difference(tmp_path):
    told = above(BY_HAND)
    told.accuracy["kd"][0, 0] = np.nan
    assert told.compared == []
    told.write(tmp_path)
    assert np.isnan(Teachers.read(tmp_path).accuracy["kd"][0, 0])
