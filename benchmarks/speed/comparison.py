"""A speed comparison: what is timed beside what, and the results, written part by part."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.speed import figures, floor, sides, timed, whole
from benchmarks.speed.sides import Side
from benchmarks.speed.timed import Timing
from fkd.compare.environment import environment
from fkd.execution import Compile
from fkd.models import LightNN

Results = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What is asked for."""

    device: str
    members: Sequence[int]
    jax_members: Sequence[int]
    rounds: int
    seconds: float
    parts: Sequence[str]
    precisions: Sequence[str]
    groups: Sequence[str]
    compile: Compile


class Comparison:
    """What is asked for, and the results, which are written after each part."""

    def __init__(self, options: Options, folder: Path, console: Console):
        self.options, self.folder, self.console = options, folder, console
        self.failed: list[timed.SideFailed] = []
        self.results: Results = {
            "environment": environment() | _rivals(),
            "setting": {
                "device": options.device,
                "batch": sides.BATCH,
                "rounds": options.rounds,
                "precisions": list(options.precisions),
                "groups": list(options.groups),
                "compile": options.compile,
            },
            "left_out": {},
            "seconds": {},  # that the benchmark itself took
        }

    def run(self) -> None:
        for name, measure in PARTS.items():
            if name in self.options.parts:
                begin = time.perf_counter()
                measure(self)
                self.results["seconds"][name] = time.perf_counter() - begin
                self.write()

    def measure_steps(self) -> None:
        """A member's step of kd; a plain loop leads each group and is the base of its ratios."""
        rows = self.results["steps"] = []
        for group in step_groups(self.options):
            timings = self.alternate("steps", group)
            loops = [side for side in group if side.loop == "tutorial" and side.cached]
            bases = [timings[side] for side in loops if side in timings]
            rows += [_row(side, timing, bases) for side, timing in timings.items()]
            self.write()
        if self.options.device == "cpu":  # of each process's memory, what holds its libraries
            self.results["imports_mib"] = ask("the imports", sides.peak, Side("fkd"))

    def measure_table(self) -> None:
        """All of the tutorial's methods over all their epochs."""
        timings: dict[Side, Timing] = {}
        for group in whole.sides(self.options.device, self.options.precisions):
            timings |= self.alternate("table", group, afresh=True)
        if self.failed:  # a sum without a part would be no sum
            raise self.failed[0]
        self.results["table"] = whole.totals(timings)

    def measure_floor(self) -> None:
        """The least time a step could take here."""
        self.console.print("floor: the machine's rates")
        rates = ask("the machine's rates", floor.machine, self.options.device)
        self.results["floor"] = floor_of(rates)

    def alternate(
        self, what: str, group: Sequence[Side], afresh: bool = False
    ) -> dict[Side, Timing]:
        # A line and no bar, which would be drawn while sides are timed.
        self.console.print(f"{what}: {len(group)} sides in turn")
        timings, left_out = timed.alternate(
            group,
            sides.make,
            sides.peak,
            rounds=self.options.rounds,
            seconds=self.options.seconds,
            afresh=afresh,
        )
        for side, why in left_out.items():
            self.console.print(f"Left out: {side}: {why}", markup=False, soft_wrap=True)
            self.results["left_out"][str(side)] = str(why)
            self.failed += [why] if isinstance(why, timed.SideFailed) else []
        return timings

    def write(self) -> None:
        if "steps" in self.results and "floor" in self.results:
            add_shares(self.results)
        (self.folder / "speed.json").write_text(json.dumps(self.results, indent=1) + "\n")
        figures.write(self.folder, self.results)


# Who stands beside the plain loop in the part `steps`: fkd, loops whose teacher is live, JAX, and
# students that are fused by hand.
GROUPS = ("fkd", "live", "jax", "hfta")
PARTS = {
    "steps": Comparison.measure_steps,
    "table": Comparison.measure_table,
    "floor": Comparison.measure_floor,
}


def ask(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns in a process of its own."""
    process = timed.Process(what, "")
    try:
        return process.ask(function, *arguments)
    finally:
        process.close()


def step_groups(options: Options) -> Iterable[list[Side]]:
    """The sides of the part `steps`, by those of GROUPS that are asked for, each led by the plain
    loop."""
    device, members = options.device, options.members
    plain = Side("tutorial", device=device)
    kept = [Side("tutorial", kept=True)] if device == "cpu" else []
    if "fkd" in options.groups:
        for p in options.precisions:
            ours = [
                Side("fkd", "kd", p, k, device=device, compile=options.compile) for k in members
            ]
            yield [plain, *kept, *ours]
    if "live" in options.groups:
        yield [
            plain,
            Side("tutorial", cached=False, device=device),
            Side("tutorial", resident=False, cached=False, device=device),
            Side("torchdistill", cached=False, device=device),
            Side("torchdistill", resident=False, cached=False, device=device),
        ]
    if "jax" in options.groups:
        # JAX chooses by itself how it multiplies float32
        own = [p for p in options.precisions if p != "tf32"]
        yield [
            plain,
            *(Side("jax", "kd", p, k, device=device) for p in own for k in options.jax_members),
        ]
    if "hfta" in options.groups:
        yield [
            plain,
            *(Side("hfta", "kd", p, k, device=device) for p in options.precisions for k in members),
        ]


def floor_of(machine: dict[str, Any]) -> dict[str, Any]:
    """The machine's rates, the student's work and its floor in milliseconds, by precision."""
    rates = machine["flops_a_second"]
    work = {p: floor.work(LightNN(sides.CLASSES), sides.BATCH, p) for p in rates}
    return {
        "machine": machine,
        "work": {p: step._asdict() for p, step in work.items()},
        "ms": {p: floor.milliseconds(step, p, machine) for p, step in work.items()},
    }


def add_shares(results: Results) -> None:
    """Put into each row of steps which share of its time the floor is."""
    for row in results["steps"]:
        least = results["floor"]["ms"][row["precision"]]
        row["share_of_floor"] = {name: ms / row["ms"] for name, ms in least.items()}


def _row(side: Side, timing: Timing, bases: Sequence[Timing]) -> dict[str, Any]:
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
    return {name: _version(name) for name in ("torchdistill", "jax", "optax")}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
