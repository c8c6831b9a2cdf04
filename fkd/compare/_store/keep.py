"""A run that is kept in a folder: written as it goes, and gone on with."""

from collections.abc import Callable, Generator
from typing import Any

from fkd import checkpoint
from fkd.compare import sweep
from fkd.compare._counted import counted
from fkd.compare._job.course import Progress, Run
from fkd.compare._setup.reading import teacher_of
from fkd.compare._store.folder import RunFolder
from fkd.compare._store.saver import Saver


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
        run.set_teacher(teacher, about["curves"])
        run.results.seconds["teacher_training"] = about["seconds"]
        known.insert(0, "the teacher is trained")
    saved = folder.saved()
    if saved and run.is_under_way(saved):
        run.saved = saved
        known.append(str(saved))
    elif saved:  # a kill came between the end of its training and its removal
        _attempt(run, folder.remove_saved)
    if not known:
        return notes
    if len(ended) < len(run.task.methods):
        run.results.resumed += 1
    return [f"Going on with the run in {folder.path}: {'; '.join(known)}", *notes]


def kept(run: Run, folder: RunFolder, minutes: float) -> Generator[Progress]:
    """The run, whose ends are written when they come, and where it stands each so many minutes and
    when the iterator is closed. The table is written once, however the run ends; `report` makes all
    else of what a kill has left. What cannot be written stops nothing, and is told in `troubles`.

    Each rank writes where its members stand, and rank 0 all that is known of the whole. On closing
    no rank waits for another.
    """
    saver = folder.saver(minutes)
    ended, progress = _ended(run), None
    trained = run.teacher is not None
    try:
        run.accord.wish(save=saver.due)
        for progress in run.progress():
            if run.teacher is not None and not trained:
                _write_teacher(run, folder, saver)
                trained = True
            if _ended(run) != ended:
                _write_ends(run, folder, saver)
                ended = _ended(run)
            elif progress.standing is not None and progress.save:
                if _share_errors(run, saver):
                    saver.discard()
                saver.save(progress.standing)
            yield progress
            run.accord.wish(save=saver.due)
        if any(_ended(run)) and run.accord.mesh.rank == 0:
            _attempt(run, run.results.write_numbers, folder.path)
    except GeneratorExit:  # its caller has stopped, between two steps
        if progress is not None and progress.standing is not None:
            saver.save_now(progress.standing)
        raise
    finally:
        saver.close()
        _tell_error(run, saver)
        try:
            # Not at each method's end, for it takes all statistics anew.
            if any(_ended(run)) and run.accord.mesh.rank == 0:
                _attempt(run, run.results.write_table, folder.path)
        finally:
            folder.close()


def _ended(run: Run) -> tuple[list[int], list[str]]:
    """How many seeds of each method have ended, and who failed."""
    return [len(one.seeds) for one in run.results.methods.values()], list(run.results.failed)


def _write_teacher(run: Run, folder: RunFolder, saver: Saver) -> None:
    if run.accord.mesh.rank != 0:  # whose teacher all ranks have, and who alone saves it
        return
    seconds = run.results.seconds["teacher_training"]
    about = {"curves": run.teacher_curves, "seconds": seconds}
    if _attempt(run, folder.save_teacher, run.teacher, about):
        _attempt(run, saver.remove)


def _write_ends(run: Run, folder: RunFolder, saver: Saver) -> None:
    """Write methods that ended: a kill between any two of these steps loses nothing."""
    _share_errors(run, saver)  # no rank's checkpoint is being written from here on
    for name, trained in run.students.items():
        who, first, before = _about(run, name), trained.first, trained.before
        _attempt(run, folder.save_students, name, trained.state, who, first, before)
    if run.accord.mesh.rank == 0:
        for name, traceback in run.tracebacks.items():
            _attempt(run, folder.save_error, name, traceback)
        if _attempt(run, run.results.write_numbers, folder.path):
            _attempt(run, saver.remove)
    run.students, run.tracebacks = {}, {}


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
    own = None if saver.error is None else str(saver.error)
    saver.error = None
    told = [
        f"the checkpoint cannot be written: {why}" + f" (on rank {rank})" * bool(rank)
        for rank, why in enumerate(run.accord.share("the checkpoint", own))
        if why is not None
    ]
    run.troubles += told
    return bool(told)


def _tell_error(run: Run, saver: Saver) -> None:
    if saver.error is not None:
        run.troubles.append(f"the checkpoint cannot be written: {saver.error}")
        saver.error = None


def _attempt(run: Run, write: Callable[..., None], *arguments: Any) -> bool:
    try:
        write(*arguments)
    except (OSError, ValueError) as error:  # a full disk, or a dtype that no file holds
        run.troubles.append(f"what was measured cannot be written: {error}")
        return False
    return True
