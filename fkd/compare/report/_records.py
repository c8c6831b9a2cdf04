"""The record that a run's folder holds, of whatever kind."""

from collections.abc import Sequence
from pathlib import Path

from fkd.compare import results, teachers, variance
from fkd.compare.results import Results
from fkd.compare.teachers import Teachers
from fkd.compare.variance import Variance
from fkd.compare.vary import Factorial

Record = Results | Variance | Teachers


def read(folder: Path) -> Record:
    """The results of a comparison; or those of a factorial or of several teachers, from the runs of
    the teachers that are in the folder, as far as they went, or from the record of all.

    Raises ValueError where there is none of them, and where they do not make a record.
    """
    if not (folder / results.FILE).exists():
        runs = _runs(folder)
        if runs:
            return _together(folder, runs)
        for kind, file in ((Variance, variance.FILE), (Teachers, teachers.FILE)):
            if (folder / file).exists():
                return kind.read(folder)
        if (folder / "run.json").exists():
            there = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
            raise ValueError(
                f"{folder}: no method of the run in it has ended, so there is nothing to tell: it "
                f"holds {', '.join(there)}; go on with the run, or give the folder of another"
            )
    return Results.read(folder)


def _runs(folder: Path) -> list[Results]:
    """The runs of the teachers, in the order of these."""
    runs = [Results.read(path.parent) for path in folder.glob(f"teacher-*/{results.FILE}")]
    return sorted(runs, key=lambda run: run.config.get("teacher_seed") or 0)


def _together(folder: Path, runs: Sequence[Results]) -> Variance | Teachers:
    config = runs[0].config
    try:
        if config.get("vary"):
            return Variance.of(Factorial(tuple(config["vary"]), config["levels"]), runs)
        return Teachers.of([run for run in runs if run.methods or run.failed])
    except ValueError as error:
        raise ValueError(
            f"{folder}: too little has ended to tell of all teachers, or it is of other runs "
            f"({error}); go on with the run, or give the folder of one teacher"
        ) from error
