"""The command line of the race."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from benchmarks._output import new_folder
from benchmarks.convolutions.candidates import CANDIDATES, LAYERS
from benchmarks.convolutions.race import Case, race
from fkd import _check
from fkd.compare._command.console import consoles
from fkd.compare.environment import environment
from fkd.execution import PRECISIONS, keep_freed, precisions


def table(results: list[dict[str, Any]]) -> Table:
    """A row a candidate, and a star for the winner of each race."""
    rows = Table(box=None, padding=(0, 1))
    for column in ("layer", "members", "precision", "candidate", "how"):
        rows.add_column(column, no_wrap=True)
    for column in ("ms a member", "of vmap"):
        rows.add_column(column, justify="right", no_wrap=True)
    rows.add_column("")
    for result in results:
        rows.add_row(
            result["layer"],
            str(result["members"]),
            result["precision"],
            result["candidate"],
            result["how"],
            f"{result['ms']:.4f}" if "ms" in result else "–",
            f"{result['ratio']:.2f}" if "ratio" in result else "–",
            "★ " * result["winner"] + escape(result["note"]),
        )
    return rows


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/convolutions", description="The ways to convolve an ensemble, in a race."
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=PRECISIONS,
        help="default: all that the device is fast in; tf32 is a GPU's",
    )
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument(
        "--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), metavar="NAME"
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--memory", type=float, default=8.0, help="GiB; a candidate that needs more is skipped"
    )
    parser.add_argument("--compile", action="store_true", help="each candidate under torch.compile")
    parser.add_argument("--output", help="a new folder for the results")
    options = parser.parse_args(arguments)
    for members in options.members:
        _check.positive("--members", members=members)
    _check.positive(
        "convolutions", batch=options.batch, rounds=options.rounds, memory=options.memory
    )
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("cuda was asked for, but torch finds no GPU; use --device cpu")
    if options.device == "cpu" and "tf32" in (options.precisions or ()):
        raise ValueError("--precisions: tf32 is a GPU's, but the device is cpu; use fp32 or bf16")
    if not options.precisions:
        options.precisions = precisions(options.device)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the races; return 0, or 2 where they were refused."""
    console, _ = consoles()
    try:
        options = parse(arguments)
        folder = new_folder(options.output, "convolutions")
    except ValueError as error:
        console.print(f"convolutions: {error}", markup=False, soft_wrap=True)
        return 2
    if options.device == "cpu":
        keep_freed()
    cases = [
        Case(options.device, layer, members, precision, options.batch)
        for layer in options.layers
        for members in options.members
        for precision in options.precisions
    ]
    setting = {name: value for name, value in vars(options).items() if name != "output"}
    rows: list[dict[str, Any]] = []
    results = {"environment": environment(), "setting": setting, "rows": rows}
    for case in track(cases, "racing"):
        rows += race(case, options.candidates, options.rounds, options.memory, options.compile)
        # After every race, so that a GPU that fails for good takes only what comes after.
        (folder / "convolutions.json").write_text(
            json.dumps(results, indent=1) + "\n", encoding="utf-8"
        )
    # Past the edge of a narrow terminal rather than with notes a word wide.
    Console(file=console.file, width=max(140, console.width)).print(table(rows))
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0
