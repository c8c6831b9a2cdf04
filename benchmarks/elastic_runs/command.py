"""The command line: a table of losses by their kind, and elastic.json."""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.table import Table

from benchmarks._output import new_folder
from benchmarks.crashes.endings import Ending, differences, ending
from benchmarks.elastic_runs.launch import OPTIONS, RESTARTS
from benchmarks.elastic_runs.losses import LOSSES, Loss, Outcome, drawn, run
from fkd import _check
from fkd.compare._command.console import consoles
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show

MOST_TOLD = 5  # differences of one run


@dataclass
class Kind:
    """What was seen of runs that had one kind of loss: the outcome of each, and of a run that
    lost nothing; in words, what differed or failed."""

    undisturbed: Outcome
    outcomes: list[Outcome] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/elastic.py",
        description="Runs under torchrun that lose a worker or an agent, held against one process.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=20, help="of each kind of loss")
    parser.add_argument(
        "--losses", nargs="+", choices=[*LOSSES], default=[*LOSSES], help="the kinds"
    )
    parser.add_argument("--together", type=int, default=2, help="runs at a time")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", help="a new folder (default: runs/elastic-DATE)")
    values = parser.parse_args(arguments)
    _check.whole("--runs", 1, runs=values.runs)
    _check.whole("--together", 1, together=values.together)
    return values


@dataclass(frozen=True)
class Lossy:
    """A run in a folder that is to have a loss."""

    folder: Path
    loss: Loss


def lossy(
    kinds: dict[str, Kind], runs: int, expected: Path, draws: random.Random, together: int
) -> Iterator[tuple[str, Outcome]]:
    """Runs beside the one that has lost nothing, so many at a time, until each kind had so many
    losses: the kind of each, and how it went on."""
    number = 0
    with ProcessPoolExecutor(together, get_context("fork")) as pool:
        while True:
            asked = []
            for turn, what in product(range(runs), kinds):
                if turn < runs - len(kinds[what].outcomes):
                    loss = drawn(draws, what, kinds[what].undisturbed)
                    asked.append(Lossy(expected.with_name(f"run-{number}"), loss))
                    number += 1
            if not asked:
                return
            for one, (outcome, found) in zip(
                asked, pool.map(partial(ended, expected), asked), strict=True
            ):
                kind = kinds[one.loss.what]
                kind.differing += [f"{one.folder.name}, {one.loss}: {line}" for line in found]
                if outcome.made or outcome.error:
                    kind.outcomes.append(outcome)
                    yield one.loss.what, outcome


def ended(expected: Path, one: Lossy) -> tuple[Outcome, list[str]]:
    """How a run went on, and what is wrong with its end."""
    outcome = run(LOSSES[one.loss.what], one.folder, one.loss)
    return outcome, [outcome.error] if outcome.error else differing(ending(expected), one.folder)


def differing(expected: Ending, folder: Path) -> list[str]:
    """In a few words, how the end of a run differs from what it should be."""
    try:
        found = differences(expected, ending(folder))
    except (OSError, ValueError) as error:
        return [f"what it left cannot be read: {error}"]
    if len(found) > MOST_TOLD:
        found[MOST_TOLD:] = [f"and {len(found) - MOST_TOLD} more"]
    return found


def undisturbed(place: Path, launches: Sequence[str]) -> tuple[Path, dict[str, Outcome]]:
    """The folder of a run on one process, and the outcome of each launch that loses nothing.

    Raises RuntimeError where one of them fails, or ends with something else.
    """
    expected, outcomes = place / "one-process", {}
    for launch in ("one process", *launches):
        folder = place / launch.replace(" ", "-")
        outcomes[launch] = run(launch, folder)
        error = outcomes[launch].error
        if found := [error] if error else differing(ending(expected), folder):
            raise RuntimeError(f"{launch}: a run that loses nothing: {'; '.join(found)}")
    return expected, outcomes


def table(kinds: dict[str, Kind]) -> Table:
    """A row for each kind of loss."""
    columns = ["lost", "runs", "equal", "restarts", "steps twice, mean", "most", "seconds", "whole"]
    rows = Table(*columns, box=None, padding=(0, 1))
    for what, kind in kinds.items():
        entry = in_numbers(kind)
        steps = entry["steps_taken_twice"]
        cells = [entry["runs"], entry["equal"], entry["restarts"]]
        cells += [f"{mean(steps):.1f}", max(steps)]
        cells += [f"{entry['median_seconds']:.1f}", f"{kind.undisturbed.seconds:.1f}"]
        rows.add_row(what, *map(str, cells))
    return rows


def in_numbers(kind: Kind) -> dict[str, Any]:
    """What a kind of loss came to."""
    return {
        "runs": len(kind.outcomes),
        "equal": len(kind.outcomes) - len({line.partition(",")[0] for line in kind.differing}),
        "differing": kind.differing,
        "restarts": sum(one.restarts for one in kind.outcomes),
        "restarts_by_run": dict(sorted(Counter(str(o.restarts) for o in kind.outcomes).items())),
        "lost_in": dict(sorted(Counter(one.place for one in kind.outcomes).items())),
        "steps_taken_twice": [one.twice for one in kind.outcomes],
        "seconds": [round(one.seconds, 2) for one in kind.outcomes],
        "median_seconds": median(one.seconds for one in kind.outcomes),
        "undisturbed_seconds": kind.undisturbed.seconds,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Launch and kill; return 0, 1 where a run ended otherwise than it would have, or 2 where it
    was refused."""
    console, errors = consoles()
    try:
        values = parse(arguments)
        folder = new_folder(values.output, "elastic")
    except ValueError as error:
        errors.print(f"elastic: {error}", markup=False)
        return 2
    begin, draws = time.perf_counter(), random.Random(values.seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        launches = dict.fromkeys(LOSSES[what] for what in values.losses)
        expected, whole = undisturbed(place, [*launches])
        kinds = {what: Kind(whole[LOSSES[what]]) for what in values.losses}
        for what, outcome in lossy(kinds, values.runs, expected, draws, values.together):
            told = f"{outcome.restarts} restarts, {outcome.twice} steps taken twice"
            told = outcome.error or f"{told}, {outcome.seconds:.0f} seconds"
            line = f"{what} lost, {outcome.place}: {told}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        wrong = [line for kind in kinds.values() for line in kind.differing]
        if wrong:
            shutil.copytree(place, folder / "runs", ignore=shutil.ignore_patterns(".lock"))
    entry = {
        "setting": {key: value for key, value in vars(values).items() if key != "output"},
        "run": {"options": OPTIONS, "max_restarts": RESTARTS},
        "environment": environment(),
        "seconds": time.perf_counter() - begin,
        "undisturbed_seconds": {launch: outcome.seconds for launch, outcome in whole.items()},
        "all_equal": not wrong,
        "losses": {what: in_numbers(kind) for what, kind in kinds.items()},
    }
    (folder / "elastic.json").write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    show(console, table(kinds))
    for line in wrong:
        errors.print(line, markup=False)
    verdict = "not all ended as they would have" if wrong else "all equal bit for bit"
    console.print(f"{verdict}; written to {folder}", soft_wrap=True, highlight=False)
    return 1 if wrong else 0
