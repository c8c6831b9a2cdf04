"""What is concluded, against SciPy and what is worked out by hand; and laws of it."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compare.comparison_records import method, record, results_of_any_numbers, swept
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fkd.compare import conclusions
from fkd.compare.results import Failure, Results

# Shares of 1,000 test images, by method and seed.
BASE = np.array([0.70, 0.72, 0.71, 0.75, 0.73, 0.70])
ABOVE = BASE + np.array([0.021, 0.024, 0.026, 0.022, 0.023, 0.028])
ALIKE = BASE + np.array([0.010, -0.020, 0.005, -0.010, 0.012, 0.001])
BELOW = BASE - np.array([0.031, 0.029, 0.030, 0.033, 0.028, 0.029])
T = 0.975  # the quantile of two-sided 95 %


def of(pilot: int | None = None, **accuracies: Any) -> Results:
    """Results whose methods end with these accuracies; the first is the baseline."""
    methods = {name: method(list(values)) for name, values in accuracies.items()}
    return record(methods, pilot=pilot)


def four(pilot: int | None = None) -> Results:
    return of(pilot, ce=BASE, above=ABOVE, alike=ALIKE, below=BELOW)


def numbers(one: conclusions.Difference) -> np.ndarray:
    """All but the interval on images; NaN for what is not known."""
    return np.array(one[:8], dtype=float)


def with_answers(results: Results, right: dict[str, np.ndarray]) -> Results:
    """Whose accuracies are those of answers [seeds, images]."""
    for name, answers in right.items():
        results.methods[name] = replace(method(answers.mean(1).tolist()), answers=answers)
    return results


def drawn(*shares: float, images: int = 40) -> list[np.ndarray]:
    """Answers [5, images] that are right so often."""
    generator = np.random.default_rng(0)
    return [generator.random((5, images)) < share for share in shares]


def test_in_one_stage_a_method_by_itself_has_the_paired_t_test():
    for name, values in (("above", ABOVE), ("alike", ALIKE), ("below", BELOW)):
        one, theirs = conclusions.differences(four())[name], stats.ttest_rel(values, BASE)
        low, high = theirs.confidence_interval(0.95)
        assert one[:3] == pytest.approx((np.mean(values - BASE), low, high), rel=1e-9)
        assert one.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_for_all_at_once_it_is_bonferronis_t_and_max_t_over_all_flips():
    x = np.stack([ABOVE, ALIKE, BELOW]) - BASE
    told = conclusions.differences(four())
    mean, error = x.mean(1), stats.sem(x, axis=1)
    half = stats.t.ppf(1 - 0.05 / 6, 5) * error
    bounds = [numbers(one)[3:5] for one in told.values()]
    np.testing.assert_allclose(bounds, np.stack([mean - half, mean + half], 1), rtol=1e-9)
    # the three smallest of 64 flips: of a difference with one sign no flip but two is as large
    adjusted = {name: one.adjusted for name, one in told.items()}
    assert adjusted["above"] == adjusted["below"] == 2 / 64
    flips = 1 - 2 * (np.arange(64)[:, None] >> np.arange(6) & 1)
    t = np.abs(np.array(stats.ttest_1samp(flips * x[1], 0, axis=1))[0])
    assert adjusted["alike"] == pytest.approx((t >= t[0] - 1e-9).mean())
    own = np.sort([numbers(one)[5] for one in told.values()])
    holm = np.sort([numbers(one)[7] for one in told.values()])
    np.testing.assert_allclose(holm, own * [3, 2, 1], rtol=1e-9)


def test_after_a_pilot_the_deviation_is_the_pilots():
    told = conclusions.differences(four(pilot=4))
    for name, values in (("above", ABOVE), ("alike", ALIKE), ("below", BELOW)):
        x = values - BASE
        error = x[:4].std(ddof=1) / math.sqrt(6)
        one, mean = told[name], x.mean()
        half, joint = stats.t.ppf(T, 3) * error, stats.t.ppf(1 - 0.05 / 6, 3) * error
        assert one[:3] == pytest.approx((mean, mean - half, mean + half), rel=1e-9)
        assert one[3:5] == pytest.approx((mean - joint, mean + joint), rel=1e-9)
        p = 2 * stats.t.sf(abs(mean) / error, 3)
        assert one.p == pytest.approx(p, rel=1e-9)
        assert one.adjusted == one.holm and p <= numbers(one)[7] <= 3 * p + 1e-12


def test_after_a_pilot_an_accuracys_interval_is_steins_too():
    one, error = four(pilot=4).accuracy("above"), ABOVE[:4].std(ddof=1) / math.sqrt(6)
    half = stats.t.ppf(T, 3) * error
    assert one == pytest.approx(
        (ABOVE.mean(), ABOVE.std(ddof=1), ABOVE.mean() - half, ABOVE.mean() + half), rel=1e-9
    )


def test_the_interval_on_images_like_these_is_that_of_the_mean_squares():
    base, other = drawn(0.6, 0.8)
    results = with_answers(of(ce=[0.5], kd=[0.5]), {"ce": base, "kd": other})
    one = conclusions.differences(results)["kd"]
    d = other.astype(float) - base
    assert one.mean == pytest.approx(d.mean()) and one.images
    split = conclusions.variances(results)["kd"]
    rest = d - d.mean(0) - d.mean(1, keepdims=True) + d.mean()
    squares = 40 * d.mean(1).var(ddof=1), 5 * d.mean(0).var(ddof=1), np.square(rest).sum() / 156
    assert split.rest == pytest.approx(squares[2])
    assert split.seeds == pytest.approx((squares[0] - squares[2]) / 40)
    assert split.images == pytest.approx((squares[1] - squares[2]) / 5)
    error = math.sqrt((squares[0] + max(squares[1] - squares[2], 0)) / 200)
    half = stats.t.ppf(T, one.images.degrees) * error
    expected = (min(d.mean() - half, one.low), max(d.mean() + half, one.high))
    assert one.images[:2] == pytest.approx(expected)
    assert conclusions.differences(results, "teacher_agreement")["kd"].images is None


def test_after_a_pilot_images_are_no_surer_than_stein():
    base, other = drawn(0.6, 0.8)
    results = with_answers(of(ce=[0.5], kd=[0.5]), {"ce": base, "kd": other})
    results.pilot = 2
    one = conclusions.differences(results)["kd"]
    assert one.low is not None and one.images and one.images.low <= one.low


def test_seeds_that_not_all_methods_have_count_for_none():
    results = four()
    longer = method([*ABOVE, 0.1])
    results.methods["above"] = replace(longer, seeds=[9, 0, 1, 2, 3, 4, 5])
    results.methods["above"].curves["test_accuracy"][-1] = [0.1, *ABOVE]
    assert conclusions.differences(results) == conclusions.differences(four())
    assert conclusions.best(results) == conclusions.best(four())


def test_one_seed_has_a_mean_alone():
    assert conclusions.differences(of(ce=[0.5], kd=[0.75]))["kd"] == conclusions.Difference(0.25)
    assert conclusions.best(of(ce=[0.5], kd=[0.75])) == ["ce", "kd"]


@pytest.mark.parametrize("lost", [math.nan, math.inf, 1e200])
def test_what_is_not_finite_counts_for_none_of_the_others(lost):
    results = of(ce=BASE, above=ABOVE, lost=[*BASE[:5], lost])
    told = conclusions.differences(results)
    assert math.isnan(told["lost"].mean) and told["lost"][1:] == (None,) * 8
    assert told["above"] == conclusions.differences(of(ce=BASE, above=ABOVE))["above"]
    assert conclusions.best(results) == ["above"]
    assert conclusions.sentence(results).endswith(
        "; the accuracies of lost are not all finite; above alone is the best."
    )
    swapped = of(ce=[*BASE[:5], lost], above=ABOVE, other=BASE)
    assert conclusions.sentence(swapped) == (
        "The accuracies of ce, the baseline, are not all finite; above alone is the best."
    )


@pytest.mark.parametrize("pilot", [None, 2])
def test_of_differences_without_a_spread_no_p_is_told_beside_a_sentence_that_tells_nothing(pilot):
    # By flips alone it would be 2 / 2⁶, as if it were known that there is no spread.
    results = of(ce=[0.5] * 6, kd=[0.75] * 6)
    results.pilot = pilot
    one = conclusions.differences(results)["kd"]
    assert one.mean == 0.25 and (one.p, one.holm, one.adjusted) == (None, None, None)
    assert not one.told and not one.at_odds
    assert conclusions.sentence(results) == "kd cannot be told from ce by 6 seeds."


@pytest.mark.parametrize("pilot", [None, 3])
def test_differences_that_are_all_the_same_have_no_p_and_tell_nothing(pilot):
    results = of(pilot, ce=np.float32(BASE).tolist(), same=np.float32(BASE + 0.01).tolist())
    one = conclusions.differences(results)["same"]
    assert one.mean == pytest.approx(0.01) and one.p is None and one.holm is None
    assert one.low == pytest.approx(0.01) and not one.told
    assert conclusions.sentence(results).startswith("same cannot be told from ce by 6 seeds")
    assert pilot is None or conclusions.best(results) == ["ce", "same"]


@pytest.mark.parametrize("pilot", [None, 4])
def test_the_best_are_those_that_no_other_is_surely_above(pilot):
    assert conclusions.best(four(pilot)) == ["above"]
    both = of(pilot, ce=BASE, one=ABOVE, two=ABOVE[::-1])
    assert conclusions.best(both) == ["one", "two"]
    results = four(pilot)
    for one in results.methods.values():
        one.curves["test_loss"] = one.curves["test_accuracy"]
    assert conclusions.best(results, "test_loss") == ["below"]  # the lowest
    assert conclusions.differences(results, "test_loss").keys() == {"above", "alike", "below"}


def test_what_was_not_kept_has_no_differences():
    assert conclusions.differences(four(), "test_loss") == {}
    assert conclusions.best(four(), "test_loss") == [] and conclusions.variances(four()) == {}
    assert conclusions.differences(record({"kd": method([0.5])}, baseline="ce")) == {}


def test_picking_the_best_epoch_adds_what_it_adds_to_each_seed():
    base, other = method([0.4, 0.5]), method([0.5, 0.6])
    base.curves["test_accuracy"] = [[0.6, 0.5], [0.4, 0.5]]  # 0.2 and 0.0 above the last
    other.curves["test_accuracy"] = [[0.9, 0.9], [0.5, 0.6]]  # 0.4 and 0.3
    told = conclusions.epochs(record({"ce": base, "kd": other}))["kd"]
    theirs = stats.ttest_rel([0.4, 0.3], [0.2, 0.0])
    assert told and told.difference == pytest.approx(0.25)
    assert told.p == pytest.approx(theirs.pvalue)
    base.curves["test_accuracy"] = base.curves["test_accuracy"][1:]  # of a sweep
    assert conclusions.epochs(record({"ce": base, "kd": other})) == {"kd": None}


def swept_and_tested(*accuracies: list[float | None] | None) -> Results:
    """A sweep of three settings, whose validation accuracies are 0.90 and 0.88, 0.86 and 0.84, 0.82
    and 0.80 of two seeds, with these on the test set."""
    results = swept({"lr": (1.0, 2.0, 3.0)})
    one = results.methods["kd"]
    assert one.sweep
    settings = [
        replace(setting, test_accuracy=accuracy)
        for setting, accuracy in zip(one.sweep.settings, accuracies, strict=True)
    ]
    results.methods["kd"] = replace(one, sweep=replace(one.sweep, settings=settings))
    return results


def test_what_the_choice_of_a_setting_is_worth():
    results = swept_and_tested([0.80, 0.82], [0.81, 0.81], [0.70, 0.74])
    told = conclusions.setting(results, "kd")
    assert told and told.chosen == 0
    # both seeds choose the first: 0.80 − 0.77 and 0.82 − 0.79
    assert told.worth.difference == pytest.approx(0.03)
    # validation is above test by 0.10 and 0.06, and over all settings by 0.09 and 0.05
    assert told.optimism.difference == pytest.approx(0.01)
    assert told.optimism_of_mean == pytest.approx(0.08 - 0.07)


def test_a_setting_that_diverged_is_left_out_of_what_the_choice_is_worth():
    told = conclusions.setting(swept_and_tested([0.80, 0.82], [0.81, None], [0.70, 0.74]), "kd")
    assert told and told.worth.difference == pytest.approx((0.05 + 0.04) / 2)
    assert conclusions.setting(swept_and_tested([0.80, 0.82], [None, 0.8], None), "kd") is None
    assert conclusions.setting(swept_and_tested(None, None, None), "kd") is None
    assert conclusions.setting(four(), "ce") is None


def test_the_sentence():
    assert conclusions.sentence(four()) == (
        "above is 2.4 points above ce, between 2.0 and 2.8 simultaneously; below is 3.0 points "
        "below ce, between 2.7 and 3.3; alike cannot be told from ce by 6 seeds; above alone is "
        "the best."
    )
    # a difference that is the same at all seeds would tell nothing of the best
    more = ABOVE + np.array([0.0101, 0.0099, 0.0101, 0.0099, 0.0101, 0.0099])
    both = of(ce=BASE, above=ABOVE, more=more)
    assert conclusions.sentence(both) == (
        "more is 3.4 points above ce, between 3.1 and 3.7 simultaneously, and above 2.4 (2.1 to "
        "2.7); more alone is the best."
    )
    assert conclusions.sentence(of(ce=BASE, above=ABOVE)) == (
        "above is 2.4 points above ce, between 2.1 and 2.7; above alone is the best."
    )


def test_where_methods_are_many_the_sentence_counts_those_that_cannot_be_told():
    many = {f"as{number}": ALIKE for number in range(13)}
    *_, few, alone = conclusions.sentence(of(None, ce=BASE, above=ABOVE, **many)).split("; ")
    assert few == "the other 13 methods cannot be told from ce by 6 seeds"
    assert alone == "above alone is the best."
    below = {f"below{number}": BELOW for number in range(2)}
    text = conclusions.sentence(of(None, ce=BASE, **many, **below))
    assert text.endswith("; 14 methods cannot be told from the best.")


def test_the_sentence_says_what_may_not_be_said():
    say = conclusions.sentence
    assert say(of(ce=[0.5], kd=[0.6], at=[0.4])) == "One seed cannot tell kd and at from ce."
    assert say(of(ce=BASE)) == "ce alone has results, and there is nothing to tell it from."
    none = of(ce=BASE, a=ALIKE, b=ALIKE[::-1])
    assert say(none) == "No method can be told from ce by 6 seeds."
    results = record({"kd": method([0.5, 0.6])}, baseline="ce", failed={"ce": Failure("disk", "")})
    assert say(results) == "ce, from which differences are taken, has no results; ce failed."
    results = of(ce=BASE, a=ALIKE)
    results.config["methods"] = ["ce", "a", "b\n|c", "d"]
    assert say(results) == "a cannot be told from ce by 6 seeds; b |c and d are not trained yet."
    # A method of the user's own is asked for by where it is, and has results by its name.
    results.config["methods"] = ["ce", "mypackage.mymodule:a"]
    assert say(results) == "a cannot be told from ce by 6 seeds."
    results.methods = {}
    assert say(results) == "No method has results, so nothing can be concluded."


ROWS = st.lists(
    st.lists(st.integers(0, 40).map(lambda k: k / 40), min_size=4, max_size=4),
    min_size=2,
    max_size=4,
)


@given(ROWS, st.randoms(use_true_random=False), st.sampled_from([None, 2, 3]))
def test_neither_order_nor_a_shift_of_all_methods_changes_what_is_concluded(rows, random, pilot):
    named = {f"m{k}": row for k, row in enumerate(rows)}
    others = list(named)[1:]
    random.shuffle(others)
    told = conclusions.differences(of(pilot, **named))
    again = conclusions.differences(of(pilot, **{name: named[name] for name in ["m0", *others]}))
    shifted = conclusions.differences(
        of(pilot, **{name: np.array(row) + 0.125 for name, row in named.items()})
    )
    for other in (again, shifted):
        assert other.keys() == told.keys()
        for name, one in told.items():
            np.testing.assert_allclose(numbers(one), numbers(other[name]), 1e-6, 1e-9)
    best = conclusions.best(of(pilot, **named))
    flipped = conclusions.best(of(pilot, **{name: named[name] for name in [*others, "m0"]}))
    assert set(best) == set(flipped) and best


@given(results_of_any_numbers())
def test_of_any_results_something_can_be_said(results):
    text = conclusions.sentence(results)
    assert text.endswith(".") and "\n" not in text
    for metric in conclusions.METRICS:
        told = conclusions.differences(results, metric)
        assert set(told) <= set(results.methods) - {results.baseline}
        assert set(conclusions.best(results, metric)) <= set(results.methods)
    assert all(
        one is None or isinstance(one.difference, float)
        for one in conclusions.epochs(results).values()
    )
    for name, one in results.methods.items():
        worth = conclusions.setting(results, name)
        assert worth is None or (one.sweep and worth.chosen == one.sweep.chosen)


def test_an_interval_and_a_p_are_at_odds_where_few_seeds_allow_no_small_p():
    # 0.02 above with a deviation of 0.001: told by the interval, and flips of 4 seeds give 2 / 16
    apart = [0.019, 0.021, 0.020, 0.020]
    base = BASE[:4]
    one = conclusions.differences(of(ce=base, kd=base + apart))["kd"]
    assert one.told and one.adjusted == pytest.approx(0.125) and one.at_odds
    assert not conclusions.differences(of(ce=base, kd=ALIKE[:4]))["kd"].at_odds
    assert not conclusions.differences(four())["above"].at_odds  # of six seeds
    assert not conclusions.differences(of(2, ce=base, kd=base + apart))["kd"].at_odds
    assert not conclusions.differences(of(ce=base, kd=base + 0.02))["kd"].at_odds  # no spread
