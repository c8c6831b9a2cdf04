"""How much memory students take, by their number.

python -m benchmarks.rehearsal.memory --device cuda --members 1 8 32 128 512

Each count trains kd in a process of its own, as `benchmarks/speed` has it. On a GPU the peak is of
what tensors hold, on a CPU of the whole process. What does not fit is a row that says so.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks._cores import shared
from benchmarks._output import new_folder
from benchmarks.speed import sides
from benchmarks.speed.sides import Side
from benchmarks.speed.timed import Process, SideFailed
from fkd import _check
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show
from fkd.execution import PRECISIONS, precisions
from fkd.execution._plan import STEPS_PER_GRAPH


def peaks(every: Sequence[Side], at_once: int) -> Iterator[dict[str, Any]]:
    """A row a side, in their order, so many measured at once."""
    with shared(at_once), ThreadPoolExecutor(at_once) as threads:
        yield from threads.map(peak, every)


def peak(side: Side) -> dict[str, Any]:
    """MiB at the peak and of a member, or why there is none."""
    row = {"members": side.members, "precision": side.precision, "compile": side.compile}
    process = Process(side, "")
    try:
        process.ask("start", sides.make, side)
        process.ask("take", STEPS_PER_GRAPH)
        most = process.ask(sides.peak, side)
    except SideFailed as error:
        return row | {"error": str(error).splitlines()[0]}
    finally:
        process.close()
    return row | {"peak_mib": most, "mib_a_member": most / side.members}


def table(rows: Sequence[dict[str, Any]]) -> Table:
    whole = Table("precision", "compile", "members", "peak MiB", "a member", "", box=None)
    for row in rows:
        figures = [f"{row[key]:.1f}" if key in row else "" for key in ("peak_mib", "mib_a_member")]
        name = row["precision"], row["compile"], str(row["members"])
        whole.add_row(*name, *figures, row.get("error", ""))
    return whole


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/rehearsal/memory",
        description="How much memory students take, by their number.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--members", type=int, nargs="+", default=[1, 8, 32, 128, 512])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS)
    parser.add_argument("--compile", nargs="+", default=["step", "none"], choices=("step", "none"))
    parser.add_argument("--at-once", type=int, default=1, help="processes side by side")
    parser.add_argument("--output", help="a new folder for the results")
    values = parser.parse_args(arguments)
    for members in values.members:
        _check.positive("memory", members=members, at_once=values.at_once)
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0."""
    values = parse(arguments)
    names = values.precisions or precisions(values.device)
    every = [
        Side("fkd", "kd", precision, members, device=values.device, compile=compile)
        for compile in values.compile
        for precision in names
        for members in values.members
    ]
    file = Path(new_folder(values.output, "memory")) / "memory.json"
    rows: list[dict[str, Any]] = []
    results = {"environment": environment(), "device": values.device, "rows": rows}
    for row in peaks(every, values.at_once):
        rows.append(row)
        file.write_text(json.dumps(results, indent=1) + "\n")
    show(Console(), table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
