"""A run in two stages: what a pilot asks for, by numbers worked by hand, in words, and joined."""

import numpy as np
import pytest
from compare.comparison_records import method, swept

from fkd.compare._setup.stages import Resolution, first_seeds, in_words, joined, needed

# Of 1, 2, 3 and 4 points above the baseline the variance is 5/3 points².
RISING = {"ce": method([0.5] * 4), "kd": method([0.51, 0.52, 0.53, 0.54])}
T_ONE, T_TWO = 3.182446, 4.176535  # Student's t, 3 degrees: its quantiles at 0.975 and 0.9875


def test_the_number_of_seeds_by_hand():
    one = needed(RISING, "ce", 4, Resolution(1.0, 64))
    assert one is not None
    assert one.seeds == one.unbounded == int(np.ceil(T_ONE**2 * 5 / 3)) == 17
    assert one.points == pytest.approx(T_ONE * np.sqrt(5 / 3 / 17), rel=1e-6) and one.points < 1
    # Of two methods each is known at 97.5 %; what lies below the pilot's seeds says nothing.
    more = method([0.5, 0.5, 0.5, 0.51, 0.9, 0.1])
    two = needed(RISING | {"pkt": more}, "ce", 4, Resolution(1.0, 64))
    assert two is not None and two.differences == 2
    assert two.seeds == int(np.ceil(T_TWO**2 * 5 / 3)) == 30


def test_a_bound_makes_the_interval_wider_and_says_by_how_much():
    asked = Resolution(1.0, 10)
    bounded = needed(RISING, "ce", 4, asked)
    assert bounded is not None and (bounded.seeds, bounded.unbounded) == (10, 17)
    assert bounded.points == pytest.approx(T_ONE * np.sqrt(5 / 3 / 10), rel=1e-6)  # 1.299
    assert in_words(bounded, 4, asked, "ce", "6 more seeds of 2 methods, about 40 seconds") == (
        "The pilot of 4 seeds asks for 17 to know the difference to 1 point at 95 %, and at most "
        "10 are allowed: the widest interval will be ± 1.3 points, 1.3 times as wide; 6 more seeds "
        "of 2 methods, about 40 seconds"
    )


def test_what_a_pilot_asks_for_in_words():
    asked = Resolution(5.0, 64)
    three = RISING | {"pkt": method([0.5] * 4), "dist": method([0.6] * 4)}
    assert in_words(needed(three, "ce", 4, asked), 4, asked, "ce", "") == (
        "The pilot of 4 seeds is enough to know every difference to 5 points at 95 % for all 3 "
        "methods at once: no more are needed"
    )
    asked = Resolution(0.5, 64)
    told = in_words(needed(RISING, "ce", 4, asked), 4, asked, "ce", "what it costs")
    assert "asks for 68 to know the difference to 0.5 points at 95 %, and at most 64" in told
    assert told.endswith("1.03 times as wide; what it costs")
    tiny = Resolution(1e-9, 64)
    assert "asks for more than 1,000,000,000 to" in in_words(
        needed(RISING, "ce", 4, tiny), 4, tiny, "ce", ""
    )


@pytest.mark.parametrize(
    "methods",
    [
        {"kd": RISING["kd"]},
        {"ce": RISING["ce"]},
        {"ce": method([0.5, float("nan"), 0.5, 0.5]), "kd": RISING["kd"]},
        {},
    ],
    ids=["no baseline", "the baseline alone", "a baseline that is not finite", "nothing"],
)
def test_where_no_difference_is_known_no_seeds_are_asked_for(methods):
    assert needed(methods, "ce", 4, Resolution(1.0, 64)) is None
    told = in_words(None, 4, Resolution(1.0, 64), "ce", "")
    assert told == "The pilot of 4 seeds knows no difference from ce, so no more are needed"


def test_new_seeds_are_the_next_whole_numbers():
    assert first_seeds(range(8), 10) == [*range(10)]
    assert first_seeds([7, 3], 2) == [7, 3] and first_seeds([7, 3], 4) == [7, 3, 8, 9]


def test_new_seeds_stand_behind_those_before():
    first, more = method([0.5, 0.6]), method([0.7])
    more.seeds[:] = [2]
    both = joined(first, more)
    assert both.seeds == [0, 1, 2] and both.last("test_accuracy") == [0.5, 0.6, 0.7]
    assert both.curves.keys() == first.curves.keys()
    assert [len(row) for curve in both.curves.values() for row in curve] == [3] * 2 * len(
        both.curves
    )
    assert both.seconds == {"first_step": 2.0, "steps": 5.0, "evaluation": 0.5}
    assert first.seeds == [0, 1]  # which stays as it was
    choice = swept({"lr": (1.0, 2.0)}).methods["kd"]
    assert joined(choice, method([0.7], epochs=2, choice=choice.sweep)).sweep == choice.sweep


def test_answers_are_joined_by_seed():
    answers = np.array([[True, False, True], [False, False, True]])
    first, more = method([0.5]), method([0.7])
    object.__setattr__(first, "answers", answers[:1])
    object.__setattr__(more, "answers", answers[1:])
    both = joined(first, more).answers
    assert both is not None and (both == answers).all()
    assert joined(first, method([0.7])).answers is None  # of some seeds alone they say nothing
