"""Attempts at a run, each in a process of its own, which may be killed."""

import json
import os
import random
import signal
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol, TextIO

import torch

from benchmarks._forked import forked
from benchmarks.crashes import kinds
from benchmarks.crashes.kills import Kill, arm, drawn
from fkd.compare import Progress
from fkd.compare._command.signals import Stop
from fkd.compare._job.course import TEACHER

LONGEST = 300  # seconds; an attempt that takes longer hangs
BEFORE = "before the first step"


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended: its exit code, where it was then, what it went on with (nothing where
    it began anew), how long it took, and the error that it ended with, if by one."""

    code: int
    place: str
    went_on: str
    seconds: float
    error: str = ""


class Run(Protocol):
    """A run in a folder, at which there may be many attempts."""

    kind: str
    folder: Path

    def attempt(self, kill: Kill | None, minutes: float) -> Attempt:
        """Begin it, or go on with it, and kill it; with a checkpoint each so many minutes."""
        ...

    def drawn(self, draws: random.Random) -> Kill:
        """A kill for the next attempt."""
        ...


@dataclass
class Small:
    """A small comparison of a kind, which takes so many seconds in one go."""

    kind: str
    folder: Path
    seconds: float = 0.0

    def drawn(self, draws: random.Random) -> Kill:
        return drawn(draws, self.seconds)

    def attempt(self, kill: Kill | None, minutes: float) -> Attempt:
        told = self.folder.with_name(f"{self.folder.name}.told")
        told.unlink(missing_ok=True)
        left = _partial(self.folder)
        arguments = (self.kind, self.folder, minutes, kill, told)
        process = forked().Process(target=_run, args=arguments)
        process.start()
        while process.is_alive() and not told.exists():
            time.sleep(0.001)
        begin = time.perf_counter()
        if kill is not None and kill.delay is not None:
            _send(process, kill.signal, kill.delay)
            if kill.second is not None:
                _send(process, kill.signal, kill.second)
        process.join(LONGEST)
        seconds = time.perf_counter() - begin
        if process.exitcode is None:
            process.kill()
            process.join()
            return Attempt(1, BEFORE, "", seconds, f"it did not end in {LONGEST} seconds")
        last: dict[str, str] = {}
        for line in _lines(told):
            last |= line
        place = last.get("at", BEFORE)
        if writing := _partial(self.folder) - left:
            place = f"in the writing of {writing.pop().split('.')[1].partition('-')[0]}"
        went_on, error = last.get("went on", ""), last.get("error", "")
        return Attempt(process.exitcode, place, went_on, seconds, error)


def _send(process: ForkServerProcess, name: str, delay: float) -> None:
    process.join(delay)
    if process.is_alive():
        assert process.pid is not None
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(process.pid, getattr(signal, name))


def _partial(folder: Path) -> set[str]:
    """What writers that were killed have left."""
    return {path.name for path in folder.glob(".*.fkd-partial")}


def _lines(told: Path) -> list[dict[str, str]]:
    """What an attempt told before it was killed; the last line may be cut short."""
    text = told.read_text(encoding="utf-8") if told.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _run(kind: str, folder: Path, minutes: float, kill: Kill | None, told: Path) -> None:
    """The attempt itself, as the command line makes it."""
    torch.set_num_threads(1)
    code = 1
    try:
        with told.open("w", buffering=1, encoding="utf-8") as lines:
            try:
                code = _followed(kind, folder, minutes, kill, lines)
            except Exception:
                _tell(lines, error=traceback.format_exc())
    except KeyboardInterrupt:  # before it began
        code = 128 + signal.SIGINT
    os._exit(code)  # so that no signal comes in between


def _followed(kind: str, folder: Path, minutes: float, kill: Kill | None, lines: TextIO) -> int:
    if kill is not None and kill.call is not None:
        arm(kill)
    comparison = kinds.comparison(kind)
    training = comparison.run(folder, checkpoint_minutes=minutes)
    for note in comparison.notes:
        if note.startswith("Going on with the run"):
            _tell(lines, **{"went on": note.partition(": ")[2]})
    with Stop() as stop:
        try:
            for progress in training:
                _tell(lines, at=_place(progress))
                if stop.signal is not None:
                    break
        finally:
            training.close()
    if comparison.troubles:
        raise RuntimeError("; ".join(comparison.troubles))
    return 0 if stop.signal is None else stop.code


def _tell(lines: TextIO, **what: str) -> None:
    lines.write(json.dumps(what) + "\n")


def _place(progress: Progress) -> str:
    if progress.what == TEACHER:
        return "the teacher's training"
    if progress.what.startswith("the teacher reads"):
        return "the teacher's reading"
    if progress.standing is None:
        return "between two methods"
    if progress.standing.at.epoch_ended:
        return "a method's training, between two epochs"
    return "a method's training, inside an epoch"
