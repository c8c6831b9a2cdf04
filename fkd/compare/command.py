"""The command line: a comparison of the tutorial's networks, told on the console and in files."""

import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from fkd.compare import conclusions
from fkd.compare._accord import Accord
from fkd.compare._command.carry_out import carry_out, failed, tell_end
from fkd.compare._command.console import consoles, nothing_told
from fkd.compare._command.options import Config, in_flags, parse
from fkd.compare._command.prepare import named_folder, prepare, shared_folder
from fkd.compare._several.teachers import teachers
from fkd.compare._several.vary import vary
from fkd.compare.environment import own_rank
from fkd.compare.failure import RankError
from fkd.compare.presentation import table
from fkd.compare.report import command as report_command
from fkd.compare.run import Comparison
from fkd.distributed import Mesh, started


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison, or behind the word `report` write that of runs. Return 0; 1 where a
    method failed otherwise than by divergence, 2 where the comparison was refused, 3 where a method
    diverged, 128 and its number where a signal stopped it (130 of Ctrl-C, 143 of SIGTERM, 129 of
    SIGHUP), or 141 where nobody reads the console. Of the many processes that torchrun starts each
    returns the same, and the first alone tells and writes.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == [report_command.NAME]:
        return report_command.main(words[1:])
    rank = own_rank()
    console, errors = consoles(rank)
    begin = time.perf_counter()
    try:
        with nothing_told() if rank else nullcontext():
            config = parse(words)
        # What one rank is warned of all are, as of a step that cannot be compiled.
        quiet = warnings.catch_warnings(action="ignore") if rank else nullcontext()
        with quiet, started(config.data_ranks) as mesh:
            if config.factorial is not None:
                return vary(config, mesh, console, errors, begin)
            if config.teachers is not None:
                return teachers(config, mesh, console, errors, begin)
            return _compare(config, mesh, console, errors, begin)
    except ValueError as error:
        errors.print(f"compare: {in_flags(str(error))}", markup=False)
        return 2
    except KeyboardInterrupt:
        errors.print("compare: stopped before it began", markup=False)
        return 130


def _compare(config: Config, mesh: Mesh, console: Console, errors: Console, begin: float) -> int:
    """Run the comparison on this rank; raises ValueError where it is refused."""
    accord = Accord(mesh)
    try:
        with accord.together("the start"):
            folder = named_folder(config)
            comparison = prepare(config, console, mesh)
            folder = shared_folder(folder, config, accord)
            minutes = config.checkpoint_minutes
            training = comparison.run(folder, checkpoint_minutes=minutes, options=config.raw)
    except RankError as error:
        return failed(error, errors)
    end = carry_out(comparison, training, console, errors, begin)
    code, results = end.code, comparison.results
    # Of a run that was cut short, what was finished.
    if mesh.rank == 0 and (results.methods or results.failed):
        code = _show(comparison, folder, console, errors) or code
    return tell_end(end, code, results, folder, console, errors)


def _show(comparison: Comparison, folder: Path, console: Console, errors: Console) -> int:
    """Write, draw and print what was measured; return 1 where it cannot be written."""
    results = comparison.results
    code = report_command.write_all(results, folder, errors)
    table.show(console, table.table(results))
    console.print(conclusions.sentence(results), markup=False, highlight=False)
    for line in table.choices(results):
        console.print(line, markup=False, highlight=False)
    console.print(table.caption(results), markup=False)
    return code
