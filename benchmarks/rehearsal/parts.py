"""Where the seconds of a comparison go that are no steps: span by span, in parts.json.

python -m benchmarks.rehearsal.parts --output FOLDER, and the options of fkd.compare

runs a comparison as `python -m fkd.compare` does. A span is a call of one of the functions below,
and tells beside its own seconds those of others and of the compiler within it, and how many graphs
the compiler found among what it has kept. So the first step of each ensemble on a GPU is told in
its parts: what is warmed up, of which the compiler and the kernels of an ensemble, and captured.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import reduce, wraps
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from fkd.compare import command
from fkd.compare._command import options

LEAST = 0.05  # seconds of a span that is told
GRAPHS = {  # by the compiler's own names
    "graphs found": "fxgraph_cache_hit",
    "graphs made": "fxgraph_cache_miss",
    "graphs never kept": "fxgraph_cache_bypass",
}


class Place(NamedTuple):
    """Where a function stands, by its name in a module, and what it is a part of. Where it
    `compiles`, calls without the compiler are no spans."""

    part: str
    module: str
    name: str
    compiles: bool = False


PLACES = (
    Place("prepared", "fkd.compare.command", "prepare"),
    Place("set up", "fkd.compare._job.course", "train"),
    Place("tried", "fkd.train", "why_not_vmap"),  # within what is set up
    Place("compiled", "fkd.execution._compile", "Compiled.__call__", compiles=True),
    Place("warmed up", "fkd.execution._capture", "warm_up"),
    Place("captured", "fkd.execution._capture", "capture"),
    Place("examined", "fkd.compare._job.record", "Exam.measure"),
)
KERNELS = tuple(
    Place(part, "fkd.execution.convolution._kernels", f"{kernel}.{name}")
    for kernel in ("convolve", "correlate")
    for part, name in (("kernels compiled", "early_config_prune"), ("kernels timed", "do_bench"))
)


class Watch:
    """The spans so far, and the seconds of each part."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.spans: list[dict[str, Any]] = []
        self.taken: dict[str, float] = {}

    def watched(self, place: Place, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, of which each call is a span."""

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            before, begin = self.taken | compiler(), time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                _wait()
                seconds = time.perf_counter() - begin
                within = self.taken | compiler()
                self.taken[place.part] = self.taken.get(place.part, 0.0) + seconds
                grown = {name: value - before.get(name, 0) for name, value in within.items()}
                if seconds > LEAST and (not place.compiles or grown.get("compiler")):
                    span = {"part": place.part, "begin": begin - self.begin, "seconds": seconds}
                    self.spans.append(span | {name: more for name, more in grown.items() if more})

        return call


@contextmanager
def watch(places: Sequence[Place]) -> Iterator[list[dict[str, Any]]]:
    """The spans: within it each call of these functions becomes one as it ends."""
    each = Watch()
    with ExitStack() as stack:
        for place in places:
            owner, name = found(place)
            function = each.watched(place, getattr(owner, name))
            stack.enter_context(patch.object(owner, name, function))
        yield each.spans


def found(place: Place) -> tuple[Any, str]:
    """What holds the function, and the name that it has there."""
    *owners, name = place.name.split(".")
    return reduce(getattr, owners, importlib.import_module(place.module)), name


def places() -> Sequence[Place]:
    """Those that this machine comes by."""
    return (*PLACES, *KERNELS) if torch.cuda.is_available() else PLACES


def compiler() -> dict[str, float]:
    """The seconds that this process has spent in the compiler, and which graphs it had kept."""
    if "torch._dynamo" not in sys.modules:  # which takes seconds to import
        return {}
    from torch._dynamo import utils

    counts = utils.counters["inductor"]
    seconds = sum(utils.compilation_time_metrics.get("_compile.compile_inner", ()))
    return {"compiler": seconds} | {name: counts[key] for name, key in GRAPHS.items()}


def _wait() -> None:
    """A GPU runs behind Python."""
    if torch.cuda.is_initialized() and not torch.cuda.is_current_stream_capturing():
        torch.cuda.synchronize()


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; return what `python -m fkd.compare` does."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    output = options.parse(words).output
    if output is None:
        raise ValueError("--output: name the folder of the results, for parts.json is put there")
    with watch(places()) as spans:
        try:
            return command.main(words)
        finally:
            if (folder := Path(output)).is_dir():
                (folder / "parts.json").write_text(json.dumps({"spans": spans}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
