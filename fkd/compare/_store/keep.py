"""A run that is kept in a folder: written as it goes, and gone on with."""

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import compress
from pathlib import Path
from typing import Any

from fkd import checkpoint
from fkd.compare import sweep
from fkd.compare._counted import counted
from fkd.compare._job.course import Run
from fkd.compare._job.progress import Progress
from fkd.compare._job.record import plans_of
from fkd.compare._job.standing import Saved, Standing
from fkd.compare._setup.asked import TEACHER
from fkd.compare._setup.reading import teacher_of
from fkd.compare._store.folder import RunFolder
from fkd.compare._store.room import check_room
from fkd.compare._store.saver import Saver
from fkd.compare._store.unwritten import is_needed, needed, what_to_do
from fkd.compare.failure import reason_of
from fkd.compare.results import FILE

TABLE, CHECKPOINT = "table.md", "the checkpoint"


def open_folder(
    run: Run, path: Path, asked: Mapping[str, Any], options: Mapping[str, Any] | None
) -> RunFolder:
    """The folder of a run, with what it holds of the run taken; what a user should know of that
    goes into the run's notes. Raises ValueError, on every rank, where it is refused."""
    with run.accord.together("the room on the disk"):
        if run.accord.mesh.rank == 0:
            run.notes += check_room(run, path)
    folder = RunFolder(path, asked, options, run.accord)
    try:
        run.notes += folder.notes + go_on(run, folder)
    except BaseException:
        folder.close()
        raise
    return folder


def go_on(run: Run, folder: RunFolder) -> list[str]:
    """Take what the folder holds of the run: in words, what that is.

    Raises ValueError, on every rank, for a file that is damaged.
    """
    accord = run.accord
    then = folder.results()
    if then is not None:
        results = run.results
        results.methods, results.teacher = then.methods, then.teacher
        results.failed = {name: why for name, why in then.failed.items() if why.kind == "diverged"}
        for name, one in then.unfinished.items():
            (results.unfinished if name in results.failed else results.methods)[name] = one
        results.compiled, results.resumed = then.compiled, then.resumed
        run.spent = then.seconds.get("total", 0.0)
        results.seconds = then.seconds | results.seconds
    notes = run.rounds.decide(accord)
    ended = [name for name in run.task.methods if run.rounds.has_ended(name)]
    known = [f"{', '.join(ended)}: ended"] if ended else []
    part: dict[int, list[str]] = {}
    for name in run.results.methods:
        if name not in ended:
            part.setdefault(run.rounds.trained(name), []).append(name)
    known += [f"{', '.join(names)}: {counted(k, 'seed')} ended" for k, names in part.items()]
    is_trained = accord.share("the teacher's file", folder.teacher.exists())[0]
    if run.teacher is None and is_trained:
        with accord.together("the teacher"):
            about, device = checkpoint.about(folder.teacher), run.task.data.train.device
            teacher = teacher_of(run.task.teacher.model, checkpoint.read(folder.teacher), device)
        run.set_teacher(teacher, about["curves"], plans_of([about.get("plans", [])]))
        run.results.seconds["teacher_training"] = about["seconds"]
        known.insert(0, "the teacher is trained")
    saved = folder.saved()[::-1]  # in the order of their training
    stay = [is_needed(run, folder, one.seeds) for one in saved]
    stay = accord.share("the checkpoints that are needed", stay)[0]
    run.saved = list(compress(saved, stay))
    run.spared = {one.number for one in run.saved}
    if not all(stay) and accord.mesh.rank == 0:  # a kill came before they were removed
        _remove(run, folder.remove_saved)
    known += [_said(run, one) for one in run.saved]
    if not known:
        return notes
    held = {name for one in run.saved for name in one.seeds}
    gone = [
        folder.students(name).name
        for name, one in run.results.methods.items()
        if name in ended and name not in held and not folder.holds(name, range(len(one.seeds)))
    ]
    if run.teacher is None and TEACHER not in held and len(ended) == len(run.task.methods):
        gone.append(folder.teacher.name)
    if gone:
        notes.append(
            f"{', '.join(gone)}: not there, or not whole, for the disk was full or someone removed "
            "it, and what ended is not trained again; a run in another folder makes it"
        )
    if len(ended) < len(run.task.methods):
        run.results.resumed += 1
    return [f"Going on with the run in {folder.path}: {'; '.join(known)}", *notes]


def _said(run: Run, saved: Saved) -> str:
    """Whose checkpoint it is, and how far it had come, or that it is to be written."""
    if TEACHER not in saved.seeds and run.rounds.have_ended(saved.seeds):
        return f"{', '.join(saved.seeds)}: ended, and to be written from a checkpoint"
    return str(saved)


def kept(run: Run, folder: RunFolder, minutes: float) -> Generator[Progress]:
    """The run, whose ends are written when they come, and where it stands each so many minutes and
    when the iterator is closed. The table is written once, however the run ends; `report` makes all
    else of what a kill has left. What cannot be written stops nothing, and is told in `troubles`;
    what a checkpoint alone holds then stays there, and is written when the run is gone on with.

    Each rank writes where its members stand, and rank 0 all that is known of the whole. On closing
    no rank waits for another.
    """
    saver = folder.saver(minutes)
    ended, progress, last = _ended(run), None, None
    try:
        run.accord.wish(save=saver.due)
        for progress in run.progress():
            if run.students or _ended(run) != ended:
                _write_ends(run, folder, saver, last)
                ended = _ended(run)
            elif progress.standing is not None and progress.save:
                if _share_errors(run, saver):
                    saver.discard()
                saver.save(progress.standing, run.spared)
            yield progress
            run.accord.wish(save=saver.due)
            last = progress.standing
        _write_ends(run, folder, saver)  # what could not be written before, perhaps now
    except GeneratorExit:  # its caller has stopped, between two steps
        if progress is not None and progress.standing is not None:
            saver.save_now(progress.standing, run.spared)
        raise
    finally:
        saver.close()
        _tell_error(run, saver)
        try:
            # Not at each method's end, for it takes all statistics anew.
            if _is_measured(run) and run.accord.mesh.rank == 0:
                _attempt(run, TABLE, run.results.write_table, folder.path)
            run.troubles += what_to_do(run, folder)
        finally:
            folder.close()


