"""The command line: how far each mesh of ranks is from one process, as a table and splits.json."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from benchmarks._launched import launched
from benchmarks._output import new_folder
from benchmarks.splits.law import MESHES, PLANS, RANKS, errors
from fkd import _check
from fkd.compare._command.console import consoles
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show
from fkd.methods import METHODS

BOUND = 1e-12
# Of each family one at least, and all that need the whole batch in a way of their own.
TEN = ("ce", "kd", "dkd", "dist", "hint", "ofd", "pkd", "rkd", "crd", "vid")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/splits",
        description="Members dealt and batches split over four ranks, against one process.",
    )
    parser.add_argument("--methods", nargs="+", default=TEN, help=f"default: {' '.join(TEN)}")
    parser.add_argument("--all", action="store_true", help="every method")
    parser.add_argument("--layouts", nargs="+", default=["loop"], help=", ".join(PLANS))
    parser.add_argument("--output", help="a new folder (default: runs/splits-DATE)")
    values = parser.parse_args(arguments)
    values.methods = list(METHODS) if values.all else list(values.methods)
    for name in values.methods:
        _check.known("--methods", "method", name, METHODS)
    for layout in values.layouts:
        _check.known("--layouts", "layout", layout, PLANS)
    return values


def largest(each: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of all ranks as one row each, with the largest of their errors."""
    return [
        {**rows[0], "error": max(row["error"] for row in rows)} for rows in zip(*each, strict=True)
    ]


def fails(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that break the law: a member dealt is equal bit for bit, a split within a bound."""
    return [row for row in rows if not row["error"] <= (BOUND if row["mesh"][1] > 1 else 0.0)]


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A row for each method and layout, a column a mesh."""
    by = {(row["method"], row["layout"], *row["mesh"]): row["error"] for row in rows}
    grid = Table(box=None, padding=(0, 1))
    grid.add_column("method")
    grid.add_column("layout")
    for members, data in MESHES:
        grid.add_column(f"({members}, {data})", justify="right")
    for method, layout in dict.fromkeys((row["method"], row["layout"]) for row in rows):
        cells = [by[method, layout, *shape] for shape in MESHES]
        grid.add_row(method, layout, *(f"{error:.0e}" if error else "0" for error in cells))
    return grid


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and tell; return 1 where the law is broken and 2 where the command was refused."""
    console, told = consoles()
    try:
        values = parse(arguments)
        folder = new_folder(values.output, "splits")
    except ValueError as error:
        told.print(f"splits: {error}", markup=False)
        return 2
    rows = largest(launched(errors, RANKS, values.methods, values.layouts))
    whole = {"bound": BOUND, "environment": environment(), "rows": rows}
    text = json.dumps(whole, indent=1) + "\n"
    (folder / "splits.json").write_text(text, encoding="utf-8")
    show(console, table(rows))
    broken = fails(rows)
    for row in broken:
        told.print(f"splits: not alike: {row}", markup=False)
    console.print(f"Meshes are (member ranks, data ranks). Written to {folder}")
    return 1 if broken else 0
