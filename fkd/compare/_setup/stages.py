"""A run in two stages: how many seeds its pilot asks for, and how new ones join it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fkd.compare._counted import counted
from fkd.compare.results import MethodResults
from fkd.ensemble import Seed
from fkd.statistics import seeds_needed, two_stage

CONFIDENCE = 0.95  # of all differences at once
COUNTED = 10**9  # seeds, which nobody trains; more are told as more than that


@dataclass(frozen=True)
class Resolution:
    """What a run in two stages is asked for: every difference from the baseline, known to so many
    `points` of accuracy, by at most `max_seeds` seeds of each method."""

    points: float
    max_seeds: int


class Needed(NamedTuple):
    """How many `seeds` of each method there are to be, and what the pilot would ask for `unbounded`
    by the most that are allowed; the widest of so many `differences` will be known to `points`."""

    seeds: int
    unbounded: int
    points: float
    differences: int


def first_seeds(pilot: Sequence[Seed], count: int) -> list[Seed]:
    """The first seeds of a run, those of the pilot and the next whole numbers after all of them.

    >>> first_seeds([3, 8, 5], 5)
    [3, 8, 5, 9, 10]
    """
    if count <= len(pilot):
        return [*pilot]
    more = max(seed for seed in pilot if isinstance(seed, int)) + 1  # others nothing joins
    return [*pilot, *range(more, more + count - len(pilot))]


def needed(
    methods: Mapping[str, MethodResults], baseline: str, pilot: int, asked: Resolution
) -> Needed | None:
    """What the pilot, each method's first seeds, asks for; None where no difference is known."""
    x = pilot_differences(methods, baseline, pilot)
    if not len(x):
        return None
    level = 1 - (1 - CONFIDENCE) / len(x)
    width = asked.points / 100
    seeds = seeds_needed(x, width, level, asked.max_seeds)
    bounds = two_stage(x, pilot, level)
    of_pilot = float((bounds.high - bounds.low).max()) / 2
    points = 100 * of_pilot * math.sqrt(pilot / seeds)
    return Needed(seeds, seeds_needed(x, width, level, COUNTED), points, len(x))


def pilot_differences(
    methods: Mapping[str, MethodResults], baseline: str, pilot: int
) -> np.ndarray:
    """Each method's accuracy above the baseline's, [methods, pilot], where both are finite."""
    accuracy = {
        name: np.array(one.last("test_accuracy")[:pilot], dtype=float)
        for name, one in methods.items()
    }
    base = accuracy.pop(baseline, np.full(pilot, np.nan))
    rows = [own - base for own in accuracy.values() if np.isfinite(own - base).all()]
    return np.array(rows).reshape(-1, pilot)


def in_words(needed: Needed | None, pilot: int, asked: Resolution, baseline: str, cost: str) -> str:
    """What the pilot asks for, what it comes to, and its `cost` where there is any, in a line."""
    if needed is None:
        return (
            f"The pilot of {pilot} seeds knows no difference from {baseline}, so no more are needed"
        )
    points = f"{counted(asked.points, 'point')} at {100 * CONFIDENCE:g} %"
    what = f"every difference to {points} for all {needed.differences} methods at once"
    if needed.differences == 1:
        what = f"the difference to {points}"
    if needed.unbounded <= pilot:
        return f"The pilot of {pilot} seeds is enough to know {what}: no more are needed"
    count = f"{needed.unbounded:,}" if needed.unbounded < COUNTED else f"more than {COUNTED:,}"
    line = f"The pilot of {pilot} seeds asks for {count} to know {what}"
    if needed.unbounded > needed.seeds:
        line += (
            f", and at most {asked.max_seeds} are allowed: the widest interval will be "
            f"± {_figures(needed.points, 2)} points, "
            f"{_figures(needed.points / asked.points, 3)} times as wide"
        )
    return f"{line}; {cost}" if cost else line


def duration(seconds: float) -> str:
    """About how long something takes, to be read and not to be reckoned with.

    >>> duration(40.2), duration(700), duration(9000)
    ('about 40 seconds', 'about 12 minutes', 'about 2.5 hours')
    """
    if seconds < 90:
        return f"about {seconds:.0f} seconds"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3600:.1f} hours"


def _figures(x: float, count: int) -> str:
    """A number to so many figures: to two `23`, `1.4`, `14,000`."""
    return f"{float(f'{x:.{count}g}'):,g}"


def joined(first: MethodResults, more: MethodResults) -> MethodResults:
    """A method's results with those of new seeds behind them; what a sweep chose stays."""
    curves = {
        metric: [a + b for a, b in zip(rows, more.curves[metric], strict=True)]
        for metric, rows in first.curves.items()
    }
    seconds = {phase: taken + more.seconds[phase] for phase, taken in first.seconds.items()}
    answers = None
    if first.answers is not None and more.answers is not None:
        answers = np.concatenate([first.answers, more.answers])
    return replace(
        first,
        seeds=first.seeds + more.seeds,
        curves=curves,
        seconds=seconds,
        answers=answers,
        plans=list(dict.fromkeys(first.plans + more.plans)),
    )
