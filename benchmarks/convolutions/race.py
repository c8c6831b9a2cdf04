"""A race of candidates on one case, in turn."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.convolutions.candidates import CANDIDATES, LAYERS, Candidate
from fkd.execution import PRECISIONS, multiply_in

WARM_UP, CALLS = 3, 8  # calls before a capture, and in a captured graph
TURN = 0.02  # seconds that a candidate's turn takes at least


class Case(NamedTuple):
    """What the candidates of one race are given."""

    device: str
    layer: str
    members: int
    precision: str
    batch: int

    def offers(self, name: str) -> bool:
        candidate = CANDIDATES[name]
        fits = self.members % candidate.multiple == 0
        shared = LAYERS[self.layer].shared or not candidate.shared
        return fits and shared and (self.device == "cuda" or not candidate.cuda)

    def pixels(self) -> int:
        return self.members * self.batch * LAYERS[self.layer].size ** 2

    def gib(self, candidate: Candidate) -> float:
        """Roughly what a candidate needs: inputs, as if not shared, outputs, gradients, copies."""
        layer = LAYERS[self.layer]
        numbers = self.pixels() * (layer.inputs * (2 + candidate.copies) + 3 * layer.outputs)
        return numbers * PRECISIONS[self.precision].itemsize / 2**30

    def noise(self) -> Tensor:
        """Random numbers for the largest of the tensors."""
        layer, generator = LAYERS[self.layer], torch.Generator(self.device).manual_seed(0)
        most = max(self.pixels(), 9 * self.members * layer.inputs) * layer.outputs
        numbers = torch.randn(most, generator=generator, device=self.device)
        return numbers.to(PRECISIONS[self.precision])

    def call(self, candidate: Candidate, noise: Tensor, compiled: bool) -> Callable[[], Any]:
        """One forward and its gradient, on views of `noise`, so that all candidates share it."""
        layer = LAYERS[self.layer]
        sizes = {} if layer.shared else {"k": self.members}
        sizes |= {"b": self.batch, "c": layer.inputs, "h": layer.size, "w": layer.size}
        x = laid(noise, candidate.layout, sizes).requires_grad_(not layer.shared)
        shape = self.members, layer.outputs, layer.inputs, 3, 3
        weight = noise[: math.prod(shape)].clone().view(shape).requires_grad_()
        bias = noise[: math.prod(shape[:2])].clone().view(shape[:2]).requires_grad_()
        leaves = [leaf for leaf in (x, weight, bias) if leaf.requires_grad]
        apply = candidate.block if layer.block else candidate.apply
        if compiled:
            apply = torch.compile(apply, fullgraph=True, dynamic=False)

        def run() -> None:
            y = apply(x, weight, bias)
            torch.autograd.grad(y, leaves, noise.as_strided(y.shape, y.stride()))

        return run


def laid(noise: Tensor, layout: str, sizes: dict[str, int]) -> Tensor:
    """The first numbers of `noise` with the axes of `sizes`, which lie in memory as `layout`."""
    order = [axis for axis in layout if axis in sizes]
    block = noise[: math.prod(sizes.values())].detach().view([sizes[axis] for axis in order])
    return block.permute([order.index(axis) for axis in sizes])


def capture(call: Callable[[], Any], pool: Any) -> Callable[[], Any]:
    """`CALLS` calls as one CUDA graph, for one small call is over sooner than it is launched."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        for _ in range(CALLS):
            call()
    return graph.replay


def seconds(go: Callable[[], Any], times: int, device: str) -> float:
    """Seconds that `go` takes, over several times."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    begin = time.perf_counter()
    for _ in range(times):
        go()
    wait()
    return (time.perf_counter() - begin) / times


@contextmanager
def errors_noted_in(row: dict[str, Any], what: str = "") -> Iterator[None]:
    """An error is a note in its candidate's row and no end of the race."""
    try:
        yield
    except Exception as error:
        row["note"] = f"{what}{type(error).__name__}: {error}".splitlines()[0]


def race(
    case: Case, names: Sequence[str], rounds: int, memory: float, compiled: bool
) -> list[dict[str, Any]]:
    """A row a candidate: its milliseconds a member, or a note that says why it has none."""
    cuda = case.device == "cuda"
    if cuda:
        multiply_in(case.precision)
        torch.backends.cudnn.benchmark = True
    torch.compiler.reset()  # or the candidates of all races would count as recompilations
    noise: Tensor | None = None
    rows: list[dict[str, Any]] = []
    sides: list[tuple[dict[str, Any], Callable[[], Any], int, int]] = []
    # No result outlives a call, so that the graphs may share their memory.
    pool = torch.cuda.graph_pool_handle() if cuda else None
    for name in filter(case.offers, names):
        candidate, row = CANDIDATES[name], case._asdict() | {"candidate": name}
        row |= {"how": "", "note": "", "rounds_ms": []}
        rows.append(row)
        if (gib := case.gib(candidate)) > memory:
            row["note"] = f"skipped: it needs about {gib:.1f} GiB, more than {memory:g}"
            continue
        with errors_noted_in(row):
            noise = case.noise() if noise is None else noise
            go, calls = case.call(candidate, noise, compiled), 1
            with torch.cuda.stream(torch.cuda.Stream() if cuda else None):  # as capture asks for
                seconds(go, WARM_UP, case.device)
            row["how"] = "eager"
            if cuda:
                with errors_noted_in(row, "not captured: "):
                    go, calls, row["how"] = capture(go, pool), CALLS, "graph"
            times = 1 + min(1000, int(TURN / seconds(go, 1, case.device)))
            sides.append((row, go, times, calls * case.members))
        if cuda and row["note"]:
            pool = torch.cuda.graph_pool_handle()  # a failed capture may spoil its pool
    for _ in range(rounds):
        for row, go, times, members in sides:
            with errors_noted_in(row):
                row["rounds_ms"].append(1e3 * seconds(go, times, case.device) / members)
    return judged(rows, rounds)


def judged(rows: list[dict[str, Any]], rounds: int) -> list[dict[str, Any]]:
    """Add the medians, the ratios to `vmap` round by round, and who won, of what ran to the end."""
    ran = {row["candidate"]: row for row in rows if len(row["rounds_ms"]) == rounds}
    for row in ran.values():
        row["ms"] = statistics.median(row["rounds_ms"])
        if "vmap" in ran:
            pairs = zip(row["rounds_ms"], ran["vmap"]["rounds_ms"], strict=True)
            row["ratio"] = statistics.median(mine / base for mine, base in pairs)
    for row in rows:
        row["winner"] = "ms" in row and row["ms"] == min(other["ms"] for other in ran.values())
    return rows
