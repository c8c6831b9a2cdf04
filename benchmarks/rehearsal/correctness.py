"""Whether the same students come out, however their steps lie on the hardware.

python -m benchmarks.rehearsal.correctness --device cuda --output FOLDER

Of each method a few members take a few steps on random images, in every way of `WAYS`. The truth is
each member alone in float64, eagerly. `distance` is how far a student of a way is from it,
|θ - θ'|, as a share of how far the student moved; `bound` is what rounding explains of it.

The bound is `FACTOR` √u, with u the unit roundoff of what is computed in. Of the n activations a
share of about u lies so near to a kink, the zero of a ReLU or a tie of the maxima of pooling, that
rounding brings it to the other side, where its part of the gradient is another one. These u n parts
are of either sign and so add to √(u n) of them, where the n of the gradient add to √n or more. One
of them alone is 1/√n, which is added where one in all steps is not out of the question. In float64
it is, and nothing of a wrong layout, batch, mask or update would hide under that bound.

Each compiled way is a graph of its own, which takes a minute to compile on a core beside others. So
kd alone is held in all of them. The other methods are compiled in float32 alone, `ONCE`: in it
fkd's own kernels compute, and of the precisions that have them its bound is the tightest.

Steps that follow carry a kink that was crossed further and further: after sixteen in float32 on a
CPU, seven of twelve members were 0.007 to 0.1 off, and the others 0.000006. So what is rounded
takes one step, and float64 alone all of them.
"""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._pytree import tree_map

from benchmarks._cores import shared
from benchmarks._output import new_folder
from benchmarks.speed.rivals import MEAN, METHODS, STD
from benchmarks.speed.sides import SHAPES
from fkd import _check, execution, methods, optim
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show
from fkd.data import Normalize, Resident
from fkd.distillation import distill
from fkd.ensemble import ensemble
from fkd.execution import PRECISIONS, Plan
from fkd.model import functional
from fkd.models import LightNN

