"""The command line: a table of what a checkpoint costs, and checkpoints.json."""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks._output import new_folder
from benchmarks.checkpoints.measure import Cost, measure
from fkd import _check
from fkd.compare._command.console import consoles
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/checkpoints",
        description="What a checkpoint costs a training, beside a training without.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--members", type=int, nargs="+", default=[8, 128], help="students")
    parser.add_argument("--minutes", type=float, default=5.0, help="from checkpoint to checkpoint")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a block, at least")
    parser.add_argument("--no-compile", action="store_true", help="train eagerly")
    parser.add_argument("--output", help="a new folder (default: runs/checkpoints-DATE)")
    values = parser.parse_args(arguments)
    for flag in ("minutes", "batch_size", "image_size", "rounds", "seconds"):
        _check.positive(f"--{flag.replace('_', '-')}", **{flag: getattr(values, flag)})
    for members in values.members:
        _check.positive("--members", members=members)
    return values


def entry(cost: Cost, minutes: float) -> dict[str, Any]:
    """A cost as checkpoints.json holds it."""
    figures = {"extra": cost.extra, "per_cent": cost.per_cent(minutes)}
    return asdict(cost) | figures | {"per_cent_at_most": cost.at_most(minutes)}


def table(costs: Sequence[Cost], minutes: float) -> Table:
    """A row an ensemble."""
    rows = Table(box=None, padding=(0, 1))
    columns = ("students", "MiB", "copy s", "write s", "read s", "extra s", "%", "% at most")
    for column in columns:
        rows.add_column(column, justify="right")
    for cost in costs:
        rows.add_row(
            str(cost.members),
            f"{cost.mebibytes:.0f}",
            f"{cost.copy:.3f}",
            f"{cost.write:.3f}",
            f"{cost.read:.3f}",
            f"{cost.extra:.3f}",
            f"{cost.per_cent(minutes):.3f}",
            f"{cost.at_most(minutes):.3f}",
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 2 where it was refused."""
    console, errors = consoles()
    try:
        values = parse(arguments)
        folder = new_folder(values.output, "checkpoints")
    except ValueError as error:
        errors.print(f"checkpoints: {error}", markup=False)
        return 2
    costs = []
    with tempfile.TemporaryDirectory(dir=folder) as name:  # on the disk that is written to
        for members in values.members:
            cost = measure(
                members,
                Path(name),
                batch=values.batch_size,
                image=values.image_size,
                rounds=values.rounds,
                seconds=values.seconds,
                compile="none" if values.no_compile else "step",
            )
            costs.append(cost)
            console.print(f"{members} students are measured", highlight=False)
    whole = {
        "setting": {key: value for key, value in vars(values).items() if key != "output"},
        "environment": environment(),
        "ensembles": [entry(cost, values.minutes) for cost in costs],
    }
    text = json.dumps(whole, indent=1) + "\n"
    (folder / "checkpoints.json").write_text(text, encoding="utf-8")
    show(console, table(costs, values.minutes))
    console.print(f"A checkpoint each {values.minutes:g} minutes. Written to {folder}")
    return 0
