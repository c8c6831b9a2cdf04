"""Which kernels a step of training consists of, and the share of each.

python -m benchmarks.rehearsal.kernels --device cuda --members 32 --precision bf16

Profiled is what `benchmarks/speed` times: on a GPU steps of kd replayed from a CUDA graph. Beside
the kernels' own time stands the time of the whole, in which a GPU may wait. On a CPU, where there
are no kernels, the operators stand in for them.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks._output import new_folder
from benchmarks.speed import sides
from benchmarks.speed.rivals import METHODS
from benchmarks.speed.sides import Side
from benchmarks.speed.timed import Run
from fkd import _check
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show
from fkd.execution import PRECISIONS
from fkd.execution._plan import STEPS_PER_GRAPH

SHOWN = 25
OWN = ("convolve", "correlate", "lay_weights", "add_splits")  # fkd.execution.convolution's kernels
# A kernel is of the first kind of which its name has a part.
KINDS = {
    "fused by the compiler": ("triton_",),
    "convolution": (*OWN, "conv", "wgrad", "dgrad", "fprop", "implicit"),
    "pooling": ("pool",),
    "matrix product": ("gemm", "gemv", "splitk", "nvjet", "cutlass", "bmm", "addmm", "linear"),
    "layout": ("nchw", "nhwc", "transpose"),
    "copy": ("memcpy", "memset", "copy", "cat"),
}


class Kernel(NamedTuple):
    """A kernel's name, how often it ran and for how many microseconds in all."""

    name: str
    calls: int
    us: float


def kind(name: str) -> str:
    lower = name.lower()
    return next(
        (kind for kind, parts in KINDS.items() if any(part in lower for part in parts)), "other"
    )


def kernels(run: Run, steps: int, device: str) -> tuple[list[Kernel], float]:
    """The kernels of so many steps, the longest first, and the milliseconds that all took."""
    activities = [ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU]
    begin = time.perf_counter()
    run(steps)
    elapsed = time.perf_counter() - begin  # apart, for a profile takes time itself
    with profile(activities=activities) as record:
        run(steps)
    entries: Iterable[Any] = record.key_averages()
    if device == "cuda":
        found = [
            Kernel(entry.key, entry.count, entry.self_device_time_total)
            for entry in entries
            if entry.device_type.name == "CUDA"
        ]
    else:
        found = [Kernel(entry.key, entry.count, entry.self_cpu_time_total) for entry in entries]
    return sorted(found, key=lambda kernel: -kernel.us), 1e3 * elapsed


def shares(found: Sequence[Kernel], steps: int) -> list[dict[str, Any]]:
    """A row a kernel: how often and how long in a step, and which share of all kernels' time."""
    total = sum(kernel.us for kernel in found)
    return [
        {
            "kernel": kernel.name,
            "kind": kind(kernel.name),
            "calls_a_step": kernel.calls / steps,
            "us_a_step": kernel.us / steps,
            "share": kernel.us / total,
        }
        for kernel in found
    ]


def by_kind(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The share of each kind, the largest first."""
    kinds: dict[str, float] = {}
    for row in rows:
        kinds[row["kind"]] = kinds.get(row["kind"], 0.0) + row["share"]
    return dict(sorted(kinds.items(), key=lambda item: -item[1]))


def table(results: dict[str, Any]) -> Table:
    rows = Table("share", "µs a step", "calls", "kind", "kernel", box=None, padding=(0, 1))
    for row in results["kernels"][:SHOWN]:
        figures = f"{100 * row['share']:.1f} %", f"{row['us_a_step']:.1f}"
        rows.add_row(*figures, f"{row['calls_a_step']:.1f}", row["kind"], row["kernel"][:70])
    return rows


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/rehearsal/kernels",
        description="Which kernels a step of training consists of, and the share of each.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--members", type=int, default=32)
    parser.add_argument("--precision", default="bf16", choices=PRECISIONS)
    parser.add_argument("--method", default="kd", choices=METHODS)
    parser.add_argument("--steps", type=int, default=4 * STEPS_PER_GRAPH)
    parser.add_argument("--no-compile", action="store_true", help="the step as it is")
    parser.add_argument("--output", help="a new folder for the results")
    values = parser.parse_args(arguments)
    _check.positive("kernels", members=values.members, steps=values.steps)
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile; return 0."""
    values = parse(arguments)
    folder = new_folder(values.output, "kernels")
    side = Side(
        "fkd",
        values.method,
        values.precision,
        values.members,
        device=values.device,
        compile="none" if values.no_compile else "step",
    )
    run = sides.make(side)
    run(values.steps)  # compiled and captured
    found, ms = kernels(run, values.steps, values.device)
    rows = shares(found, values.steps)
    busy = sum(row["us_a_step"] for row in rows) / 1e3
    results = {
        "environment": environment(),
        "setting": {key: value for key, value in vars(values).items() if key != "output"},
        "ms_a_step": ms / values.steps,
        "kernel_ms_a_step": busy,
        "by_kind": by_kind(rows),
        "kernels": rows,
    }
    (Path(folder) / "kernels.json").write_text(json.dumps(results, indent=1) + "\n")
    console = Console(width=140)
    show(console, table(results))
    for name, share in results["by_kind"].items():
        console.print(f"{100 * share:5.1f} % {name}")
    console.print(f"a step takes {ms / values.steps:.3f} ms, its kernels {busy:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
