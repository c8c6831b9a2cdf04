"""How a run is killed: by which signal, and when."""

import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from fkd.checkpoint import _file

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
# The calls by which files are written and removed: where each is looked up, and how many there are
# in a short run, or so.
CALLS: dict[str, tuple[ModuleType, int]] = {
    "mkdir": (os, 20),
    "serialize_file": (_file, 20),
    "fsync": (os, 40),
    "replace": (os, 20),
    "rmtree": (shutil, 20),
    "unlink": (os, 3),
}
MOST_BETWEEN = 0.1  # seconds from a signal to the second


@dataclass(frozen=True)
class Kill:
    """A signal that is sent to a run `delay` seconds after its start, and again `second` seconds
    later; or, where there is a `call`, that the run sends to itself `when` (before, in or after) it
    makes its `number`-th call of that function."""

    signal: str
    delay: float | None = None
    second: float | None = None
    call: str | None = None
    number: int = 0
    when: str = "after"

    def __str__(self) -> str:
        """Its kind, for the table."""
        if self.call:
            return f"{self.signal} {self.when} {self.call}"
        return f"{self.signal} twice" if self.second is not None else self.signal

    @property
    def codes(self) -> tuple[int, int]:
        """The codes that a run may end with: of a process that the signal ends there and then, as
        one that has not begun, and of one that ends its work first."""
        number = getattr(signal, self.signal)
        return -number, 128 + number


def drawn(draws: random.Random, seconds: float) -> Kill:
    """A kill, as likely at a moment of the next `seconds` as in a call; as likely by SIGKILL as by
    the others together. Early ones are likelier, for of a run that goes on less is left."""
    name = draws.choice(SIGNALS if draws.random() < 2 / 3 else SIGNALS[:1])
    if draws.random() < 0.5:
        twice = name != "SIGKILL" and draws.random() < 0.25
        second = draws.uniform(0, MOST_BETWEEN) if twice else None
        return Kill(name, delay=draws.triangular(0, seconds, seconds / 4), second=second)
    call = draws.choice(list(CALLS))
    when = ["before", "after"] + ["in"] * 2 * (call == "serialize_file")
    number = round(CALLS[call][1] ** draws.random())
    return Kill(name, call=call, number=number, when=draws.choice(when))


def arm(kill: Kill) -> None:
    """Have this process send itself the signal at the call that the kill names."""
    assert kill.call is not None
    module, _ = CALLS[kill.call]
    setattr(module, kill.call, Armed(getattr(module, kill.call), kill))


class Armed:
    """A function that sends its process a signal at one of its calls."""

    def __init__(self, function: Callable[..., Any], kill: Kill):
        self.function, self.kill = function, kill
        self.count = itertools.count(1)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if next(self.count) != self.kill.number:
            return self.function(*arguments, **options)
        number = getattr(signal, self.kill.signal)
        if self.kill.when == "before":
            os.kill(os.getpid(), number)
        value = self.function(*arguments, **options)
        if self.kill.when == "in":
            # Of a signal that kills, half a file stays; what others find is written in full.
            if number == signal.SIGKILL:
                path = Path(arguments[1])
                os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), number)
        elif self.kill.when == "after":
            os.kill(os.getpid(), number)
        return value
