"""A factorial from the command line: each teacher's students in a folder of their own."""

import time
from pathlib import Path

from rich.console import Console

from fkd.compare import command, table, variance_table
from fkd.compare._accord import Accord
from fkd.compare._folder import RunFolder
from fkd.compare.failure import RankError
from fkd.compare.options import Config
from fkd.compare.results import Results
from fkd.compare.run import TEACHER_SEED
from fkd.compare.variance import Variance
from fkd.distributed import Mesh


def vary(config: Config, mesh: Mesh, console: Console, errors: Console, begin: float) -> int:
    """Train every member of the factorial, and tell what varies: the exit code, as `main`'s.

    The students of each teacher are one run in a folder of its own, `teacher-SEED`, which is kept
    and gone on with as any. Raises ValueError where it is refused.
    """
    factorial, accord, place = config.factorial, Accord(mesh), None
    assert factorial is not None
    seeds = factorial.teacher_seeds(TEACHER_SEED)
    end, runs = None, []
    try:
        with accord.together("the start"):
            folder = command.named_folder(config)
            comparison = command.prepare(config, console, mesh, seeds[0])
            folder = command.shared_folder(folder, config, accord)
        place = RunFolder(folder, {"config": config.asked}, config.raw, accord)
        for seed in seeds:
            if runs:  # all that can be refused was refused with the first
                begin = time.perf_counter()
                comparison = command.prepare(config, console, mesh, seed)
            training = comparison.run(
                folder / _name(config, seed),
                checkpoint_minutes=config.checkpoint_minutes,
                options=config.raw,
            )
            end = command.carry_out(comparison, training, console, errors, begin)
            runs.append(comparison.results)
            if end.code or end.signal is not None or not _has_ended(comparison.results):
                break
    except RankError as error:
        return command.failed(error, errors)
    finally:
        if place is not None:
            place.close()
    assert end is not None
    code, whole = end.code, len(runs) == len(seeds) and _has_ended(runs[-1])
    if mesh.rank == 0 and whole:
        code = _show(Variance.of(factorial, runs), folder, console, errors) or code
    return command.tell_end(end, code, runs[-1], folder, console, errors)


def _name(config: Config, seed: int) -> str:
    """The folder of a teacher's students."""
    return f"teacher-{seed}" if config.teacher_file is None else "teacher-given"


def _has_ended(results: Results) -> bool:
    return len(results.methods) + len(results.failed) == len(results.config["methods"])


def _show(variance: Variance, folder: Path, console: Console, errors: Console) -> int:
    """Write and print what was measured; return 1 where it cannot be written."""
    code = 0
    try:
        variance.write(folder)
    except OSError as error:
        errors.print(f"compare: the results cannot be written: {error}", markup=False)
        code = 1
    table.show(console, variance_table.table(variance))
    for line in variance_table.sentences(variance):
        console.print(line, markup=False, highlight=False)
    return code
