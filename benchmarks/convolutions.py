"""Which way of convolving an ensemble is the fastest: a race, forward and gradient.

    pip install -e ".[compare]"
    python benchmarks/convolutions.py --output benchmarks/results/convolutions-cpu
    python benchmarks/convolutions.py --device cuda --compile

Each of K members has its own 3x3 weights, and the input is one for all or each member's own, as in
the two convolutions of a LightNN student whose members share their batches. A candidate takes its
input and leaves its output in the memory layout that suits it, as it would within a network, and
takes the weights as a state holds them. The loops must unbind and stack, as a batching rule would.

On a GPU a candidate is replayed from a CUDA graph; where it cannot be captured it runs eagerly, and
its row says so. The tensors are the same ones over and over: of few members they stay in the cache.
A figure is a median over rounds, in which the candidates take turns after a warm-up.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple

import report
import torch
import torch.nn.functional as F
from options import PRECISIONS, multiply_in, precisions
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table
from torch import Tensor

from fkd import _check, _memory

WARM_UP, CALLS = 3, 8  # calls before a capture, and in a captured graph
TURN = 0.02  # seconds that a candidate's turn takes at least
STREAMS = 16


class Layer(NamedTuple):
    inputs: int
    outputs: int
    size: int  # height and width
    shared: bool  # one input for all members: the first layer, whose input needs no gradient


LAYERS = {"first": Layer(3, 16, 32, shared=True), "second": Layer(16, 16, 16, shared=False)}

# Every candidate: x [K, B, in, H, W] or shared [B, in, H, W], weight [K, out, in, 3, 3] and bias
# [K, out] give [K, B, out, H, W].
_conv = partial(F.conv2d, padding=1)


def vmapped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.func.vmap(_conv, (0 if x.ndim == 5 else None, 0, 0))(x, weight, bias)


def grouped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A group a member."""
    members = len(weight)
    side_by_side = _side_by_side(x, members)
    return _apart(_conv(side_by_side, weight.flatten(0, 1), bias.flatten(), groups=members), weight)


def packed(x: Tensor, weight: Tensor, bias: Tensor, *, size: int) -> Tensor:
    """A group for `size` members, whose weights are the blocks on the diagonal of a dense one."""
    groups = len(weight) // size
    diagonal = torch.eye(size, dtype=weight.dtype, device=weight.device)
    blocks = weight.unflatten(0, (groups, size)).unsqueeze(3)  # [groups, size, out, 1, in, 3, 3]
    dense = (blocks * diagonal[:, None, :, None, None, None]).flatten(0, 2).flatten(1, 2)
    side_by_side = _side_by_side(x, len(weight))
    return _apart(_conv(side_by_side, dense, bias.flatten(), groups=groups), weight)


