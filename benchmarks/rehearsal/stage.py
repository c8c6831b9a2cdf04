"""A stage: a process with a limit, whose failure is a fact and stops nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks._cores import share

ROOT = Path(__file__).resolve().parents[2]
GRACE = 5.0  # seconds that a process has from being told to end until it is killed


@dataclass(frozen=True)
class Stage:
    """What is run: `python` with these arguments, in the repository's root.

    `seconds` are its limit. Where `missing` says what it would need, it is left out. Neighbours
    that are not `timed`, for they time nothing, run side by side.
    """

    name: str
    arguments: tuple[str, ...]
    seconds: float
    missing: str = ""
    timed: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: "done", "failed", "out of time", or "left out"; and why, in a line."""

    name: str
    ended: str
    seconds: float = 0.0
    limit: float = 0.0
    why: str = ""


def run(stages: Sequence[Stage], folder: Path, seconds: float) -> Iterator[Outcome]:
    """Run the stages in turn within so many seconds; how each ended, as it ends.

    What a stage prints is in `folder/NAME.log`.
    """
    end = time.monotonic() + seconds
    for timed, group in groupby(stages, lambda stage: stage.timed):
        if timed:
            yield from (_within(stage, folder, end, {}) for stage in group)
            continue
        beside = list(group)
        threads_of_each = share(len(beside))
        with ThreadPoolExecutor(len(beside)) as threads:
            futures = [
                threads.submit(_within, stage, folder, end, threads_of_each) for stage in beside
            ]
            yield from (future.result() for future in as_completed(futures))


def _within(stage: Stage, folder: Path, end: float, variables: Mapping[str, str]) -> Outcome:
    limit = min(stage.seconds, end - time.monotonic())
    if stage.missing:
        return Outcome(stage.name, "left out", why=stage.missing)
    if limit <= 0:
        return Outcome(stage.name, "left out", why="no time is left")
    return _run(stage, folder / f"{stage.name}.log", limit, variables)


def _run(stage: Stage, log: Path, limit: float, variables: Mapping[str, str]) -> Outcome:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    begin = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *stage.arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **own, **variables},
            start_new_session=True,  # so that what it starts ends with it
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    seconds = time.monotonic() - begin
    if code == 0:
        return Outcome(stage.name, "done", seconds, limit)
    if code is None:
        return Outcome(stage.name, "out of time", seconds, limit, f"after {limit:.0f} s")
    return Outcome(stage.name, "failed", seconds, limit, _last_line(log) or f"it returned {code}")


def _end(process: subprocess.Popen) -> None:
    """End the process and all that it started: politely, then at once."""
    if not _signal(process, signal.SIGTERM):
        return
    begin = time.monotonic()
    while time.monotonic() - begin < GRACE and _signal(process, 0):
        process.poll()  # one that has ended is a member of its group until it is waited for
        time.sleep(0.05)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen, number: int) -> bool:
    """Whether anyone is left of the process's group, who is then sent the signal."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _last_line(log: Path) -> str:
    return next((line.strip() for line in reversed(tail(log)) if line.strip()), "")


def tail(log: Path, lines: int = 15) -> list[str]:
    """The last lines of what a stage printed."""
    return log.read_text(errors="replace").splitlines()[-lines:]
