"""A factorial from the command line: each teacher's students in a folder of their own."""

from rich.console import Console

from fkd.compare._command.carry_out import failed
from fkd.compare._command.options import Config
from fkd.compare._several.each_teacher import finish, train_each
from fkd.compare.failure import RankError
from fkd.compare.presentation import variance_table
from fkd.compare.presentation._caption import state
from fkd.compare.run import TEACHER_SEED
from fkd.compare.variance import Variance
from fkd.distributed import Mesh


def vary(config: Config, mesh: Mesh, console: Console, errors: Console, begin: float) -> int:
    """Train every member of the factorial, and tell what varies: the exit code, as `main`'s.

    Raises ValueError where it is refused.
    """
    factorial = config.factorial
    assert factorial is not None
    seeds = factorial.teacher_seeds(TEACHER_SEED)
    try:
        trained = train_each(config, seeds, mesh, console, errors, begin)
    except RankError as error:
        return failed(error, errors)
    if mesh.rank or len(trained.runs) < len(seeds):
        return finish(trained, None, [], [], console, errors)
    variance = Variance.of(factorial, trained.runs)
    rows, lines = variance_table.table(variance), variance_table.concluded(variance)
    if not variance.whole:
        lines.append(state(variance).strip())
    return finish(trained, variance, [rows], lines, console, errors)
