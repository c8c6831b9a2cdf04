"""Which kernels a step of training consists of, and the share of each.

python -m benchmarks.rehearsal.kernels --device cuda --members 32 --precision bf16

Profiled are steps as `benchmarks/speed` times them, on a GPU replayed from a CUDA graph: of the
teacher, which is one network of its own and in a run of ten epochs not compiled, by itself and by
the kernels of an ensemble; and of students that share an order of batches or have one each: what is
read, and cropped and flipped, is compiled in none, so that these show what it takes. Beside the
kernels' own time stands the time of the whole, in which a GPU may wait. On a CPU, where there are
no kernels, the operators stand in for them. Each step is written as it comes, and one that fails is
a row that says so.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks._output import new_folder
from benchmarks.rehearsal import parts
from benchmarks.speed import sides
from benchmarks.speed.rivals import METHODS
from benchmarks.speed.sides import Side
from benchmarks.speed.timed import Run
from fkd import _check
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show
from fkd.execution import PRECISIONS, Compile
from fkd.execution._plan import STEPS_PER_GRAPH

SHOWN = 25
LEAST = 0.1  # seconds of a phase of the compiler that is told
ROUNDS = 3  # of so many steps each, of which the median counts
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


def steps_of(
    members: int, precision: str, method: str, device: str, compiles: bool
) -> dict[str, Side]:
    """The steps that are profiled, in order of worth; without the compiler all are as they are."""
    how: Compile = "step" if compiles else "none"
    students = Side("fkd", method, precision, members, device=device, compile=how)
    own = replace(students, order="own")
    teacher = Side("fkd", "ce", precision, device=device, compile="none", network="deepnn")
    every = {
        "teacher": teacher,
        "teacher, as an ensemble of one": replace(teacher, layout="vmap"),
        "students": students,
        "students, an order each": own,
        "students, an order each, cropped and flipped": replace(own, augment=True),
    }
    return every | ({"teacher, compiled": replace(teacher, compile="step")} if compiles else {})


def profiled(side: Side, steps: int) -> dict[str, Any]:
    """What a step of a side takes, and its kernels."""
    run = sides.make(side)
    begin, before = time.perf_counter(), phases()
    with parts.watch(parts.places()) as spans:
        run(steps)  # compiled and captured
    first = time.perf_counter() - begin
    compiler = {name: seconds - before.get(name, 0.0) for name, seconds in phases().items()}
    found, ms = kernels(run, steps, side.device)
    rows = shares(found, steps)
    return {
        "first_steps_s": first,
        "parts": spans,
        "compiler_s": {name: s for name, s in compiler.items() if s > LEAST},
        "ms_a_step": ms / steps,
        "kernel_ms_a_step": sum(row["us_a_step"] for row in rows) / 1e3,
        "by_kind": by_kind(rows),
        "kernels": rows,
    }


def phases() -> dict[str, float]:
    """The seconds that this process has spent in each phase of the compiler so far; one phase may
    be part of another."""
    from torch._dynamo import utils  # slow to import

    return {name: sum(each) for name, each in utils.compilation_time_metrics.items()}


def kernels(run: Run, steps: int, device: str) -> tuple[list[Kernel], float]:
    """The kernels of so many steps, the longest first, and the milliseconds that all took."""
    activities = [ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU]
    rounds = []
    for _ in range(ROUNDS):  # apart, for a profile takes time itself
        begin = time.perf_counter()
        run(steps)
        rounds.append(time.perf_counter() - begin)
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
    return sorted(found, key=lambda kernel: -kernel.us), 1e3 * statistics.median(rounds)


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


def table(name: str, step: dict[str, Any]) -> Table:
    title = f"{name}: {step['ms_a_step']:.3f} ms a step, its kernels {step['kernel_ms_a_step']:.3f}"
    columns = "share", "µs a step", "calls", "kind", "kernel"
    rows = Table(*columns, title=title, title_justify="left", box=None, padding=(0, 1))
    for row in step["kernels"][:SHOWN]:
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
    parser.add_argument("--no-compile", action="store_true", help="each step as it is")
    parser.add_argument("--output", help="a new folder for the results")
    values = parser.parse_args(arguments)
    _check.positive("kernels", members=values.members, steps=values.steps)
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile; return 0, or 1 where a step could not be."""
    values = parse(arguments)
    file = Path(new_folder(values.output, "kernels")) / "kernels.json"
    console = Console(width=140)
    told: dict[str, Any] = {}
    setting = {key: value for key, value in vars(values).items() if key != "output"}
    results = {"environment": environment(), "setting": setting, "steps": told}
    asked = values.members, values.precision, values.method, values.device
    for name, side in steps_of(*asked, compiles=not values.no_compile).items():
        try:
            told[name] = profiled(side, values.steps)
            show(console, table(name, told[name]))
        except Exception as error:  # a GPU fails in as many ways as there are kernels
            told[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
            console.print(f"{name}: {told[name]['error']}", markup=False, soft_wrap=True)
        file.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if any("error" in step for step in told.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
