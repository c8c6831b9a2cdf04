"""Loops timed in turn, each in a process of its own, so that no one's settings touch another's.

A side is a value that `make(side)` turns, in the side's process, into `run(steps)`, which takes
that many steps of training and returns when the device is done.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

Run = Callable[[int], None]


class Unavailable(Exception):
    """A side that cannot run here, and why: it is left out."""


class SideFailed(Exception):
    """A side that raised or died: which one, and its error."""


class Timing(NamedTuple):
    """What a side's process found.

    `first_step` is in seconds, with what it compiles; `rounds` are milliseconds a step; `peak` is
    of the process, or of what it allocated on a GPU, in MiB.
    """

    first_step: float
    steps: int
    rounds: list[float]
    peak: float

    @property
    def ms(self) -> float:
        return statistics.median(self.rounds)


class Process:
    """A side's process, which lives until it is closed."""

    def __init__(self, side: Any, cache: str):
        self.side = side
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, _compile_into, (cache,))

    def ask(self, function: Callable[..., Any], *given: Any) -> Any:
        """What the function returns there; raises `SideFailed` where it raised or the process died,
        and `Unavailable` as the function does.
        """
        try:
            return self.pool.submit(_told, function, *given).result()
        except BrokenExecutor as error:
            why = "its process died without a word; the system may have been out of memory"
            raise SideFailed(f"{self.side}: {why}") from error
        except RuntimeError as error:  # as `_told` words it
            raise SideFailed(f"{self.side}: {error}") from error

    def close(self) -> None:
        self.pool.shutdown()


def alternate(
    sides: Sequence[Any],
    make: Callable[[Any], Run],
    peak: Callable[[Any], float],
    *,
    rounds: int,
    seconds: float = 0.5,
    afresh: bool = False,
) -> tuple[dict[Any, Timing], dict[Any, str]]:
    """Each side's timing, and why others were left out.

    All are started and warmed up, then timed in turn, round by round, each for about `seconds`.
    They share what the compiler keeps, and as many start at once as there are cores; `afresh`, one
    starts after the other and compiles anew, so that its first step is one of a first run.
    """
    found, left_out = {}, {}
    with ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))

        def started(number: int) -> tuple[Process, float] | None:
            folder = os.path.join(cache, str(number) if afresh else "shared")
            process = Process(sides[number], folder)
            stack.callback(process.close)
            try:
                return process, process.ask(_start, make, sides[number])
            except Unavailable as why:
                left_out[sides[number]] = str(why)
                return None

        with ThreadPoolExecutor(1 if afresh else os.cpu_count()) as threads:
            running = [s for s in threads.map(started, range(len(sides))) if s is not None]
        steps = [process.ask(_steps_in, seconds) for process, _ in running]
        times: list[list[float]] = [[] for _ in running]
        for _ in range(rounds):
            for (process, _), taken, number in zip(running, times, steps, strict=True):
                taken.append(1e3 * process.ask(_take, number) / number)
        for (process, first), taken, number in zip(running, times, steps, strict=True):
            most = process.ask(peak, process.side)
            found[process.side] = Timing(first, number, taken, most)
    return found, left_out


def ratio(timing: Timing, base: Timing) -> float:
    """How one side's time a step stands to another's in the same round: the median over rounds."""
    pairs = zip(timing.rounds, base.rounds, strict=True)
    return statistics.median(mine / other for mine, other in pairs)


# What follows runs in a side's process.

_run: Run = lambda steps: None  # noqa: E731, the side's, once it is made


def _compile_into(folder: str) -> None:
    if folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder


def _told(function: Callable[..., Any], *given: Any) -> Any:
    """Call it; what it raises becomes text, for not every exception survives the way back."""
    try:
        return function(*given)
    except Unavailable:
        raise
    except Exception as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _start(make: Callable[[Any], Run], side: Any) -> float:
    global _run
    _run = make(side)
    begin = time.perf_counter()
    _run(1)
    return time.perf_counter() - begin


def _steps_in(seconds: float) -> int:
    """How many steps take about so many seconds, after a warm-up."""
    _run(2)
    begin = time.perf_counter()
    _run(2)
    return max(1, round(2 * seconds / (time.perf_counter() - begin)))


def _take(steps: int) -> float:
    # Others ran meanwhile: some steps are not timed, and what a loader has read ahead is used up.
    _run(-(-steps // 8))
    begin = time.perf_counter()
    _run(steps)
    return time.perf_counter() - begin