def wide(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One convolution of the shared input to the channels of all members."""
    return _apart(_conv(x, weight.flatten(0, 1), bias.flatten()), weight)


def looped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _stack([_conv(*given) for given in _members(x, weight, bias)])


def streamed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The loop, with its members dealt to streams that fork from the current one and join it."""
    here, streams, found = torch.cuda.current_stream(), _streams(), []
    for stream in streams:
        stream.wait_stream(here)
    for k, given in enumerate(_members(x, weight, bias)):
        with torch.cuda.stream(streams[k % len(streams)]):
            found.append(_conv(*given))
    for stream in streams:
        here.wait_stream(stream)
    return _stack(found)


def unfolded(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Every window a row, and a matrix product a member."""
    batches = x if x.ndim == 5 else x[None]
    windows = F.pad(batches, (1, 1, 1, 1)).unfold(3, 3, 1).unfold(4, 3, 1)  # [.., H, W, 3, 3]
    rows = windows.permute(0, 1, 3, 4, 2, 5, 6).flatten(4).flatten(1, 3)  # [.., B H W, in 9]
    rows = rows.expand(len(weight), -1, -1)
    y = torch.baddbmm(bias[:, None], rows, weight.flatten(2).mT)
    return y.unflatten(1, (x.shape[-4], *x.shape[-2:])).movedim(-1, 2)


def _side_by_side(x: Tensor, members: int) -> Tensor:
    """[B, K in, H, W], in the memory format of x."""
    return torch.cat([x] * members, 1) if x.ndim == 4 else x.movedim(0, 1).flatten(1, 2)


def _apart(y: Tensor, weight: Tensor) -> Tensor:
    return y.unflatten(1, weight.shape[:2]).movedim(1, 0)


def _members(x: Tensor, weight: Tensor, bias: Tensor) -> zip:
    batches = x.unbind() if x.ndim == 5 else [x] * len(weight)
    return zip(batches, weight.unbind(), bias.unbind(), strict=True)


def _stack(maps: list[Tensor]) -> Tensor:
    """`torch.stack`, which by itself would turn channels_last maps to NCHW."""
    if maps[0].is_contiguous(memory_format=torch.channels_last):
        return torch.stack([y.movedim(1, -1) for y in maps]).movedim(-1, 2)
    return torch.stack(maps)


@cache
def _streams() -> list[torch.cuda.Stream]:
    return [torch.cuda.Stream() for _ in range(STREAMS)]


class Candidate(NamedTuple):
    apply: Callable[[Tensor, Tensor, Tensor], Tensor]
    layout: str  # the axes in memory, from the slowest: k member, b batch, c channel, h and w
    copies: int = 1  # what it makes of its input, in multiples of the members' inputs
    multiple: int = 1  # what the number of members must divide by
    shared: bool = False  # for a shared input alone
    cuda: bool = False  # on a GPU alone


CANDIDATES = {
    "vmap": Candidate(vmapped, "bkchw"),
    "grouped nhwc": Candidate(grouped, "bhwkc"),
    "loop": Candidate(looped, "kbchw"),
    "loop nhwc": Candidate(looped, "kbhwc"),
    "streams": Candidate(streamed, "kbchw", cuda=True),
    "streams nhwc": Candidate(streamed, "kbhwc", cuda=True),
    "packed 4": Candidate(partial(packed, size=4), "bkchw", multiple=4),
    "packed 4 nhwc": Candidate(partial(packed, size=4), "bhwkc", multiple=4),
    "packed 8": Candidate(partial(packed, size=8), "bkchw", multiple=8),
    "packed 8 nhwc": Candidate(partial(packed, size=8), "bhwkc", multiple=8),
    "shared wide": Candidate(wide, "bkchw", shared=True),
    "shared wide nhwc": Candidate(wide, "bhwkc", shared=True),
    "unfold": Candidate(unfolded, "kbhwc", copies=24),  # rows, their gradient, and that one's parts
}


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
        made = torch.randn(most, generator=generator, device=self.device)
        return made.to(PRECISIONS[self.precision])

    def call(self, candidate: Candidate, noise: Tensor, compiled: bool) -> Callable[[], Any]:
        """One forward and its gradient, on views of `noise`, so that all candidates share it."""
        layer, of = LAYERS[self.layer], {} if LAYERS[self.layer].shared else {"k": self.members}
        sizes = of | {"b": self.batch, "c": layer.inputs, "h": layer.size, "w": layer.size}
        x = laid(noise, candidate.layout, sizes).requires_grad_(not layer.shared)
        shape = self.members, layer.outputs, layer.inputs, 3, 3
        weight = noise[: math.prod(shape)].clone().view(shape).requires_grad_()
        bias = noise[: math.prod(shape[:2])].clone().view(shape[:2]).requires_grad_()
        wanted = [leaf for leaf in (x, weight, bias) if leaf.requires_grad]
        apply = candidate.apply
        if compiled:
            apply = torch.compile(apply, fullgraph=True, dynamic=False)

        def run() -> None:
            y = apply(x, weight, bias)
            torch.autograd.grad(y, wanted, noise.as_strided(y.shape, y.stride()))

        return run


def laid(noise: Tensor, layout: str, sizes: dict[str, int]) -> Tensor:
    """The first numbers of `noise` with the axes of `sizes`, which lie in memory as `layout`."""
    order = [axis for axis in layout if axis in sizes]
    block = noise[: math.prod(sizes.values())].detach().view([sizes[axis] for axis in order])
    return block.permute([order.index(axis) for axis in sizes])


def captured(call: Callable[[], Any], pool: Any) -> Callable[[], Any]:
    """`CALLS` calls as one CUDA graph, for one small call is over sooner than it is launched."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        for _ in range(CALLS):
            call()
    return graph.replay


def timed(go: Callable[[], Any], times: int, device: str) -> float:
    """Seconds that `go` takes, over several times."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    begin = time.perf_counter()
    for _ in range(times):
        go()
    wait()
    return (time.perf_counter() - begin) / times


@contextmanager
def noted(row: dict[str, Any], what: str = "") -> Iterator[None]:
    """An error is a note in its candidate's row and no end of the race."""
    try:
        yield
    except Exception as error:
        row["note"] = f"{what}{type(error).__name__}: {error}".splitlines()[0]


def race(case: Case, names: Sequence[str], rounds: int, memory: float, compiled: bool) -> list:
    """A row a candidate: its milliseconds a member, or a note that says why it has none."""
    cuda = case.device == "cuda"
    if cuda:
        multiply_in(case.precision)
        torch.backends.cudnn.benchmark = True
    torch.compiler.reset()  # or the candidates of all races would count as recompilations
    noise, rows, sides = None, [], []
    # No result outlives a call, so that the graphs may share their memory.
    pool = torch.cuda.graph_pool_handle() if cuda else None
    for name in filter(case.offers, names):
        candidate, row = CANDIDATES[name], case._asdict() | {"candidate": name}
        row |= {"how": "", "note": "", "rounds_ms": []}
        rows.append(row)
        if (gib := case.gib(candidate)) > memory:
            row["note"] = f"skipped: it needs about {gib:.1f} GiB, above --memory {memory:g}"
            continue
        with noted(row):
            noise = case.noise() if noise is None else noise
            go, calls = case.call(candidate, noise, compiled), 1
            with torch.cuda.stream(torch.cuda.Stream() if cuda else None):  # as capture asks for
                timed(go, WARM_UP, case.device)
            row["how"] = "eager"
            if cuda:
                with noted(row, "not captured: "):
                    go, calls, row["how"] = captured(go, pool), CALLS, "graph"
            times = 1 + min(1000, int(TURN / timed(go, 1, case.device)))
            sides.append((row, go, times, calls * case.members))
        if cuda and row["note"]:
            pool = torch.cuda.graph_pool_handle()  # a failed capture may spoil its pool
    for _ in range(rounds):
        for row, go, times, members in sides:
            with noted(row):
                row["rounds_ms"].append(1e3 * timed(go, times, case.device) / members)
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


def table(rows: list[dict[str, Any]]) -> Table:
    """A row a candidate, and a star for the winner of each race."""
    shown = Table(box=None, padding=(0, 1))
    for column in ("layer", "members", "precision", "candidate", "how"):
        shown.add_column(column, no_wrap=True)
    for column in ("ms a member", "of vmap"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("")
    for row in rows:
        ms = f"{row['ms']:.4f}" if "ms" in row else "–"
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else "–"
        what = row["layer"], str(row["members"]), row["precision"], row["candidate"], row["how"]
        shown.add_row(*what, ms, ratio, "★ " * row["winner"] + escape(row["note"]))
    return shown


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(description="The ways to convolve an ensemble, in a race.")
    add = parser.add_argument
    add("--device", default="cpu", choices=("cpu", "cuda"))
    add("--members", type=int, nargs="+", default=[1, 8, 32, 128])
    add("--precisions", nargs="+", choices=PRECISIONS, help="default: all; on a CPU without tf32")
    add("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    add("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), metavar="NAME")
    add("--batch", type=int, default=128)
    add("--rounds", type=int, default=9)
    add("--memory", type=float, default=8.0, help="GiB; a candidate that needs more is skipped")
    add("--compile", action="store_true", help="each candidate under torch.compile")
    add("--output", help="a new folder for the results")
    given = parser.parse_args(arguments)
    for members in given.members:
        _check.positive("--members", members=members)
    _check.positive("convolutions", batch=given.batch, rounds=given.rounds, memory=given.memory)
    if given.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("cuda was asked for, but torch finds no GPU; use --device cpu")
    if given.device == "cpu" and "tf32" in (given.precisions or ()):
        raise ValueError("--precisions: tf32 is a GPU's, but the device is cpu; use fp32 or bf16")
    if not given.precisions:
        given.precisions = precisions(given.device)
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    console = Console()
    try:
        given = parse(arguments)
        folder = report.new_folder(given.output, "convolutions")
    except ValueError as error:
        console.print(f"convolutions: {error}", markup=False, soft_wrap=True)
        return 2
    if given.device == "cpu":
        _memory.keep_freed()
    cases = [
        Case(given.device, layer, members, precision, given.batch)
        for layer in given.layers
        for members in given.members
        for precision in given.precisions
    ]
    setting = {name: value for name, value in vars(given).items() if name != "output"}
    results: dict[str, Any] = {"environment": report.environment(), "setting": setting, "rows": []}
    for case in track(cases, "racing"):
        results["rows"] += race(case, given.candidates, given.rounds, given.memory, given.compile)
        # After every race, so that a GPU that fails for good takes only what comes after.
        (folder / "convolutions.json").write_text(json.dumps(results, indent=1) + "\n")
    # Past the edge of a narrow terminal rather than with notes a word wide.
    Console(width=max(140, console.width)).print(table(results["rows"]))
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
