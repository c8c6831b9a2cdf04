"""What of a run is not written, and which checkpoints hold it: they stay until it is."""

from collections.abc import Mapping

from fkd.compare._job.course import Run
from fkd.compare._job.standing import seeds_in
from fkd.compare._setup.asked import TEACHER
from fkd.compare._store.folder import RunFolder
from fkd.compare._store.moment import whole_moments
from fkd.compare.results import FILE
from fkd.ensemble import Seed


def is_needed(run: Run, folder: RunFolder, seeds: Mapping[str, list[Seed]]) -> bool:
    """Whether a checkpoint of these seeds by method, or of the teacher, holds what no other file
    does: of a training that is under way or failed otherwise than by divergence, so that it is
    tried again, and of one that ended and whose results or students are not in their files."""
    failed, known = run.results.failed, run.results.methods
    if TEACHER in seeds:
        return TEACHER not in failed and not folder.teacher.exists()
    if FILE in run.unwritten or not run.rounds.have_ended(seeds):
        return True
    name, *others = seeds
    if name in failed and not others:
        return failed[name].kind != "diverged"
    return any(
        not folder.holds(name, range(first, first + len(own)))
        for name, own in seeds.items()
        if name in known
        for first in [run.rounds.place(own)]
    )


def needed(run: Run, folder: RunFolder) -> dict[int, list[str]]:
    """The moments that are needed, by their numbers, and the names of what they hold; of each
    training the last one that is whole.

    Raises OSError where the folder cannot be read.
    """
    held: dict[int, list[str]] = {}
    trainings: list[Mapping[str, list[Seed]]] = []
    for moment in whole_moments(folder.path):
        try:
            seeds = seeds_in(moment.path(folder.path, 0))
        except ValueError:  # it cannot be read now, and is not ours to remove
            held[moment.number] = []
            continue
        if seeds not in trainings and is_needed(run, folder, seeds):
            held[moment.number] = list(seeds)
        trainings.append(seeds)
    return held


def what_to_do(run: Run, folder: RunFolder) -> list[str]:
    """What became of each file that is not written, and how it can be, in a line."""
    if not run.unwritten:
        return []
    try:
        held = {name for names in needed(run, folder).values() for name in names}
    except OSError:  # the folder is gone
        held = set[str]()
    kept = {folder.teacher.name} & {f"{name}.safetensors" for name in held}
    kept |= {folder.students(name).name for name in held}
    lines = []
    for file in sorted(run.unwritten):
        if file in kept:
            how = "what it was to hold stays in a checkpoint; the same comparison in this folder "
            how += "writes it without training it anew, once it can"
        elif file.endswith(".safetensors"):
            how = "no checkpoint holds it; a run in another folder makes it anew"
        elif file == FILE:
            how = "it is older, or not there; the same comparison in this folder makes it, and "
            how += "trains again what no checkpoint holds"
        else:
            how = "it can be made again from the results"
        lines.append(f"{folder.path / file} is not written: {how}")
    return lines
