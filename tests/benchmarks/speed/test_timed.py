"""Sides are timed in turn in processes of their own, and one that fails says so."""

import re
from functools import partial

import fake_sides
import pytest
from fake_sides import Fake

from benchmarks.speed import timed

alternate = partial(timed.alternate, make=fake_sides.make, peak=fake_sides.peak)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def test_sides_are_warmed_up_and_then_take_turns(log):
    slow, quick = Fake("slow", str(log), cost=0.25), Fake("quick", str(log), cost=0.125)
    timings, left_out = alternate([slow, quick], rounds=2, seconds=0.5, afresh=True)
    assert left_out == {}
    assert timings == {
        slow: timed.Timing(4.0, 2, [250.0, 250.0], 250.0),
        quick: timed.Timing(4.0, 4, [125.0, 125.0], 125.0),
    }
    told = [line.split() for line in log.read_text().splitlines()]
    steps = [(name, int(what)) for name, what, *_ in told if what != "in"]
    first = [("slow", 1), ("quick", 1)]
    warm_up = [("slow", 2), ("slow", 2), ("quick", 2), ("quick", 2)]
    turns = [("slow", 1), ("slow", 2), ("quick", 1), ("quick", 4)]
    assert steps == first + warm_up + turns + turns


@pytest.mark.parametrize("afresh", [False, True])
def test_what_is_compiled_is_shared_unless_afresh(log, afresh):
    sides = [Fake(name, str(log)) for name in ("one", "other")]
    alternate(sides, rounds=1, afresh=afresh)
    folders = {line.split(" in ")[1] for line in log.read_text().splitlines() if " in " in line}
    assert len(folders) == (2 if afresh else 1)


def test_a_side_that_cannot_run_is_left_out(log):
    sides = [Fake("here", str(log)), Fake("absent", str(log))]
    timings, left_out = alternate(sides, rounds=1)
    assert list(timings) == sides[:1]
    (why,) = left_out.values()
    assert isinstance(why, timed.Unavailable) and str(why) == "it needs what is not there"


@pytest.mark.parametrize(
    ("name", "text"),
    [("wrong", "wrong: TwoArguments: this and that"), ("dying", "dying: its process died")],
)
def test_a_side_that_fails_is_named_with_its_error_and_the_others_go_on(log, name, text):
    here, failing = Fake("here", str(log)), Fake(name, str(log))
    timings, left_out = alternate([failing, here], rounds=2)
    assert list(timings) == [here] and len(timings[here].rounds) == 2
    assert isinstance(left_out[failing], timed.SideFailed)
    assert re.match(text, str(left_out[failing]))


def test_a_ratio_is_of_the_same_round():
    mine, base = (timed.Timing(0.0, 1, times, 0.0) for times in ([2.0, 4.0, 9.0], [1.0, 4.0, 3.0]))
    assert timed.ratio(mine, base) == 2  # the median of 2, 1 and 3; of the medians it were 4/3
