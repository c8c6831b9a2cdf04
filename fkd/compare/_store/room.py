"""The room that a run takes on its disk, held against what is free there before it begins."""

import math
import shutil
from pathlib import Path
from typing import NamedTuple

from fkd.compare._counted import gib
from fkd.compare._job.course import Run
from fkd.compare._setup.asked import TEACHER
from fkd.compare.results import FILE

BITS = 8 * 3 / 4  # a byte of base64 holds six


class Room(NamedTuple):
    """Bytes that are to be written by a run that has a folder: of its `results`, which are the
    trained students, the teacher and every answer, as far as they are not there; of those `more`
    that may join in a second round; and of the `checkpoints`, of which two lie side by side while
    one is written."""

    results: int
    more: int
    checkpoints: int


def check_room(run: Run, folder: Path) -> list[str]:
    """What a user should know of the room that a run takes on the disk of its folder, which need
    not be there.

    Raises ValueError where there is less than its results take. What else is written to the disk
    meanwhile is not known, nor is a quota, nor what a file system keeps for itself; tables and
    pictures, of some MiB, are not counted.
    """
    free, room = free_room(folder), room_of(run, folder)
    told = f"{folder} is to hold {gib(room.results)} of results, and {gib(free)} are free there"
    if room.results > free:
        raise ValueError(
            f"folder: {told}; make room, give a folder on another disk, or choose fewer seeds or "
            "methods"
        )
    if sum(room) > free:
        beside = f"{gib(room.checkpoints)} of checkpoints"
        if room.more:
            beside += f" and {gib(room.more)} of seeds that may join"
        return [
            f"The disk is nearly full: {told}, which may not be enough for {beside} as well; where "
            "a checkpoint cannot be written, a run that is stopped loses what is under way"
        ]
    return []


def free_room(folder: Path) -> float:
    """The bytes that are free on the disk of a folder, or of the one in which it would be made;
    infinite where the system does not tell."""
    whole = folder.resolve()
    place = next(path for path in (whole, *whole.parents) if path.exists())
    try:
        usage = shutil.disk_usage(place)
    except OSError:
        return math.inf
    return float(usage.free) if usage.total else math.inf


def room_of(run: Run, folder: Path) -> Room:
    """What is to be written of a run."""
    task = run.task
    seeds, most = len(task.seeds), len(task.seeds)
    if task.resolution is not None:
        most = task.resolution.max_seeds
    answers = math.ceil(task.data.test.examples / BITS)
    results = max(seeds * answers * len(task.methods) - _there(folder / FILE), 0)
    more, states = 0, []
    for name in task.methods:
        one = run.candidates_of(name).sizes
        files = [folder / f"{what}-{name}.safetensors" for what in ("students", "averages")]
        results += max(seeds * (one.student + one.average) - sum(map(_there, files)), 0)
        more += (most - seeds) * (one.student + one.average + answers)
    for names in task.groups:
        states.append(
            sum(task.members([name]) * run.candidates_of(name).sizes.state for name in names)
        )
    if run.teacher is None:
        one = run.candidates_of(TEACHER).sizes
        results += max(one.student - _there(folder / f"{TEACHER}.safetensors"), 0)
        states.append(one.state)
    return Room(results, more, 2 * max(states))


def _there(path: Path) -> int:
    """The bytes of a file that is there already."""
    return path.stat().st_size if path.exists() else 0
