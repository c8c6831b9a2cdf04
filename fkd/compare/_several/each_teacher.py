"""A comparison done once for each of several teachers' seeds, each in a folder of its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fkd.compare._accord import Accord
from fkd.compare._command.carry_out import End, carry_out, tell_end
from fkd.compare._command.options import Config, in_flags
from fkd.compare._command.prepare import named_folder, prepare, shared_folder
from fkd.compare._store.folder import RunFolder
from fkd.compare.presentation import table
from fkd.compare.report.command import write_all
from fkd.compare.results import Results
from fkd.compare.teachers import Teachers
from fkd.compare.variance import Variance
from fkd.distributed import Mesh


@dataclass(frozen=True)
class Trained:
    """The runs that were made for the teachers, one after the other, and how the last one ended:
    where it was stopped, or failed as a whole, there are none of the teachers behind it."""

    folder: Path
    runs: list[Results]
    end: End


def train_each(
    config: Config,
    teacher_seeds: Sequence[int],
    mesh: Mesh,
    console: Console,
    errors: Console,
    begin: float,
) -> Trained:
    """Train the students of each teacher, as one run in a folder of its own, `teacher-SEED`, which
    is kept and gone on with as any. It ends early where one is stopped, or fails as a whole.

    Raises ValueError where it is refused, and RankError where a rank was lost at the start.
    """
    accord, place, end, runs = Accord(mesh), None, None, []
    try:
        with accord.together("the start"):
            folder = named_folder(config)
            comparison = prepare(config, console, mesh, teacher_seeds[0])
            folder = shared_folder(folder, config, accord)
        place = RunFolder(folder, {"config": config.asked}, config.raw, accord)
        for seed in teacher_seeds:
            if runs:  # all that can be refused was refused with the first
                begin = time.perf_counter()
                comparison = prepare(config, console, mesh, seed)
            try:
                training = comparison.run(
                    folder / _name(config, seed),
                    checkpoint_minutes=config.checkpoint_minutes,
                    options=config.raw,
                )
            except ValueError as error:  # a disk that is full by now
                if end is None:
                    raise
                errors.print(f"compare: {in_flags(str(error))}", markup=False)
                end = end._replace(unwritten=True)
                break
            unwritten = end is not None and end.unwritten
            end = carry_out(comparison, training, console, errors, begin)
            end = end._replace(unwritten=end.unwritten or unwritten)
            runs.append(comparison.results)
            if end.code or end.signal is not None or comparison.results.waiting:
                break
    finally:
        if place is not None:
            place.close()
    assert end is not None
    return Trained(folder, runs, end)


def _name(config: Config, seed: int) -> str:
    """The folder of a teacher's students."""
    return f"teacher-{seed}" if config.teacher_file is None else "teacher-given"


def finish(
    trained: Trained,
    record: Variance | Teachers | None,
    tables: Sequence[Table],
    lines: Sequence[str],
    console: Console,
    errors: Console,
) -> int:
    """Write, draw and print what was measured over all teachers, on the rank that has a record of
    it, if a method has ended with all of them, and tell where everything is: the exit code, in
    which a failure with any teacher counts."""
    code = trained.end.code
    if record is not None and (record.accuracy or record.failed):
        code = write_all(record, trained.folder, errors) or code
        for one in tables:
            table.show(console, one)
        for line in lines:
            console.print(line, markup=False, highlight=False)
    failed = {name: why for run in trained.runs for name, why in run.failed.items()}
    last = replace(trained.runs[-1], failed=failed)
    return tell_end(trained.end, code, last, trained.folder, console, errors)
