"""The command line: a table of rates by statistic and setting, coverage.json and table.md."""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks._output import new_folder
from benchmarks.coverages import simulate
from benchmarks.coverages.simulate import KINDS, LEVEL, Rate
from fkd import _check
from fkd.compare._command.console import consoles
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show

SURE = 3.0  # standard errors above the level, and it does not hold


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/coverage.py",
        description="How often intervals and tests at 95 % miss the truth, by simulation.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[4, 6, 8, 16, 32])
    parser.add_argument("--methods", type=int, nargs="+", default=[3, 10, 30])
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--draws", type=int, default=1000, help="of each setting")
    parser.add_argument("--flips", type=int, default=999, help="of more than 12 seeds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="a new folder (default: runs/coverage-DATE)")
    values = parser.parse_args(arguments)
    for name in ("seeds", "methods", "images", "levels"):
        for number in getattr(values, name):
            _check.count(f"--{name}", 2, **{name: number})
    _check.count("--draws", draws=values.draws)
    _check.count("--flips", 1, 10**6, flips=values.flips)
    _check.seed("--seed", seed=values.seed)
    return values


def rates(values: argparse.Namespace) -> Iterator[Rate]:
    """Each statistic under each setting."""
    random = np.random.default_rng(values.seed)
    for kind in KINDS:
        for seeds in values.seeds:
            for methods in values.methods:
                yield from simulate.many(kind, methods, seeds, values.draws, values.flips, random)
            yield simulate.two_stages(kind, seeds, values.draws, random)
            for images in values.images:
                for share in (0.0, 0.5, 0.9):
                    yield from simulate.seeds_and_images(
                        kind, seeds, images, share, values.draws, random
                    )
        for levels in values.levels:
            for deviation in (0.0, 1.0):
                yield from simulate.sources(kind, levels, deviation, values.draws, random)


def holds(rate: Rate) -> bool:
    """Whether a rate is not surely above the level."""
    return rate.share <= LEVEL + SURE * rate.error


def entry(rate: Rate) -> dict[str, Any]:
    """A rate as coverage.json holds it."""
    return rate._asdict() | {"share": rate.share, "error": rate.error, "holds": holds(rate)}


def rows(found: Sequence[Rate]) -> list[list[str]]:
    """A row a statistic and setting: the per cent that miss, by kind, in bold above it."""
    table: dict[tuple[str, str], dict[str, str]] = {}
    for rate in sorted(found, key=lambda rate: rate.statistic):
        cell = f"{100 * rate.share:.1f}"
        table.setdefault((rate.statistic, rate.setting), {})[rate.kind] = (
            cell if holds(rate) else f"**{cell}**"
        )
    return [[*key, *(cells.get(kind, "") for kind in KINDS)] for key, cells in table.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate; return 0, or 2 where it was refused."""
    console, errors = consoles()
    begin = time.perf_counter()
    try:
        values = parse(arguments)
        folder = new_folder(values.output, "coverage")
    except ValueError as error:
        errors.print(f"coverage: {error}", markup=False)
        return 2
    found = list(rates(values))
    whole = {
        "setting": {key: value for key, value in vars(values).items() if key != "output"},
        "level": LEVEL,
        "environment": environment(),
        "seconds": time.perf_counter() - begin,
        "rates": [entry(rate) for rate in found],
    }
    (folder / "coverage.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    head = ["statistic", "setting", *KINDS]
    lines = [head, ["---"] * len(head), *rows(found)]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    error = 100 * found[0].error
    told = (
        f"Per cent of {values.draws} draws that miss, where {100 * LEVEL:g} may; in bold what is "
        f"more than {SURE:g} standard errors of {error:.2f} above.\n\n"
    )
    (folder / "table.md").write_text(told + text, encoding="utf-8")
    table = Table(*head, box=None, padding=(0, 1))
    for row in rows(found):
        table.add_row(*row)
    show(console, table)
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0