CLASSES, RATE = 10, 0.1
ROUNDOFF = {"fp64": 2.0**-53, "fp32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-9}
FACTOR = 8.0


@dataclass(frozen=True)
class Way:
    """How steps lie on the hardware. `alone`, the members are trained one after the other."""

    name: str
    plan: Plan
    precision: str = "fp64"
    alone: bool = False


EAGER = Plan(layout="vmap", compile="none", graph=0)
LOOP = replace(EAGER, layout="loop")
GRAPH = 8
WHOLE = replace(EAGER, compile="step", graph=GRAPH)
TRUTH = Way("alone", LOOP, alone=True)
WAYS = (
    Way("loop", LOOP),
    Way("vmap", EAGER),
    Way("vmap in chunks", replace(EAGER, chunk=3)),
    Way("vmap, captured", replace(EAGER, graph=GRAPH)),
    Way("vmap, compiled and captured", WHOLE),
    Way("vmap", EAGER, "fp32"),
    Way("vmap, compiled and captured", WHOLE, "fp32"),
    Way("vmap, compiled and captured", WHOLE, "tf32"),
    Way("vmap", EAGER, "bf16"),
    Way("vmap, compiled and captured", WHOLE, "bf16"),
)
ONCE = "fp32"


@dataclass(frozen=True)
class Size:
    """How much is trained, and where. `steps` are whole graphs, or fewer than one holds."""

    device: str
    members: int = 4
    batch: int = 128
    steps: int = 16


def taken(size: Size, precision: str) -> Size:
    """The steps that are taken in a precision: see above."""
    return size if precision == "fp64" else replace(size, steps=1)


def trained(size: Size, method: str, way: Way) -> tuple[Tensor, Tensor]:
    """Every member's parameters before and after, in float64 [members, parameters], on the CPU."""
    if way.precision in PRECISIONS:  # float64 is rounded nowhere
        execution.multiply_in(way.precision)
    if not way.alone:
        return _trained(size, method, way, range(size.members))
    each = [_trained(size, method, way, [seed]) for seed in range(size.members)]
    before, after = (torch.cat(parts) for parts in zip(*each, strict=True))
    return before, after


def _trained(size: Size, method: str, way: Way, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    exact, source = way.precision == "fp64", images(size)
    model = functional(lambda: LightNN(CLASSES), PRECISIONS["fp32" if exact else way.precision])
    example = next(source.in_order(size.batch))
    # Adam would divide a gradient near zero by itself, so that its rounding is all that counts.
    rule = distill(model, getattr(methods, method)(), optim.sgd(RATE), example)
    state = ensemble(rule).init(seeds)
    state = tree_map(lambda leaf: leaf.to(size.device), state)
    source = source.to(size.device)
    if exact:
        state = tree_map(_doubled, state)
        source = replace(source, inputs=_doubled(source.inputs)).with_targets(
            tree_map(_doubled, dict(source.targets))
        )
    before = _flat(state)
    advance = execution.lay(rule, way.plan)
    graph = min(way.plan.graph, size.steps)
    take = execution.runner(lambda feed: advance(state, source.read(feed)), state, graph)
    feeds = iter(list(source.feeds(seed=0, epoch=0)))
    while few := list(islice(feeds, max(graph, 1))):
        take(few)
    return before, _flat(state)


def images(size: Size) -> Resident:
    """`steps` batches of random images, labels and what stands for the teacher's outputs."""
    generator = torch.Generator().manual_seed(0)
    examples = size.batch * size.steps
    pixels = torch.randint(256, (examples, 3, 32, 32), generator=generator).byte()
    targets = {
        name: torch.randn(examples, *shape, generator=generator) for name, shape in SHAPES.items()
    }
    labels = torch.randint(CLASSES, (examples,), generator=generator)
    inputs = Normalize(MEAN, STD)(pixels)
    return Resident(inputs, {"labels": labels} | targets, batch_size=size.batch)


def _doubled(leaf: Tensor) -> Tensor:
    return leaf.double() if leaf.is_floating_point() else leaf


def _flat(state: Any) -> Tensor:
    leaves = state.params["student"].values()
    return torch.cat([leaf.flatten(1).double().cpu() for leaf in leaves], 1)


def bound(size: Size, precision: str) -> float:
    """What rounding explains of a distance: see above. n is of the last feature map, the smallest
    that a kink lies in front of."""
    roundoff, numbers = ROUNDOFF[precision], size.batch * 16 * 8 * 8
    one = numbers**-0.5 if roundoff * numbers * size.steps > 1e-6 else 0.0
    return FACTOR * roundoff**0.5 + one


def distance(truth: tuple[Tensor, Tensor], after: Tensor) -> float:
    """How far members are from what they should be, as a share of how far that is from their
    beginning: the farthest of them. All are [members, parameters], the truth before and after."""
    before, exact = truth
    shares = (after - exact).norm(dim=1) / (exact - before).norm(dim=1)
    return shares.nan_to_num(torch.inf).max().item()  # a nan would be below no bound and above none


def ways(device: str, method: str, compiles: bool) -> list[Way]:
    """Those in which a device trains a method: a graph and tf32 are a GPU's."""
    return [
        way
        for way in WAYS
        if (device == "cuda" or (way.plan.graph == 0 and way.precision != "tf32"))
        and (way.plan.compile == "none" or (compiles and (method == "kd" or way.precision == ONCE)))
    ]


def rows(
    size: Size, names: Sequence[str], compiles: bool, processes: int
) -> Iterator[dict[str, Any]]:
    """A row a method and way, as they come, trained side by side in so many processes; an error is
    a row too."""
    one = taken(size, ONCE)
    tasks = [(name, way) for name in names for way in ways(size.device, name, compiles)]
    tasks.sort(key=lambda task: task[1].plan.compile == "none")  # what takes long begins first
    context = multiprocessing.get_context("spawn")
    with shared(processes), ProcessPoolExecutor(processes, context) as pool:
        truths = {
            (name, part): pool.submit(trained, part, name, TRUTH)
            for name in names
            for part in (size, one)
        }
        futures = {
            pool.submit(trained, taken(size, way.precision), name, way): (name, way)
            for name, way in tasks
        }
        for future in as_completed(futures):
            name, way = futures[future]
            part = taken(size, way.precision)
            entry: dict[str, Any] = {"method": name, "way": way.name, "precision": way.precision}
            try:
                _, after = future.result()
                far, most = distance(truths[name, part].result(), after), bound(part, way.precision)
                entry |= {"distance": far, "bound": most, "holds": far <= most}
            except Exception as error:  # a GPU fails in as many ways as there are kernels
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                entry |= {"holds": False, "error": why}
            yield entry


def table(entries: Sequence[dict[str, Any]]) -> Table:
    columns = "method", "way", "precision", "distance", "bound", ""
    whole = Table(*columns, box=None, padding=(0, 1))
    for entry in entries:
        figures = [f"{entry[key]:.1e}" if key in entry else "" for key in ("distance", "bound")]
        word = "holds" if entry["holds"] else entry.get("error", "too far")
        whole.add_row(entry["method"], entry["way"], entry["precision"], *figures, word)
    return whole


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/rehearsal/correctness",
        description="Whether the same students come out, however their steps lie on the hardware.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=2 * GRAPH)
    parser.add_argument("--processes", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--no-compile", action="store_true", help="leave compiled ways out")
    parser.add_argument("--output", help="a new folder for the results")
    values = parser.parse_args(arguments)
    counts = ("members", "batch", "steps", "processes")
    _check.positive("correctness", **{name: getattr(values, name) for name in counts})
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and compare; return 0 where every bound holds, and else 1."""
    values = parse(arguments)
    folder = new_folder(values.output, "correctness")
    size = Size(values.device, values.members, values.batch, values.steps)
    entries: list[dict[str, Any]] = []
    whole = {"environment": environment(), "setting": asdict(size), "rows": entries}
    for entry in rows(size, values.methods, not values.no_compile, values.processes):
        entries.append(entry)
        (folder / "correctness.json").write_text(json.dumps(whole, indent=1) + "\n")
    show(Console(), table(entries))
    return 0 if all(entry["holds"] for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
