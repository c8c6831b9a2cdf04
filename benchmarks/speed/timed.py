"""Loops timed in turn, each in a process of its own, so that no one's settings touch another's.

A side is a value that `make(side)` turns, in the side's process, into `run(steps)`, which takes
that many steps of training and returns when the device is done.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

Run = Callable[[int], object]
Make = Callable[[Any], Run]


class Unavailable(Exception):
    """A side that cannot run here, and why: it is left out."""


class SideFailed(Exception):
    """A side that raised or died: which one, and its error."""


class Timing(NamedTuple):
    """What was measured of a side.

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
        self.connection, remote = context.Pipe()
        self.process = context.Process(target=_serve, args=(remote, cache))
        self.process.start()
        remote.close()

    def ask(self, call: Callable[..., Any] | str, *arguments: Any) -> Any:
        """What the function returns there, or the method of the process's `Stopwatch`.

        Raises `SideFailed` where it raised or the process died, and `Unavailable` as it does.
        """
        try:
            self.connection.send((call, arguments))
            # What it forked holds the connection open when it dies, so its end is watched as well.
            if self.connection not in wait([self.connection, self.process.sentinel]):
                raise EOFError
            outcome, value = self.connection.recv()
        except (EOFError, OSError) as error:
            why = "its process died without a word; the system may have been out of memory"
            raise SideFailed(f"{self.side}: {why}") from error
        if outcome == "unavailable":
            raise Unavailable(value)
        if outcome == "failed":
            raise SideFailed(f"{self.side}: {value}")
        return value

    def close(self) -> None:
        self.connection.close()
        self.process.join()


def alternate(
    sides: Sequence[Any],
    make: Make,
    peak: Callable[[Any], float],
    *,
    rounds: int,
    seconds: float = 0.5,
    afresh: bool = False,
) -> tuple[dict[Any, Timing], dict[Any, Exception]]:
    """Each side's timing, and why others have none: `Unavailable`, or `SideFailed`.

    All are started and warmed up, then timed in turn, round by round, each for about `seconds`.
    They share what the compiler keeps, and as many start at once as there are cores; `afresh`, one
    starts after the other and compiles anew, so that its first step is one of a first run. A side
    that fails is left out from there on, and the others go on.
    """
    timings: dict[Any, Timing] = {}
    left_out: dict[Any, Exception] = {}
    with ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        processes = []
        for number, side in enumerate(sides):
            folder = os.path.join(cache, str(number) if afresh else "shared")
            processes.append(Process(side, folder))
            stack.callback(processes[-1].close)
        firsts: dict[Process, float] = {}
        with ThreadPoolExecutor(1 if afresh else os.cpu_count()) as threads:
            starts = [
                threads.submit(process.ask, "start", make, process.side) for process in processes
            ]
        for process, start in zip(processes, starts, strict=True):
            with _left_out(process, left_out):
                firsts[process] = start.result()
        steps: dict[Process, int] = {}
        for process in firsts:
            with _left_out(process, left_out):
                steps[process] = process.ask("steps_in", seconds)
        times: dict[Process, list[float]] = {process: [] for process in steps}
        for _ in range(rounds):
            for process, number in steps.items():
                if process.side not in left_out:
                    with _left_out(process, left_out):
                        times[process].append(1e3 * process.ask("take", number) / number)
        for process, number in steps.items():
            if process.side not in left_out:
                with _left_out(process, left_out):
                    most = process.ask(peak, process.side)
                    timings[process.side] = Timing(firsts[process], number, times[process], most)
    return timings, left_out


@contextmanager
def _left_out(process: Process, left_out: dict[Any, Exception]) -> Iterator[None]:
    """A side that cannot run or fails is noted with its error and stops no other."""
    try:
        yield
    except (Unavailable, SideFailed) as error:
        left_out[process.side] = error


def ratio(timing: Timing, base: Timing) -> float:
    """How one side's time a step stands to another's in the same round: the median over rounds."""
    pairs = zip(timing.rounds, base.rounds, strict=True)
    return statistics.median(mine / other for mine, other in pairs)


# What follows runs in a side's process.


class Stopwatch:
    """A side's run, and the time that it takes."""

    run: Run

    def start(self, make: Make, side: Any) -> float:
        """Make the side: seconds of its first step."""
        self.run = make(side)
        return self._seconds(1)

    def steps_in(self, seconds: float) -> int:
        """How many steps take about so many seconds, after a warm-up."""
        self.run(2)
        return max(1, round(2 * seconds / self._seconds(2)))

    def take(self, steps: int) -> float:
        """Seconds that so many steps take."""
        # Others ran meanwhile: some steps are not timed, and what a loader has read ahead is used.
        self.run(-(-steps // 8))
        return self._seconds(steps)

    def _seconds(self, steps: int) -> float:
        begin = time.perf_counter()
        self.run(steps)
        return time.perf_counter() - begin


def _serve(connection: Connection, cache: str) -> None:
    """Answer each question until the other end is closed.

    What is raised becomes text, for not every exception survives the way back.
    """
    if cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    stopwatch = Stopwatch()
    while True:
        try:
            call, arguments = connection.recv()
        except EOFError:
            return
        function = getattr(stopwatch, call) if isinstance(call, str) else call
        try:
            answer = ("returned", function(*arguments))
        except Unavailable as why:
            answer = ("unavailable", str(why))
        except Exception as error:
            answer = ("failed", f"{type(error).__name__}: {error}")
        connection.send(answer)
