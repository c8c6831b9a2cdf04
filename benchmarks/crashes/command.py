"""The command line: tables of kills by their kind and by where they came, and crash.json."""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, cycle
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks._output import new_folder
from benchmarks.crashes.attempts import Attempt, Run, Small
from benchmarks.crashes.endings import Ending, differences, ending
from benchmarks.crashes.kills import Kill
from benchmarks.crashes.kinds import KINDS
from benchmarks.crashes.lines import Line
from fkd import _check
from fkd.compare._command.console import consoles
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show

OFTEN, NEVER = 1e-9, 1e6  # minutes between checkpoints
SHARE = 0.7  # of the attempts that have checkpoints often
MOST, MOST_OF_LINE = 20, 3  # kills of one run, and then it may end
MOST_TOLD = 5  # differences of one run
TOLD = 20  # kills from one line that tells how far it is to the next


@dataclass
class Tally:
    """What was counted so far; `differing` says what differed, or how an attempt failed."""

    runs: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    went_on: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)

    def add(self, kill: Kill, result: Attempt) -> None:
        self.kills[str(kill)] += 1
        self.places[result.place] += 1
        self.codes[str(result.code)] += 1


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/crash.py",
        description="Runs that are killed, gone on with, and held against runs in one go.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=200, help="of small comparisons")
    parser.add_argument("--lines", type=int, default=10, help="of the real command line, beside")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", help="a new folder (default: runs/crash-DATE)")
    values = parser.parse_args(arguments)
    _check.whole("--kills", 1, kills=values.kills)
    _check.whole("--lines", 0, lines=values.lines)
    return values


def killed(
    run: Run, most: int, expected: Ending, draws: random.Random, tally: Tally
) -> Iterator[int]:
    """Kill a run and go on with it until it ends, and hold that against what it should be. After
    each kill, 1; at most so many times."""
    kills, begun = 0, False
    while True:
        kill = run.drawn(draws) if kills < most else None
        result = run.attempt(kill, OFTEN if draws.random() < SHARE else NEVER)
        if begun:
            tally.went_on[_with_what(result.went_on)] += 1
        begun = True
        if result.error or result.code not in (0, *(kill.codes if kill else ())):
            fault = result.error or f"it ended with {result.code}"
            tally.differing.append(f"{run.folder.name}, {run.kind}, {kill}: {fault}")
            break
        if result.code == 0:  # the kill, if there was one, came too late
            found = differences(expected, ending(run.folder))
            if len(found) > MOST_TOLD:
                found[MOST_TOLD:] = [f"and {len(found) - MOST_TOLD} more"]
            tally.differing += [f"{run.folder.name}, {run.kind}: {line}" for line in found]
            break
        assert kill is not None
        kills += 1
        tally.add(kill, result)
        yield 1
    tally.runs[run.kind] += 1


def _with_what(told: str) -> str:
    if " at epoch " in told:
        return "from inside a training"
    return "from between two trainings" if told else "from the beginning"


def small_runs(kills: int, draws: random.Random, place: Path, tally: Tally) -> Iterator[int]:
    """Comparisons of each kind in turn, until so many kills were made; after each kill, 1."""
    wholes: dict[str, tuple[Ending, float]] = {}
    for number, kind in enumerate(cycle(KINDS)):
        if kind not in wholes:
            wholes[kind] = whole(Small(kind, place / f"whole-{number}"))
        expected, seconds = wholes[kind]
        run = Small(kind, place / f"run-{number}", seconds)
        for _ in killed(run, min(MOST, kills), expected, draws, tally):
            kills -= 1
            yield 1
        if not kills:
            return


def line_runs(kills: int, draws: random.Random, place: Path, tally: Tally) -> Iterator[int]:
    """Runs of the command line, until so many kills were made; after each kill, 1."""
    expected, seconds = whole(Line(place / "whole-line")) if kills else (None, 0.0)
    for number in count():
        if expected is None or not kills:
            return
        run = Line(place / f"line-{number}", seconds)
        for _ in killed(run, min(MOST_OF_LINE, kills), expected, draws, tally):
            kills -= 1
            yield 1


def whole(run: Run) -> tuple[Ending, float]:
    """What a run ends with that is not killed, and the seconds that it takes."""
    result = run.attempt(None, OFTEN)
    if result.code != 0:
        raise RuntimeError(f"{run.kind}: a run that is not killed fails: {result.error}")
    return ending(run.folder), result.seconds


def tables(tally: Tally) -> list[Table]:
    """Kills by kind and by place, what runs went on from, and how many there were of each kind."""
    parts = {
        "killed by": tally.kills,
        "killed": tally.places,
        "gone on": tally.went_on,
        "runs": tally.runs,
    }
    return [_table(title, counts) for title, counts in parts.items()]


def _table(title: str, counts: Counter[str]) -> Table:
    rows = Table(title, "times", box=None, padding=(0, 1))
    for name in sorted(counts):
        rows.add_row(name, str(counts[name]))
    rows.add_row("together", str(counts.total()))
    return rows


def in_json(values: argparse.Namespace, tally: Tally, seconds: float) -> dict[str, Any]:
    """The structure of crash.json."""
    return {
        "setting": {key: value for key, value in vars(values).items() if key != "output"},
        "environment": environment(),
        "seconds": seconds,
        "kills": tally.kills.total(),
        "runs": tally.runs.total(),
        "all_equal": not tally.differing,
        "differing": tally.differing,
        "killed_by": dict(sorted(tally.kills.items())),
        "killed_in": dict(sorted(tally.places.items())),
        "exit_codes": dict(sorted(tally.codes.items())),
        "gone_on": dict(sorted(tally.went_on.items())),
        "runs_of": dict(sorted(tally.runs.items())),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill; return 0, 1 where a run ended otherwise than it would have, or 2 where it was
    refused."""
    console, errors = consoles()
    try:
        values = parse(arguments)
        folder = new_folder(values.output, "crash")
    except ValueError as error:
        errors.print(f"crash: {error}", markup=False)
        return 2
    begin, draws, tally = time.perf_counter(), random.Random(values.seed), Tally()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        runs = chain(
            small_runs(values.kills, draws, place, tally),
            line_runs(values.lines, draws, place, tally),
        )
        for kills, _ in enumerate(runs, start=1):
            if kills % TOLD == 0:
                seconds = time.perf_counter() - begin
                console.print(f"{kills} kills in {seconds:.0f} seconds", highlight=False)
        if tally.differing:
            shutil.copytree(place, folder / "runs", ignore=shutil.ignore_patterns(".lock"))
    entry = in_json(values, tally, time.perf_counter() - begin)
    (folder / "crash.json").write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    for table in tables(tally):
        show(console, table)
    for line in tally.differing:
        errors.print(line, markup=False)
    verdict = "not all ended as they would have" if tally.differing else "all equal bit for bit"
    console.print(
        f"{entry['kills']} kills of {entry['runs']} runs in {entry['seconds']:.0f} seconds: "
        f"{verdict}",
        highlight=False,
    )
    console.print(f"Written to {folder}", soft_wrap=True)
    return 1 if tally.differing else 0
