"""The console: streams and signs that are not what they should be, and how far a run is."""

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from compare.comparison_records import method, record

from fkd.compare import Progress
from fkd.compare._command.console import (
    READER_GONE,
    Display,
    console_on,
    consoles,
    fitting,
    reader_gone,
)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "98.1 ± 0.2 − – … ★ é"),
        ("latin-1", "98.1 ± 0.2 - - ... * é"),
        ("cp1252", "98.1 ± 0.2 - – … * é"),
        ("ascii", "98.1 +- 0.2 - - ... * \\xe9"),
    ],
)
def test_a_sign_that_a_console_lacks_is_another(encoding, shown):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    console_on(stream).print("98.1 ± 0.2 − – … ★ é")
    assert raw.getvalue().decode(encoding) == f"{shown}\n"


def test_what_turns_while_one_waits_is_a_star():
    assert fitting("⠋ reading digits", "ascii") == "* reading digits"


def test_a_name_that_is_no_text_is_told_by_its_numbers():
    assert fitting(os.fsdecode(b"\xff"), "utf-8") == "\\udcff"


class Closed(io.StringIO):
    """A pipe whose reader has gone, or a file on a full disk."""

    def __init__(self, error: OSError):
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


RESULTS = record({"ce": method([0.5, 0.6])})  # which nothing here looks at


def at(step: int, what: str = "kd", steps: int = 100, left: float | None = None) -> Progress:
    return Progress(what, step, steps, False, RESULTS, None, left)


def test_a_pipe_that_is_closed_raises_where_a_run_is_shown_and_nowhere_else():
    console = console_on(Closed(BrokenPipeError()))
    console.print("the first line")
    assert reader_gone(console)
    console.print("the second line")
    with pytest.raises(BrokenPipeError), Display(console) as display:
        display.show(at(1))


def test_a_log_on_a_full_disk_ends_and_the_run_goes_on():
    console = console_on(Closed(OSError(28, "No space left on device")))
    console.print("the first line")
    with Display(console) as display:
        display.show(at(1))
    assert not reader_gone(console)


def test_a_stream_that_is_closed_ends_and_nothing_is_raised():
    text = io.StringIO()
    console = console_on(text)
    text.close()
    console.print("the first line")
    console.file.flush()
    console.file.close()  # as Python does when nobody holds it any more
    assert not reader_gone(console)


def test_a_terminal_that_hangs_up_ends_and_the_run_goes_on():
    master, slave = os.openpty()
    with open(slave, "w", encoding="utf-8") as terminal:
        console = console_on(terminal, _environ={"TERM": "xterm"})
        with Display(console) as display:
            display.show(at(1))
            shown = b""
            while b"/100" not in shown:
                shown += os.read(master, 1 << 16)
            os.close(master)
            display.show(at(2))
        console.print("the last line")
    assert not reader_gone(console)


def test_a_console_that_is_not_there_is_none(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    console, _ = consoles()
    console.print("nothing")
    assert not reader_gone(console)


def test_without_a_terminal_there_is_a_line_at_each_tenth():
    text = io.StringIO()
    with Display(console_on(text)) as display:
        for what in ("ce", "kd"):
            for step in range(101):
                display.show(at(step, what))
    lines = text.getvalue().splitlines()
    assert [line.partition(" of ")[0] for line in lines] == [
        f"{what}: {step}" for what in ("ce", "kd") for step in range(0, 101, 10)
    ]
    assert lines[-1] == "kd: 100 of 100 steps"


def test_the_time_of_the_whole_run_stands_beside_once_it_is_known():
    text = io.StringIO()
    with Display(console_on(text)) as display:
        display.show(at(0))
        display.show(at(10, left=3725.4))
        display.show(at(100, left=60.0))
    before, during, after = text.getvalue().splitlines()
    assert "whole run" not in before + after
    assert during.endswith(", whole run 1:02:05")


def test_without_a_terminal_there_is_a_line_each_minute(monkeypatch):
    clock = iter(range(0, 10_000, 40))
    monkeypatch.setattr(
        "fkd.compare._command.console.time", SimpleNamespace(monotonic=lambda: next(clock))
    )
    text = io.StringIO()
    with Display(console_on(text)) as display:
        for step in range(9):
            display.show(at(step))
    assert 4 <= len(text.getvalue().splitlines()) < 9


@pytest.mark.parametrize("term", ["xterm", "dumb"])
@pytest.mark.parametrize("width", [20, 40, 200])
def test_a_terminal_of_any_width_has_a_bar_and_one_that_cannot_move_has_lines(term, width):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    text = Terminal()
    environment = {"TERM": term, "NO_COLOR": ""}
    console = console_on(text, width=width, force_terminal=True, _environ=environment)
    with Display(console) as display:
        for step in range(101):
            display.show(at(step))
    assert ("\x1b[" in text.getvalue()) == (term == "xterm")
    assert "100 of 100" not in text.getvalue() or term == "dumb"


def test_of_many_trainings_a_terminal_has_the_last_bars():
    with Display(console_on(io.StringIO())) as display:
        for number in range(20):
            display.show(at(100, f"round {number}"))
    shown = [task.description for task in display.bar.tasks if task.visible]
    assert shown == [f"round {number}" for number in range(8, 20)]


COMMAND = [
    *(sys.executable, "-m", "fkd.compare", "--methods", "ce", "--epochs", "1", "--seeds", "1"),
    *("--image-size", "8", "--teacher-model", "resnet8", "--student-model", "resnet8"),
]


# A terminal of 40 columns, in a locale where Python opens files in ASCII unless it is told.
NARROW = {"COLUMNS": "40", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def quick(folder: Path, encoding: str = "utf-8", **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--no-compile", "--output", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding=encoding,
        env=os.environ | environment,
    )


@pytest.mark.slow
def test_a_reader_that_goes_ends_the_run_quietly(tmp_path):
    with quick(tmp_path / "out") as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline().startswith("Teacher ResNet")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == READER_GONE


@pytest.mark.slow
def test_a_run_ends_well_where_signs_are_lacking(tmp_path):
    # In ASCII all are, of which each other encoding lacks a part.
    process = quick(tmp_path / "out", "ascii", PYTHONIOENCODING="ascii", **NARROW)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "Written to" in out and "mean +- deviation" in " ".join(out.split())
    assert "deviation" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_help_that_nobody_reads_is_quiet():
    with subprocess.Popen(
        [*COMMAND, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
