"""Launches of torchrun that are asked in turn."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.scalings.sides import Side

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 550.0  # seconds for any answer, compilation among it
END = 30.0  # seconds to end by itself


class SideFailed(Exception):
    """A side that died or gave no answer: which one, and the last words of its processes."""


@dataclass
class Timing:
    """Of each round: milliseconds of a step by the clock, of the slowest rank, and of all ranks'
    processors together. `first` are seconds to the end of the first step."""

    first: float
    steps: int
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, ranks: Sequence[dict[str, float]]) -> None:
        self.wall.append(1e3 * max(rank["wall"] for rank in ranks) / self.steps)
        self.processor.append(1e3 * sum(rank["processor"] for rank in ranks) / self.steps)

    @property
    def ms(self) -> float:
        return median(self.wall)


class Launch:
    """A side's processes, and the line to the first of them."""

    def __init__(self, side: Side, folder: Path, cache: Path):
        self.side = side
        self.log = folder / "log"
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(folder / "socket"))
        server.listen(1)
        server.settimeout(0.2)
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]
        command += [str(side.ranks), "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
        command += ["-m", "benchmarks.scalings.rank", str(folder / "socket")]
        settings = {
            "OMP_NUM_THREADS": str(side.threads),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(cache),
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, json.dumps(asdict(side))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | settings,
            )
        self.line: Any = None
        self.server = server

    def answer(self) -> Any:
        """The next line. Raises `SideFailed` where there is none."""
        try:
            if self.line is None:
                with self._accepted() as connection:  # the file holds it open
                    connection.settimeout(PATIENCE)
                    self.line = connection.makefile("rw")
            text = self.line.readline()
        except OSError as error:
            raise SideFailed(f"{self.side}: {error}") from error
        if not text:
            raise SideFailed(f"{self.side}: {self._last_words()}")
        return json.loads(text)

    def _accepted(self) -> socket.socket:
        for _ in range(round(PATIENCE / 0.2)):
            try:
                return self.server.accept()[0]
            except TimeoutError:
                if self.process.poll() is not None:
                    break
        raise SideFailed(f"{self.side}: {self._last_words()}")

    def ask(self, steps: int) -> Any:
        try:
            self.line.write(json.dumps(steps) + "\n")
            self.line.flush()
        except OSError as error:
            raise SideFailed(f"{self.side}: {self._last_words()}") from error
        return self.answer()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [line.partition("]: ")[2] for line in lines if line.startswith("[rank")]
        return (errors or lines or ["it ended without a word"])[-1].strip()

    def close(self) -> None:
        """The end of the line, at which the processes end."""
        if self.line is not None:
            self.line.close()
        self.server.close()
        try:
            self.process.wait(END)
        except subprocess.TimeoutExpired:
            self.process.terminate()  # torchrun ends its processes at that
            self.process.wait(2 * END)


@contextmanager
def launches(sides: Sequence[Side], cache: Path) -> Iterator[dict[Launch, Any]]:
    """All sides, launched, with their first answers, and ended in the end.

    The others are launched when the first has answered: they find what it compiled.
    """
    with ExitStack() as stack:
        first: dict[Launch, Any] = {}
        for few in (sides[:1], sides[1:]):
            each = []
            for side in few:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                each.append(Launch(side, folder, cache))
                stack.callback(each[-1].close)
            first |= {launch: launch.answer() for launch in each}
        yield first


def timed(sides: Sequence[Side], cache: Path, rounds: int, seconds: float) -> dict[Side, Timing]:
    """Each side's time: all are started, then timed in turn, round by round, each for about so
    many seconds. Raises `SideFailed`."""
    with launches(sides, cache) as each:
        timings = {}
        for launch, ranks in each.items():
            taken = max(rank["wall"] for rank in launch.ask(2)) / 2
            timings[launch.side] = Timing(ranks[0]["wall"], max(1, round(seconds / taken)))
        for _ in range(rounds):
            for launch in each:
                timing = timings[launch.side]
                timing.add(launch.ask(timing.steps))
    return timings


def counted(sides: Sequence[Side], cache: Path) -> dict[Side, list[Any]]:
    """Of each side the collectives of a step that its first rank takes part in, each by its name
    and bytes. Raises `SideFailed`."""
    with launches([replace(side, counted=True) for side in sides], cache) as each:
        return {replace(launch.side, counted=False): launch.ask(0)[0] for launch in each}
