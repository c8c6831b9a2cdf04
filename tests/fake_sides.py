"""Sides that train nothing, for processes of their own, where a clock runs only as they tell it."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from benchmarks.speed import timed


class TwoArguments(Exception):
    """An exception that pickle cannot bring back."""

    def __init__(self, one: str, two: str):
        super().__init__(f"{one} and {two}")


@dataclass(frozen=True)
class Fake:
    """A side whose first step takes `first` seconds and each other one `cost`."""

    name: str
    log: str
    cost: float = 0.125
    first: float = 4.0

    def __str__(self) -> str:
        return self.name


def make(side: Fake) -> timed.Run:
    if side.name == "absent":
        raise timed.Unavailable("it needs what is not there")
    if side.name == "wrong":
        raise TwoArguments("this", "that")
    now, taken = 0.0, 0
    timed.time = SimpleNamespace(perf_counter=lambda: now)  # type: ignore
    note(side, f"in {os.environ['TORCHINDUCTOR_CACHE_DIR']}")

    def run(steps: int) -> None:
        nonlocal now, taken
        if side.name == "dying" and taken:
            os._exit(1)
        now += side.cost * steps if taken else side.first
        taken += steps
        note(side, str(steps))

    return run


def note(side: Fake, text: str) -> None:
    with Path(side.log).open("a") as log:
        log.write(f"{side.name} {text}\n")


def peak(side: Fake) -> float:
    return 1000 * side.cost
