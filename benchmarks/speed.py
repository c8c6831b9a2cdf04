"""How fast fkd trains, beside PyTorch's tutorial, torchdistill, JAX, and what the machine could do.

    pip install -e ".[compare,rivals]"
    python benchmarks/speed.py --output benchmarks/results/speed-cpu
    python benchmarks/speed.py --device cuda --members 1 8 32 128 --jax-members 1 32

Three parts: `steps`, a member's step of kd by the number of members, beside the plain loop (the
tutorial's, with data on the device and the teacher's logits looked up) and the other loops;
`table`, all of the tutorial's methods over all their epochs; `floor`, the least time a step could
take here. Each side lives in a process of its own; they are warmed up, then timed in turn, and a
figure is a median over rounds.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import floor
import report
import sides
import speed_figures
import timed
import torch
import whole
from options import precisions
from rich.console import Console
from sides import Side

from fkd import _check
from fkd.models import LightNN

PARTS = ("steps", "table", "floor")
Found = dict[Side, timed.Timing]


class Comparison:
    """What is asked for, and the results, which are written after each part."""

    def __init__(self, given: argparse.Namespace, folder: Path, console: Console):
        self.given, self.folder, self.console = given, folder, console
        self.results: dict[str, Any] = {
            "environment": report.environment() | _rivals(),
            "setting": {"device": given.device, "batch": sides.BATCH, "rounds": given.rounds},
            "left_out": {},
            "seconds": {},  # that the benchmark itself took
        }

    def run(self) -> None:
        for name in PARTS:
            if name in self.given.parts:
                begin = time.perf_counter()
                getattr(self, f"measure_{name}")()
                self.results["seconds"][name] = time.perf_counter() - begin
                self.write()

    def measure_steps(self) -> None:
        """A member's step of kd; a plain loop leads each group and is the base of its ratios."""
        found = []
        for group in step_groups(self.given.device, self.given.members, self.given.jax_members):
            timings = self.alternate("steps", group)
            bases = [timings[side] for side in group if side.loop == "tutorial" and side.cached]
            found += [_row(side, timing, bases) for side, timing in timings.items()]
        self.results["steps"] = found
        if self.given.device == "cpu":  # of each process's memory, what holds its libraries
            self.results["imports_mib"] = ask("the imports", sides.peak, Side("fkd"))

    def measure_table(self) -> None:
        found: Found = {}
        for group in whole.sides(self.given.device):
            found |= self.alternate("table", group, afresh=True)
        self.results["table"] = whole.totals(found)

    def measure_floor(self) -> None:
        self.console.print("floor: the machine's rates")
        machine = ask("the machine's rates", floor.machine, self.given.device)
        self.results["floor"] = floor_of(machine)

    def alternate(self, what: str, group: Sequence[Side], afresh: bool = False) -> Found:
        # A line and no bar, which would be drawn while sides are timed.
        self.console.print(f"{what}: {len(group)} sides in turn")
        found, left_out = timed.alternate(
            *(group, sides.make, sides.peak), rounds=self.given.rounds, afresh=afresh
        )
        for side, why in left_out.items():
            self.console.print(f"Left out: {side}: {why}", markup=False, soft_wrap=True)
            self.results["left_out"][str(side)] = why
        return found

    def write(self) -> None:
        if "steps" in self.results and "floor" in self.results:
            add_shares(self.results)
        (self.folder / "speed.json").write_text(json.dumps(self.results, indent=1) + "\n")
        speed_figures.write(self.folder, self.results)

    def show(self) -> None:
        tables = {
            "steps": speed_figures.steps_table,
            "table": speed_figures.whole_table,
            "floor": speed_figures.floor_table,
        }
        for name, table in tables.items():
            if name in self.results:
                report.show(self.console, table(self.results))


def ask(what: str, function: Callable[..., Any], *given: Any) -> Any:
    """What the function returns in a process of its own."""
    process = timed.Process(what, "")
    try:
        return process.ask(function, *given)
    finally:
        process.close()


