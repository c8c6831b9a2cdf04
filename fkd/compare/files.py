"""The files of a record: of a comparison, a factorial or several teachers.

    from fkd.compare import files
    files.write("runs/digits", results)
    files.draw("runs/digits", results)

`Results.read`, `Variance.read` and `Teachers.read` read it back.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fkd import _check
from fkd.compare import _record_file, conclusions, results, teachers, variance
from fkd.compare.results import Results
from fkd.compare.teachers import Teachers
from fkd.compare.variance import Variance

Record = Results | Variance | Teachers


class _Names(NamedTuple):
    """Of a kind of record: the file of its numbers, what makes these, and that of its table."""

    numbers: str
    to_json: Callable[[Any], dict[str, Any]]
    table: str


KINDS: dict[type, _Names] = {
    Results: _Names(results.FILE, conclusions.to_json, "table.md"),
    Variance: _Names(variance.FILE, Variance.to_json, "variance.md"),
    Teachers: _Names(teachers.FILE, Teachers.to_json, "teachers.md"),
}


def write(folder: str | Path, record: Record) -> None:
    """Write a record into a folder in UTF-8, each file whole or not at all: `results.json` and
    `table.md`, or those of the same kind that are named `variance` or `teachers`.

    Raises ValueError for what is no record, and OSError where the folder cannot be written.
    """
    write_numbers(folder, record)
    write_table(folder, record)


def write_numbers(folder: str | Path, record: Record) -> None:
    """Write its numbers alone, of which all else can be made again."""
    kind = _kind("write_numbers", record)
    _record_file.write(Path(folder) / kind.numbers, kind.to_json(record))


def write_table(folder: str | Path, record: Record) -> None:
    """Write its table alone."""
    kind = _kind("write_table", record)
    # Late, for rich is of the extra `compare`.
    from fkd.compare.presentation import table, teachers_table, variance_table

    tables = {Results: table, Variance: variance_table, Teachers: teachers_table}
    _record_file.write(Path(folder) / kind.table, tables[type(record)].markdown(record))


def draw(folder: str | Path, record: Record) -> None:
    """Draw a record into a folder: accuracy.png, curves.png, and sweep-METHOD.png for each method
    that was swept; or variance.png, the deviation that each source brings; or teachers.png, each
    method's difference from the baseline with each teacher.

    Raises ValueError for what is no record, and OSError where the folder cannot be written.
    """
    _kind("draw", record)
    # Late, for matplotlib is of the extra `compare`.
    from fkd.compare.presentation import figures, teachers_figures, variance_figures

    pictures = {Results: figures, Variance: variance_figures, Teachers: teachers_figures}
    pictures[type(record)].write(Path(folder), record)


def _kind(where: str, record: Record) -> _Names:
    _check.instance(where, tuple(KINDS), "Results, Variance or Teachers", record=record)
    return KINDS[type(record)]
