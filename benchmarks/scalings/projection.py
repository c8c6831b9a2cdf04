"""How far each axis of the mesh goes, on paper: nothing here was measured on more than one GPU.

From the measured time of an ensemble's step on one GPU, the counted traffic of a step and published
speeds of links. An efficiency is the time of the same work on one GPU, over that of n GPUs times n;
where the work grows with the GPUs, the time of one share on one GPU over that of n shares on n.
What is left out makes the paper kinder than any cluster: stragglers, other traffic, and that a
smaller batch or a smaller ensemble uses a GPU less well beyond what a fixed part of a step says.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.scalings.links import Cluster, summed

SERVER = 12.5e9  # bytes a second of the one server from which all ranks read: 100 GbE
HALF = 0.5  # where a second GPU for the same result is worth no more


@dataclass(frozen=True)
class Step:
    """Seconds of an ensemble's step on one GPU: `fixed`, and `each` for every member."""

    fixed: float
    each: float

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> "Step":
        """The line through two of (members, seconds)."""
        each = (many[1] - few[1]) / (many[0] - few[0])
        return cls(few[1] - each * few[0], each)

    def seconds(self, members: float) -> float:
        return self.fixed + self.each * members


@dataclass(frozen=True)
class Comparison:
    """Seconds of a comparison on one GPU, `members` of each method side by side.

    `once` is set-up and compilation, `teacher` its training: every row of members repeats both, as
    `compare` does. `dealt` are the students' steps and tests.
    """

    members: int
    once: float
    teacher: float
    dealt: float
    step: Step
    bytes_read: float

    def seconds(self, members: int) -> float:
        """With so many members of each method instead."""
        share = self.step.seconds(members) / self.step.seconds(self.members)
        return self.once + self.teacher + self.dealt * share

    def longer(self, times: float) -> "Comparison":
        """With so many times the epochs."""
        return replace(self, teacher=self.teacher * times, dealt=self.dealt * times)

    def read(self, ranks: int) -> float:
        """Seconds that a rank waits while the others read their copies of the data."""
        return (ranks - 1) * self.bytes_read / SERVER


@dataclass(frozen=True)
class Sums:
    """What the data ranks sum in each step: the gradient, and `small` sums of BatchNorm, in which
    each rank has a place of `place` bytes."""

    gradient: float
    small: int = 0
    place: float = 0.0

    def seconds(self, ranks: int, cluster: Cluster) -> float:
        few = self.small * summed(self.place * ranks, ranks, cluster)
        return summed(self.gradient, ranks, cluster) + few


def members_shared(one: Comparison, members: int, ranks: int) -> float | None:
    """Efficiency where so many members of each method are dealt; None where a rank has none."""
    if members < ranks:
        return None
    alone, most = one.seconds(members), math.ceil(members / ranks)
    return alone / (ranks * (one.seconds(most) + one.read(ranks)))


def members_each(one: Comparison, ranks: int) -> float:
    """Efficiency where every GPU brings `one.members` members of each method of its own."""
    alone = one.seconds(one.members)
    return alone / (alone + one.read(ranks))


def batch_shared(
    step: Step, members: int, batch: int, sums: Sums, ranks: int, cluster: Cluster
) -> float | None:
    """Efficiency where each minibatch is dealt; None where a rank has no example of it.

    The members' part of a step becomes shorter with the rows, the fixed part does not.
    """
    if batch < ranks:
        return None
    rows = math.ceil(batch / ranks) / batch
    each = step.fixed + step.each * members * rows + sums.seconds(ranks, cluster)
    return step.seconds(members) / (ranks * each)


def wall(efficiency: Callable[[int], float | None], most: int = 2**14) -> int:
    """The largest power of two of GPUs of which at least half is used."""
    ranks = 1
    while ranks < most:
        value = efficiency(2 * ranks)
        if value is None or value < HALF:
            break
        ranks *= 2
    return ranks


def measured_step(speed: Path, members: tuple[int, int]) -> Step:
    """The line through two ensembles of `benchmarks/speed`'s speed.json."""
    steps = json.loads(speed.read_text())["steps"]
    few, many = ((count, _seconds(steps, count)) for count in members)
    return Step.through(few, many)


def _seconds(steps: list[dict[str, Any]], members: int) -> float:
    (ms,) = [r["ms"] for r in steps if (r["loop"], r["members"]) == ("fkd", members)]
    return members * ms / 1e3


def measured_comparison(results: Path, step: Step) -> Comparison:
    """Of a comparison's results.json."""
    whole = json.loads(results.read_text())
    rows = whole["methods"].values()
    dealt = sum(row["seconds"]["steps"] + row["seconds"]["evaluation"] for row in rows)
    teacher, total = whole["seconds"]["teacher_training"], whole["seconds"]["total"]
    images = whole["data"]["train"] + whole["data"]["test"]
    values = whole["config"]["channels"] * whole["config"]["image_size"] ** 2
    return Comparison(
        members=len(whole["config"]["seeds"]),
        once=total - teacher - dealt,
        teacher=teacher,
        dealt=dealt,
        step=step,
        bytes_read=images * values,  # uint8
    )
