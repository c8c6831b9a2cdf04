"""Where the time of a first step goes, which compiles: `python -m benchmarks.speed.first_step`.

Each is taken in a process of its own, cold and then warm: with nothing of the compiler's on disk,
and with what the one before has left there.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.speed import sides
from benchmarks.speed.rivals import METHODS
from benchmarks.speed.sides import Side
from benchmarks.speed.timed import Process

# By the compiler's own names, each within the one before.
WHOLE, BEHIND, INDUCTOR, WAITING = (
    "_compile.compile_inner",
    "OutputGraph.call_user_compiler",
    "compile_fx_inner",
    "async_compile.wait",
)
PARTS = {
    "read": "Python read by dynamo",
    "traced": "traced to operators, once for what it writes and once for the graph",
    "lowered": "lowered to loops and written as code, or found on disk",
    "compiled": "waiting for the compiler of that code",
    "rest": "the step itself, imports and all else",
}


def parts(first_step: float, seconds: Mapping[str, float]) -> dict[str, float]:
    """The seconds of a first step by PARTS, of those that the compiler counted by its names."""
    each = [first_step, *(seconds.get(name, 0.0) for name in (WHOLE, BEHIND, INDUCTOR, WAITING))]
    rest, read, traced, lowered = (more - less for more, less in pairwise(each))
    return {"read": read, "traced": traced, "lowered": lowered, "compiled": each[-1], "rest": rest}


def counted() -> dict[str, float]:
    """What the compiler counted in this process so far, in seconds."""
    from torch._dynamo.utils import compilation_time_metrics

    return {name: sum(times) for name, times in compilation_time_metrics.items()}


def measured(side: Side) -> dict[str, dict[str, float]]:
    """The parts of the side's first step, cold and warm."""
    rows = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        for name in ("cold", "warm"):
            process = Process(side, cache)
            try:
                first_step = process.ask("start", sides.make, side)
                rows[name] = parts(first_step, process.ask(counted))
            finally:
                process.close()
    return rows


def table(rows: Mapping[str, Mapping[str, float]]) -> Table:
    """A row a first step, in seconds."""
    steps = Table("first step", *PARTS, "all", title="seconds", box=box.SIMPLE_HEAD)
    for name, row in rows.items():
        steps.add_row(name, *(f"{row[part]:.2f}" for part in PARTS), f"{sum(row.values()):.2f}")
    return steps


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.speed.first_step", description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--layouts", nargs="+", default=["loop", "vmap"], choices=("loop", "vmap"))
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--methods", nargs="+", default=["kd"], choices=METHODS)
    values = parser.parse_args(arguments)
    console, rows = Console(), {}
    for method in values.methods:
        for layout in values.layouts:
            shared: dict[str, Any] = {"members": values.members, "device": values.device}
            side = Side("fkd", method, layout=layout, **shared)
            for state, row in measured(side).items():
                rows[f"{method}, {layout}, {state}"] = row
    console.print(table(rows))
    for part, what in PARTS.items():
        console.print(f"{part}: {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