def _ended(run: Run) -> tuple[bool, list[int], list[str]]:
    """Whether the teacher is trained, how many seeds of each method have ended, and who failed."""
    seeds = [len(one.seeds) for one in run.results.methods.values()]
    return run.teacher is not None, seeds, list(run.results.failed)


def _is_measured(run: Run) -> bool:
    return bool(run.results.methods or run.results.failed)


def _write_ends(
    run: Run, folder: RunFolder, saver: Saver, standing: Standing | None = None
) -> None:
    """Write the teacher and the methods that ended, which stood so in the end: a kill between any
    two of these steps loses nothing, and no write that fails. All ranks agree on what stays."""
    _share_errors(run, saver)  # no rank's checkpoint is being written from here on
    first = run.accord.mesh.rank == 0  # who has the teacher and the results, as all have
    if first and run.teacher_curves is not None and not folder.teacher.exists():
        about = {
            "curves": run.teacher_curves,
            "seconds": run.results.seconds["teacher_training"],
            "plans": [asdict(plan) for plan in run.teacher_plans],
        }
        _attempt(run, folder.teacher.name, folder.save_teacher, run.teacher, about)
    for name, trained in run.students.items():
        who, members = _about(run, name), len(run.results.methods[name].seeds)
        file, state, place = folder.students(name).name, trained.state, trained.first
        _attempt(run, file, folder.save_students, name, state, who, place, members)
        if first and not folder.holds(name, range(members)):  # those before may be missing
            run.unwritten.add(file)
    if first:
        for name, traceback in run.tracebacks.items():
            _attempt(run, f"error-{name}.txt", folder.save_error, name, traceback)
        if _is_measured(run):
            _attempt(run, FILE, run.results.write_numbers, folder.path)
    if standing is not None and _is_unwritten(run, folder, standing):
        saver.save_now(standing, run.spared)  # its end, before which nothing is trained again
        if _share_errors(run, saver):
            saver.discard()
    _remove_written(run, folder, saver)
    run.students, run.tracebacks = {}, {}


def _is_unwritten(run: Run, folder: RunFolder, standing: Standing) -> bool:
    """Whether a training came to its end, and not all of it could be written; on every rank."""
    seeds = {name: list(record.seeds) for name, record in standing.records.items()}
    came = bool(run.students) or TEACHER in seeds
    first = run.accord.mesh.rank == 0
    lacks = first and came and is_needed(run, folder, seeds)
    return run.accord.share("what could not be written", lacks)[0]


def _remove_written(run: Run, folder: RunFolder, saver: Saver) -> None:
    """Remove the checkpoints of which all is written; every rank spares the others from now on."""
    stay = None
    if run.accord.mesh.rank == 0:
        with suppress(OSError):  # the folder is gone, or cannot be read now
            stay = sorted(needed(run, folder))
    stay = run.accord.share("the checkpoints that stay", stay)[0]
    if stay is not None:
        run.spared = set(stay)
        run.saved = [saved for saved in run.saved if saved.number in run.spared]
        if run.accord.mesh.rank == 0:
            _remove(run, saver.remove)


def _about(run: Run, name: str) -> dict[str, Any]:
    """Who the students in a method's file are, in their order."""
    measured = run.results.methods[name]
    choice = measured.sweep
    return {
        "method": name,
        "seeds": measured.seeds,
        "setting": sweep.describe(choice.best.hyper) if choice else "",
        "network": run.results.networks["student"],
    }


def _share_errors(run: Run, saver: Saver) -> bool:
    """Wait until every rank's checkpoint is written; whether that of one cannot be."""
    saver.wait()
    told = run.accord.share("the checkpoint", [saver.error, saver.written])
    saver.error, saver.written = None, False
    errors = {rank: why for rank, (why, _) in enumerate(told) if why is not None}
    for rank, why in errors.items():
        _tell(run, CHECKPOINT, why + f" (on rank {rank})" * bool(rank))
    if not errors and any(written for _, written in told):
        _tell_written(run, CHECKPOINT)
    return bool(errors)


def _tell_error(run: Run, saver: Saver) -> None:
    if saver.error is not None:
        _tell(run, CHECKPOINT, saver.error)
        saver.error = None


def _attempt(run: Run, file: str, write: Callable[..., None], *arguments: Any) -> None:
    try:
        write(*arguments)
    except (OSError, ValueError) as error:  # a full disk, or a dtype that no file holds
        _tell(run, file, reason_of(error))
        run.unwritten.add(file)
    else:
        _tell_written(run, file)
        run.unwritten.discard(file)


def _tell(run: Run, what: str, why: str, done: str = "written") -> None:
    """Tell why something cannot be done, unless that was told and nothing has changed since."""
    if run.reasons.get(what) != why:
        run.reasons[what] = why
        run.troubles.append(f"{what} cannot be {done}: {why}")


def _tell_written(run: Run, what: str) -> None:
    if run.reasons.pop(what, None) is not None:
        run.notes.append(f"{what} can be written again")


def _remove(run: Run, remove: Callable[[Collection[int]], None]) -> None:
    try:
        remove(run.spared)
    except OSError as error:
        _tell(run, "a checkpoint that is written elsewhere", reason_of(error), "removed")
