"""The lines of the projection: each axis of the mesh over more and more H100s, and its wall."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.scalings.links import HGX, PLAIN, Cluster, summed
from benchmarks.scalings.projection import (
    Comparison,
    Step,
    Sums,
    batch_shared,
    members_each,
    members_shared,
    wall,
)

GPUS = tuple(2**power for power in range(11))
SEEDS = 1024  # of each method, where they are shared: as many as GPUs
LONG = 24  # times the ten epochs: the 240 of the field's recipe
BATCH = 128


@dataclass(frozen=True)
class Line:
    """An axis with one work: its efficiency by the number of GPUs, and what the wall is made of.

    `of` is "members" or "batch".
    """

    of: str
    name: str
    efficiency: Callable[[int], float | None]
    why: str

    def entry(self) -> dict[str, Any]:
        """As scaling.json holds it; `half` is the largest number of GPUs of which half is used."""
        points = {str(gpus): self.efficiency(gpus) for gpus in GPUS}
        half = wall(self.efficiency)
        return {"of": self.of, "name": self.name, "points": points, "half": half, "why": self.why}


def lines(step: Step, one: Comparison, gradient: float, norms: tuple[int, float]) -> list[Line]:
    """`gradient` are the bytes of one member's, and `norms` the number of small sums of one member
    of a network with BatchNorm, and the bytes of a rank's place in each: both as counted."""
    return [*of_members(one), *of_batch(step, one.members, gradient, norms)]


def of_members(one: Comparison) -> list[Line]:
    long = one.longer(LONG)
    name = f"members, {SEEDS:,} of a method shared"
    again = one.once + one.teacher
    dealt, most = one.seconds(SEEDS) - again, GPUS[-1]
    share = long.teacher / (long.seconds(SEEDS) - long.once - long.teacher)
    return [
        Line(
            "members",
            f"members, {one.members} of a method each",
            partial(members_each, one),
            f"{most:,} copies of the data from one server take {one.read(most):.0f} s "
            f"of a run of {one.seconds(one.members):.0f}",
        ),
        Line(
            "members",
            f"{name}, 10 epochs",
            partial(members_shared, one, SEEDS),
            f"every rank compiles and trains the teacher: {again:.0f} s beside {dealt:.0f} dealt",
        ),
        Line(
            "members",
            f"{name}, {10 * LONG} epochs",
            partial(members_shared, long, SEEDS),
            f"every rank trains the teacher: {100 * share:.1f} % of what all students take",
        ),
    ]


def of_batch(step: Step, members: int, gradient: float, norms: tuple[int, float]) -> list[Line]:
    plain = Sums(members * gradient)
    small, size = norms
    normed = Sums(members * gradient, small, place=members * size)
    return [
        _batch(step, members, plain, HGX, f"batch of {BATCH} shared, {members} members"),
        _batch(step, members, normed, HGX, f"the same, {small} sums of BatchNorm"),
        _batch(step, members, plain, PLAIN, f"the same, {PLAIN}"),
    ]


def _batch(step: Step, members: int, sums: Sums, cluster: Cluster, name: str) -> Line:
    node = cluster.node
    in_node = 1e3 * summed(sums.gradient, node, cluster)
    beyond = 1e3 * summed(sums.gradient, 2 * node, cluster)
    computed = 1e3 * (step.fixed + step.each * members / node)
    why = (
        f"on {node} GPUs a step computes for {computed:.2f} ms and sums {sums.gradient / 1e6:.0f} "
        f"MB for {in_node:.2f}, on {2 * node} for {beyond:.2f}"
    )
    if sums.small:
        few = 1e3 * (sums.seconds(node, cluster) - summed(sums.gradient, node, cluster))
        why = f"on {node} GPUs the latency of {sums.small} small sums is {few:.2f} ms more"
    efficiency = partial(_of_batch, step, members, sums, cluster)
    return Line("batch", name, efficiency, f"{why}; no example is left beyond {BATCH}")


def _of_batch(step: Step, members: int, sums: Sums, cluster: Cluster, ranks: int) -> float | None:
    return batch_shared(step, members, BATCH, sums, ranks, cluster)
