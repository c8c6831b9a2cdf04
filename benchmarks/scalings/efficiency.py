"""What is held against what, and how much of so many processes is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple

from benchmarks.scalings.launch import Timing
from benchmarks.scalings.sides import Side


@dataclass(frozen=True)
class Pair:
    """A side on `ranks` processes or threads, against one of `base`, whose work it does `work`
    times: as often as there are ranks where the work grows with them (weak scaling), or once."""

    name: str
    base: Side
    side: Side
    ranks: int
    work: int


class Efficiency(NamedTuple):
    """The share of the processes that is used: the median of rounds, and each."""

    value: float
    rounds: list[float]


def pairs(base: Side, cores: int) -> list[Pair]:
    """Of one network: members and batch dealt over two processes, members over as many as there
    are cores, and as many threads of one process; twice the members of `base` where one work is
    shared."""
    both = replace(base, members=2 * base.members)
    rows = []
    for ranks in sorted({2, cores} - {1}):
        more = replace(base, members=ranks * base.members, member_ranks=ranks)
        name = f"members on {ranks}"
        rows.append(Pair(f"{name}, {base.members} each", base, more, ranks, ranks))
        shared = replace(both, member_ranks=ranks)
        rows.append(Pair(f"{name}, {both.members} shared", both, shared, ranks, 1))
    longer = replace(base, batch=2 * base.batch, data_ranks=2)
    rows.append(Pair(f"batch on 2, {base.batch} each", base, longer, 2, 2))
    rows.append(Pair(f"batch on 2, {base.batch} shared", both, replace(both, data_ranks=2), 2, 1))
    if cores > 1:
        threads = replace(both, threads=cores)
        rows.append(Pair(f"one process, {cores} threads", both, threads, cores, 1))
    return rows


def sides(rows: Sequence[Pair]) -> list[Side]:
    """All that they take part in, each once."""
    return list(dict.fromkeys(side for row in rows for side in (row.base, row.side)))


def by_clock(row: Pair, timings: Mapping[Side, Timing]) -> Efficiency:
    """`work · t(base) / (ranks · t(side))`, of the same round."""
    base, side = timings[row.base].wall, timings[row.side].wall
    return _efficiency(row.work / row.ranks, base, side)


def by_processor(row: Pair, timings: Mapping[Side, Timing]) -> Efficiency:
    """`work · t(base) / t(side)` of the processors' time, all ranks' together.

    Beside the clock's: cores that share memory and a budget of power slow each other down, and that
    is none of the processes' doing.
    """
    base, side = timings[row.base].processor, timings[row.side].processor
    return _efficiency(row.work, base, side)


def _efficiency(factor: float, base: Sequence[float], side: Sequence[float]) -> Efficiency:
    rounds = [factor * one / many for one, many in zip(base, side, strict=True)]
    return Efficiency(median(rounds), rounds)
