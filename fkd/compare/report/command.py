"""The sub-command `report`: runs that are there already, as one page."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from fkd.compare._command.console import READER_GONE, consoles, reader_gone
from fkd.compare._command.parser import Format, Parser, read
from fkd.compare._command.paths import path_of
from fkd.compare.report._file import write
from fkd.compare.report._records import Record
from fkd.compare.report._records import read as read_record

NAME = "report"  # the word behind `python -m fkd.compare` that asks for it
FILE = "report.html"
EPILOG = """\
It reads what each run left in its folder, and trains nothing. A report that fkd wrote is
replaced; any other file stays as it is. `python -m fkd.compare --help` tells of comparisons.
"""


def main(arguments: Sequence[str]) -> int:
    """Write the report of the runs that are named. Return 0; 2 where that was refused, 1 where the
    file cannot be written, 130 of Ctrl-C, or 141 where nobody reads the console."""
    console, errors = consoles()
    try:
        folders, output = _asked(arguments)
        write(output, {name: read_record(folder) for name, folder in folders.items()})
    except ValueError as error:
        errors.print(f"report: {error}", markup=False)
        return 2
    except OSError as error:
        errors.print(
            f"report: it cannot be written: {error}; --output gives another place", markup=False
        )
        return 1
    except KeyboardInterrupt:
        errors.print("report: stopped before it was written", markup=False)
        return 130
    console.print(f"Written to {output}", markup=False, soft_wrap=True)
    return READER_GONE if reader_gone(console) else 0


def write_all(record: Record, folder: Path, errors: Console) -> int:
    """Write a record, its pictures and its report into a folder, each whatever becomes of the
    others; return 1 where one cannot be, or 130 where Ctrl-C stopped that."""
    again = f"and train nothing anew: python -m fkd.compare --resume {shlex.quote(str(folder))}"
    writers = {
        "the results": partial(record.write, folder),
        "the pictures": partial(record.draw, folder),
        "the report": partial(write, folder / FILE, {folder.name: record}),
    }
    code = 0
    try:
        for what, writer in writers.items():
            try:
                writer()
            except (OSError, ValueError) as error:  # the last of a file that is not fkd's
                text = f"{what} cannot be written: {error}; to write them once they can be, {again}"
                errors.print(f"compare: {text}", markup=False)
                code = 1
    except KeyboardInterrupt:  # what was measured was written as it came
        text = f"stopped before all was drawn; to draw it, {again}"
        errors.print(f"compare: {text}", markup=False)
        return 130
    return code


def _asked(arguments: Sequence[str]) -> tuple[dict[str, Path], Path]:
    """The runs' folders by the names that they go by, and the file to write."""
    values = read(_parser(), arguments)
    paths = [path_of("RUN", text) for text in values["runs"]]
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError("RUN: each is to be named once, but one folder is named again")
    if values["output"] is None:
        output = paths[0] / FILE if len(paths) == 1 else Path(FILE)
    else:
        output = path_of("--output", values["output"])
        if not output.parent.is_dir():
            raise ValueError(f"--output: there is no folder {output.parent}; make it first")
    return _named(paths), output


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Each folder by its last name, and what stands before that where two have the same."""
    whole = [path.resolve() for path in paths]
    length = 1
    while len({path.parts[-length:] for path in whole}) < len(whole):
        length += 1
    return {"/".join(path.parts[-length:]): path for path in whole}


def _parser() -> Parser:
    parser = Parser(
        prog=f"python -m fkd.compare {NAME}",
        description="One page that can be sent: what runs asked, what may be concluded, and all "
        "that this rests on; several side by side, with the ranks of methods over them.",
        epilog=EPILOG,
        formatter_class=Format,
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="the folder of a run: a comparison, a factorial or several teachers",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=f"the page (default: {FILE} in the run's folder, or here where there are several)",
    )
    return parser
