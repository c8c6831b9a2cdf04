"""The command line: a table of milliseconds a student's step, and ddp.json."""

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

from rich.table import Table

from benchmarks._output import new_folder
from benchmarks.ddp.loops import Side
from benchmarks.ddp.ranks import Ranks, peak
from benchmarks.speed import timed
from benchmarks.speed.timed import Timing
from fkd import _check
from fkd.compare._command.console import consoles
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show

RANKS = 2
CHECKED = 10  # steps after which losses are compared
BOUND = 1e-3  # of float32 over so many steps; another batch or another loss differs by 1e-1


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/ddp",
        description="The tutorial's loop under DistributedDataParallel, beside fkd, on two ranks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--members", type=int, default=8, help="students of each side")
    parser.add_argument("--batch-size", type=int, default=128, help="of all ranks together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a side in a round")
    parser.add_argument("--no-compile", action="store_true", help="fkd's steps as they are")
    parser.add_argument("--output", help="a new folder (default: runs/ddp-DATE)")
    values = parser.parse_args(arguments)
    _check.count("--members", RANKS, members=values.members)
    _check.count("--rounds", rounds=values.rounds)
    _check.positive("--seconds", seconds=values.seconds)
    _check.count("--batch-size", RANKS, batch_size=values.batch_size)
    if values.batch_size % RANKS:
        raise ValueError(
            f"--batch-size: it must be a multiple of {RANKS}, for DDP averages equal parts, but it "
            f"is {values.batch_size}"
        )
    return values


def sides(values: argparse.Namespace) -> list[Side]:
    """DDP first, which is what the others are compared with."""
    many = {"members": values.members, "batch": values.batch_size}
    ours = {**many, "compiled": not values.no_compile}
    return [
        Side("tutorial", RANKS, **many),
        Side("tutorial", 1, **many),
        Side("fkd", RANKS, **ours),
        Side("fkd", RANKS, data_ranks=RANKS, **ours),
        Side("fkd", 1, **ours),
        Side("tutorial", RANKS, live=True, members=1, batch=values.batch_size),
    ]


def losses(side: Side, steps: int) -> list[float]:
    """Each student's loss over the whole batch after so many steps, without dropout."""
    with closing(Ranks(replace(side, dropout=False))) as ranks:
        by_rank = ranks(steps)
    if side.loop == "tutorial":  # each rank has that of its rows, and as many as the others
        return [sum(few) / len(few) for few in zip(*by_rank, strict=True)]
    return [loss for few in by_rank[:: side.data_ranks] for loss in few]


def differences(every: Sequence[Side]) -> dict[str, float]:
    """Each side's largest difference from the loop on one rank, in a student's loss.

    Raises ValueError where one is beyond rounding: that side would do other work.
    """
    looked_up = [side for side in every if not side.live]
    by_side = {side: losses(side, CHECKED) for side in looked_up}
    (alone,) = (side for side in looked_up if (side.loop, side.ranks) == ("tutorial", 1))
    largest = {}
    for side, own in by_side.items():
        pairs = zip(own, by_side[alone], strict=True)
        largest[str(side)] = max(abs(one - other) for one, other in pairs)
        if not largest[str(side)] <= BOUND:
            raise ValueError(
                f"{side}: after {CHECKED} steps its losses must be those of one rank's loop within "
                f"{BOUND}, but they differ by {largest[str(side)]:.3g}"
            )
    return largest


def rows(timings: Mapping[Side, Timing], base: Side) -> list[dict[str, Any]]:
    """Each side by a student's step, and how it stands to that of `base`, if that ran."""
    entries = []
    for side, timing in timings.items():
        of_base = None
        if base in timings:
            of_base = timed.ratio(timing, timings[base]) * base.members / side.members
        entries.append(
            {
                "side": str(side),
                **asdict(side),
                "ms": timing.ms / side.members,
                "of_ddp": of_base,
                "first_step_s": timing.first_step,
                "peak_mib": timing.peak,
                "rounds_ms": [ms / side.members for ms in timing.rounds],
            }
        )
    return entries


def table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """A row a side."""
    whole = Table(box=None, padding=(0, 1))
    whole.add_column("side", no_wrap=True)
    for column in ("students", "ms a student's step", "of DDP", "first step, s", "peak, MiB"):
        whole.add_column(column, justify="right")
    for entry in entries:
        whole.add_row(
            entry["side"],
            str(entry["members"]),
            f"{entry['ms']:.2f}",
            "" if entry["of_ddp"] is None else f"{entry['of_ddp']:.2f}",
            f"{entry['first_step_s']:.1f}",
            f"{entry['peak_mib']:.0f}",
        )
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and measure; return 0, or 2 where it was refused or a side failed."""
    console, errors = consoles()
    try:
        values = parse(arguments)
        folder = new_folder(values.output, "ddp")
        every = sides(values)
        same = differences(every)
        timings, left_out = timed.alternate(
            every, Ranks, peak, rounds=values.rounds, seconds=values.seconds
        )
    except ValueError as error:
        errors.print(f"ddp: {error}", markup=False)
        return 2
    entries = rows(timings, every[0])
    whole = {
        "setting": {key: value for key, value in vars(values).items() if key != "output"},
        "environment": environment(),
        "largest_difference_in_loss": {"steps": CHECKED, **same},
        "sides": entries,
        "left_out": {str(side): str(why) for side, why in left_out.items()},
    }
    text = json.dumps(whole, indent=1) + "\n"
    (folder / "ddp.json").write_text(text, encoding="utf-8")
    show(console, table(entries))
    for why in left_out.values():
        errors.print(f"ddp: {why}", markup=False)
    console.print(f"Written to {folder}", soft_wrap=True)
    return 2 if left_out else 0
