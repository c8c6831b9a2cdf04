"""The command line of the speed comparison."""

import argparse
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from benchmarks._output import new_folder
from benchmarks.speed import tables, timed
from benchmarks.speed.comparison import GROUPS, PARTS, Comparison, Options, Results
from fkd import _check
from fkd.compare.presentation.table import show
from fkd.execution import PRECISIONS, precisions

TABLES = {
    "steps": tables.steps_table,
    "table": tables.whole_table,
    "floor": tables.floor_table,
}


def parse(arguments: Sequence[str] | None = None) -> tuple[Options, str | None]:
    """What is asked for, and the folder; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/speed",
        description="How fast fkd trains, beside others and beside what the machine could do.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--members",
        type=int,
        nargs="+",
        default=[1, 2, 4, 8, 16, 32, 64, 128],
        help="of fkd's ensembles",
    )
    parser.add_argument("--jax-members", type=int, nargs="+", default=[1, 8], help="of JAX's")
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=PRECISIONS,
        help="(default: all that the device is fast in)",
    )
    parser.add_argument(
        "--groups",
        nargs="+",
        default=list(GROUPS),
        choices=GROUPS,
        help="who stands beside the plain loop in the part `steps`",
    )
    parser.add_argument("--no-compile", action="store_true", help="fkd's steps there as they are")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a side in a round")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--output", help="a new folder for the results (default: runs/speed-DATE)")
    values = parser.parse_args(arguments)
    _check_counts("--members", values.members)
    _check_counts("--jax-members", values.jax_members)
    _check.positive("--rounds", rounds=values.rounds)
    _check.positive("--seconds", seconds=values.seconds)
    if values.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device: cuda was asked for, but torch finds no GPU; use cpu")
    if values.device == "cpu" and "tf32" in (values.precisions or ()):
        raise ValueError("--precisions: tf32 is a GPU's, but the device is cpu; use fp32 or bf16")
    options = Options(
        values.device,
        values.members,
        values.jax_members,
        values.rounds,
        values.seconds,
        values.parts,
        values.precisions or precisions(values.device),
        values.groups,
        "none" if values.no_compile else "step",
    )
    return options, values.output


def _check_counts(flag: str, counts: Sequence[int]) -> None:
    for count in counts:
        _check.positive(flag, count=count)
    if len(set(counts)) != len(counts):
        raise ValueError(f"{flag}: each is to be named once, but {counts} repeats one")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return 0, or 2 where it was refused or a side failed."""
    console, errors = Console(), Console(stderr=True, style="bold red", soft_wrap=True)
    try:
        options, output = parse(arguments)
        folder = new_folder(output, "speed")
    except ValueError as error:
        errors.print(f"speed: {error}", markup=False)
        return 2
    if "bf16" not in {*options.precisions, *precisions(options.device)}:
        console.print("bf16 is left out: this processor has no fast instructions for it")
    comparison = Comparison(options, folder, console)
    try:
        comparison.run()
    except timed.SideFailed as error:
        traceback.print_exception(error)
        errors.print(f"speed: {error}", markup=False)
        return 2
    _show(console, comparison.results, folder)
    for failure in comparison.failed:
        errors.print(f"speed: {failure}", markup=False)
    return 2 if comparison.failed else 0


def _show(console: Console, results: Results, folder: Path) -> None:
    for name, table in TABLES.items():
        if name in results:
            show(console, table(results))
    console.print(f"Written to {folder}", soft_wrap=True)
