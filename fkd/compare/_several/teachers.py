"""A comparison with several teachers from the command line: each one's students in a folder of
their own."""

from rich.console import Console

from fkd.compare._command.carry_out import failed
from fkd.compare._command.options import Config
from fkd.compare._several.each_teacher import finish, train_each
from fkd.compare.failure import RankError
from fkd.compare.presentation import teachers_table
from fkd.compare.run import TEACHER_SEED
from fkd.compare.teachers import Teachers
from fkd.compare.vary import TEACHER
from fkd.distributed import Mesh


def teachers(config: Config, mesh: Mesh, console: Console, errors: Console, begin: float) -> int:
    """Do the comparison with each teacher, and tell what holds over all: the exit code of `main`.

    Raises ValueError where it is refused.
    """
    assert config.teachers is not None
    seeds = range(TEACHER_SEED, TEACHER_SEED + config.teachers)
    try:
        trained = train_each(config, seeds, mesh, console, errors, begin)
    except RankError as error:
        return failed(error, errors)
    begun = [run for run in trained.runs if run.methods or run.failed]
    if mesh.rank or sum(TEACHER not in run.failed for run in begun) < 2:
        return finish(trained, None, [], [], console, errors)
    record = Teachers.of(begun)
    tables, line = teachers_table.tables(record), teachers_table.sentence(record)
    return finish(trained, record, tables, [line], console, errors)