def step_groups(
    device: str, members: Iterable[int], jax_members: Iterable[int]
) -> Iterable[list[Side]]:
    """The sides of the part `steps`, each group led by the plain loop."""
    plain = Side("tutorial", device=device)
    kept = [Side("tutorial", kept=True)] if device == "cpu" else []
    for precision in precisions(device):
        yield [plain, *kept, *(Side("fkd", "kd", precision, k, device=device) for k in members)]
    yield [
        plain,
        Side("tutorial", cached=False, device=device),
        Side("tutorial", resident=False, cached=False, device=device),
        Side("torchdistill", cached=False, device=device),
        Side("torchdistill", resident=False, cached=False, device=device),
    ]
    yield [
        plain,
        *(Side("jax", "kd", p, k, device=device) for p in ("fp32", "bf16") for k in jax_members),
    ]


def floor_of(machine: dict[str, Any]) -> dict[str, Any]:
    """The machine's rates, the student's work and its floor in milliseconds, by precision."""
    rates = machine["flops_a_second"]
    work = {p: floor.work(LightNN(sides.CLASSES), sides.BATCH, p) for p in rates}
    return {
        "machine": machine,
        "work": {p: done._asdict() for p, done in work.items()},
        "ms": {p: floor.milliseconds(done, p, machine) for p, done in work.items()},
    }


def add_shares(results: dict[str, Any]) -> None:
    """Put into each row of steps which share of its time the floor is."""
    for row in results["steps"]:
        least = results["floor"]["ms"][row["precision"]]
        row["share_of_floor"] = {name: ms / row["ms"] for name, ms in least.items()}


def _row(side: Side, timing: timed.Timing, bases: Sequence[timed.Timing]) -> dict[str, Any]:
    """Milliseconds a member-step, and how they stand to the plain loop's, a single student's; and
    to its with memory kept, where that is in the group."""
    return {
        "side": side.name,
        **asdict(side),
        "ms": timing.ms / side.members,
        "ratios": [timed.ratio(timing, base) / side.members for base in bases],
        "peak_mib": timing.peak,
        "first_step_s": timing.first_step,
        "steps_a_round": timing.steps,
        "rounds_ms": [ms / side.members for ms in timing.rounds],
    }


def _rivals() -> dict[str, str | None]:
    """The versions of what need not be installed."""
    found: dict[str, str | None] = {}
    for name in ("torchdistill", "jax", "optax"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        description="How fast fkd trains, beside others and beside what the machine could do.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, counts = parser.add_argument, [1, 2, 4, 8, 16, 32, 64, 128]
    add("--device", default="cpu", choices=("cpu", "cuda"))
    add("--members", type=int, nargs="+", default=counts, help="of fkd's ensembles")
    add("--jax-members", type=int, nargs="+", default=[1, 8], help="of JAX's")
    add("--rounds", type=int, default=5)
    add("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    add("--output", help="a new folder for the results (default: runs/speed-DATE)")
    given = parser.parse_args(arguments)
    for name in ("members", "jax_members"):
        counts = getattr(given, name)
        flag = f"--{name.replace('_', '-')}"
        for count in counts:
            _check.positive(flag, count=count)
        if len(set(counts)) != len(counts):
            raise ValueError(f"{flag}: each is to be named once, but {counts} repeats one")
    _check.positive("--rounds", rounds=given.rounds)
    if given.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device: cuda was asked for, but torch finds no GPU; use cpu")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return 0, or 2 where it was refused or a side failed."""
    console, errors = Console(), Console(stderr=True, style="bold red", soft_wrap=True)
    try:
        given = parse(arguments)
        folder = report.new_folder(given.output, "speed")
    except ValueError as error:
        errors.print(f"speed: {error}", markup=False)
        return 2
    comparison = Comparison(given, folder, console)
    try:
        comparison.run()
    except timed.SideFailed as error:
        traceback.print_exception(error)
        errors.print(f"speed: {error}", markup=False)
        return 2
    comparison.show()
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
