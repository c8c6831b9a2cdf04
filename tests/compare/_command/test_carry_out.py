"""How a run is told to have ended: where everything is, and what to type to go on."""

import io
import shlex
import signal
from pathlib import Path

import pytest
from compare.comparison_records import method, record
from rich.console import Console

from fkd.compare._accord import Accord
from fkd.compare._command.carry_out import End, tell_end
from fkd.distributed import Mesh


@pytest.mark.parametrize("name", ["out", "my runs [v2]", "it's é", "[bold]"])
def test_a_folder_is_told_by_its_name(name):
    console, errors = Console(file=io.StringIO()), Console(file=io.StringIO(), soft_wrap=True)
    end = End(Accord(Mesh()), code=0, lost=False, signal=signal.SIGTERM)
    results = record({"ce": method([0.5, 0.75])})
    assert tell_end(end, 0, results, Path(name), console, errors) == 128 + signal.SIGTERM
    assert f"Written to {name}\n" in console.file.getvalue()  # pyright: ignore
    told = errors.file.getvalue().strip()  # pyright: ignore
    assert shlex.split(told.partition("to go on: ")[2])[-2:] == ["--resume", name]


def test_a_result_that_could_not_be_written_is_in_the_exit_code():
    console, errors = Console(file=io.StringIO()), Console(file=io.StringIO())
    end = End(Accord(Mesh()), code=0, lost=False, signal=None, unwritten=True)
    results = record({"ce": method([0.5, 0.75])})
    assert tell_end(end, 0, results, Path("out"), console, errors) == 1
    assert tell_end(end._replace(unwritten=False), 0, results, Path("out"), console, errors) == 0
