"""A worker: the command line of `fkd.compare`, which also writes down that it lives and each step
that it tells of."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fkd.compare import Progress, command
from fkd.compare._command import carry_out
from fkd.compare._command.console import Display

TOLD = "FKD_ELASTIC_TOLD"  # in the environment: the file for what it tells


@dataclass(frozen=True)
class Life:
    """A process of a run: which of how many ranks it is; its own number, when the system says that
    it was born, and the number of its agent."""

    rank: int
    ranks: int
    process: int
    born: str
    agent: int


@dataclass(frozen=True)
class Step:
    """The first rank, as this process, had taken so many steps of all those of what it is at."""

    process: int
    what: str
    step: int
    steps: int


def born(process: int) -> str:
    """When a process was born, by the system's clock; nothing of one that is dead."""
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else rest[18]  # ended, and only not asked for its code yet


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
    """The display, which also writes down each step that it shows on the first rank."""

    def show(self, at: Progress) -> None:
        if os.environ.get("RANK", "0") == "0":
            tell(Step(os.getpid(), at.what, at.step, at.steps))
        super().show(at)


def main(*arguments: str) -> None:
    """Run the command line; exit with its code, if it has one."""
    rank, ranks = (int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE"))
    tell(Life(rank, ranks or 1, os.getpid(), born(os.getpid()), os.getppid()))
    torch.set_num_threads(1)
    carry_out.Display = TellingDisplay
    if code := command.main(arguments):
        sys.exit(code)
