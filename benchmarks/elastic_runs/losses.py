"""A run that loses a worker or an agent at a random moment, and what that has cost."""

import random
import time
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path

from benchmarks.elastic_runs.launch import RANKS, kill, launched, lives, wait
from benchmarks.elastic_runs.worker import Life, Step, told

# What is lost: one of the two workers of one agent; the agent that does not host the rendezvous,
# whose worker ends with it; that agent and its worker at once, as with their host.
LOSSES = {"a worker": "two workers", "an agent": "two agents", "a host": "two agents"}
# Seconds; a run that takes longer hangs. A rank that is lost while the ranks first meet is waited
# for 600, for until then none of the others would notice.
LONGEST = 900
EARLY = 0.2  # of the losses come before the first step
MOMENT = 0.05  # seconds after a step, at most
BEFORE = "before the first step"


@dataclass(frozen=True)
class Loss:
    """What a run loses: so many seconds after its workers have begun, and have told of so many
    steps. Of a worker, its rank."""

    what: str
    steps: int
    delay: float
    rank: int


@dataclass(frozen=True)
class Outcome:
    """How a run went on: where the loss came, how often its workers were started again, how many
    steps were told of and how many of them taken twice, the seconds from the beginning of its
    workers to the first step and to the end, and what was wrong. A loss that came after the end is
    not `made`."""

    made: bool
    place: str
    restarts: int
    steps: int
    twice: int
    first: float
    seconds: float
    error: str = ""


def drawn(draws: random.Random, what: str, whole: Outcome) -> Loss:
    """A loss at any step of a run as this one; once in five times before the first, for until then
    most of a short run's time goes by."""
    rank = draws.randrange(2)
    if draws.random() < EARLY:
        return Loss(what, 0, draws.uniform(0, whole.first), rank)
    return Loss(what, draws.randrange(1, whole.steps), draws.uniform(0, MOMENT), rank)


def run(launch: str, folder: Path, loss: Loss | None = None) -> Outcome:
    """Launch a run, and have it lose something; wait for its end."""
    file = folder.with_name(f"{folder.name}.told")
    deadline = time.monotonic() + LONGEST
    made, place, error, before, first = False, "", "", 0, 0.0
    with launched(launch, folder) as processes:
        begun = _begun(file, RANKS[launch], processes, deadline)
        begin = time.monotonic()
        if begun and loss is not None and _came(loss, file, processes, deadline):
            made = True
            before = len(_of_first(told(file)[0]))
            processes = _lose(loss, begun, processes)
            steps = told(file)[1]
            place = _place(steps[-1]) if steps else BEFORE
        elif begun:
            _wait_for(1, file, processes, deadline)
            first = time.monotonic() - begin
        if not begun:
            error = "its workers did not begin"
        elif not wait(processes, deadline):
            error = f"it did not end in {LONGEST} seconds"
        seconds = time.monotonic() - begin
        all_lives, steps = told(file)
        code = next((process.exitcode for process in processes if process.exitcode), 0)
        left = [life.process for life in all_lives if lives(life)]
    if not error and code:
        log = folder.with_name(f"{folder.name}.log")
        error = f"it ended with {code}: {log.read_text(errors='replace')[-2000:]}"
    if not error and left:
        error = f"workers are left: {left}"
    restarts = len(_of_first(all_lives)) - before if made else 0
    twice = taken_twice(steps)
    return Outcome(made, place, restarts, len(steps), twice, first, seconds, error)


def _came(loss: Loss, file: Path, processes: list[ForkProcess], deadline: float) -> bool:
    """Wait for the moment of a loss: whether it came before the end of the run."""
    return _wait_for(loss.steps, file, processes, deadline) and not wait(
        processes, time.monotonic() + loss.delay
    )


def _wait_for(steps: int, file: Path, processes: list[ForkProcess], deadline: float) -> bool:
    """Until so many steps are told of: whether that was before the end of the run."""
    while len(told(file)[1]) < steps:
        if wait(processes, time.monotonic()) or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _begun(
    file: Path, ranks: int, processes: list[ForkProcess], deadline: float
) -> dict[int, Life]:
    """The workers by rank, once there are so many at the same time; none where they do not come."""
    while time.monotonic() < deadline:
        begun = {life.rank: life for life in told(file)[0] if life.ranks == ranks}
        if len(begun) == ranks:
            return begun
        if wait(processes, time.monotonic()):
            return {}
        time.sleep(0.02)
    return {}


def _lose(loss: Loss, begun: dict[int, Life], processes: list[ForkProcess]) -> list[ForkProcess]:
    """Kill what is lost: the processes that must go on without it."""
    if loss.what == "a worker":
        kill(begun[loss.rank].process)
        return processes
    agent = processes[-1]
    agent.kill()
    if loss.what == "a host":
        for life in begun.values():
            if life.agent == agent.pid:
                kill(life.process)
    return processes[:-1]


def _of_first(lives: list[Life]) -> list[Life]:
    return [life for life in lives if life.rank == 0]


def taken_twice(steps: list[Step]) -> int:
    """How many steps were taken by one process and once more by another.

    >>> from benchmarks.elastic_runs.worker import Step
    >>> taken_twice([Step(7, "kd", 1, 9), Step(7, "kd", 2, 9), Step(8, "kd", 2, 9)])
    1
    """
    takers: dict[tuple[str, int], set[int]] = {}
    for one in steps:
        if one.step > 0 and one.steps > 1:  # of what is told by its two ends alone, none is a step
            takers.setdefault((one.what, one.step), set()).add(one.process)
    return sum(len(who) - 1 for who in takers.values())


def _place(step: Step) -> str:
    if step.what.startswith("the teacher reads"):
        return "in the teacher's reading"
    return "in the teacher's training" if step.what == "teacher" else "in the students' training"
