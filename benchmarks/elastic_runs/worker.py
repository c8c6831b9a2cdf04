"""A worker: the command line of `fkd.compare`, which also writes down that it lives and each step
that it tells of."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from fkd.compare import Progress, command
from fkd.compare._console import Display

TOLD = "FKD_ELASTIC_TOLD"  # in the environment: the file for what it tells


@dataclass(frozen=True)
class Life:
    """A process of a run: which of how many ranks it was; its own number, and its agent's."""

    rank: int
    ranks: int
    process: int
    agent: int


@dataclass(frozen=True)
class Step:
    """A process had taken so many steps of all those of what it is at."""

    process: int
    what: str
    step: int
    steps: int


def tell(what: Life | Step) -> None:
    """Write a line, whole or not at all, behind those of the other workers."""
    line = json.dumps({type(what).__name__: asdict(what)}) + "\n"
    file = os.open(os.environ[TOLD], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def told(path: Path) -> tuple[list[Life], list[Step]]:
    """What all workers of a run have written so far, each kind in its order."""
    lives, steps = [], []
    for line in path.read_text().splitlines() if path.exists() else []:
        entry = json.loads(line)
        if "Life" in entry:
            lives.append(Life(**entry["Life"]))
        else:
            steps.append(Step(**entry["Step"]))
    return lives, steps


class TellingDisplay(Display):
    """The display, which also writes down each step that it shows."""

    def show(self, at: Progress) -> None:
        tell(Step(os.getpid(), at.what, at.step, at.steps))
        super().show(at)


def main() -> int:
    environ = os.environ
    rank, ranks = int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1"))
    tell(Life(rank, ranks, os.getpid(), os.getppid()))
    command.Display = TellingDisplay
    return command.main()


if __name__ == "__main__":
    sys.exit(main())
