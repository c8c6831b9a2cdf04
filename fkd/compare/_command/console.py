"""The console: what a comparison tells there, and signs and streams that may not be what they are.

Nothing here stops the work behind it, but for a pipe whose reader has gone.
"""

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from fkd.compare._counted import counted
from fkd.compare.run import Comparison
from fkd.compare.run import Progress as At

# What stands for a sign that a console cannot show; for any other its number does.
SIGNS = {"−": "-", "–": "-", "±": "+-", "…": "...", "★": "*", "×": "x", "≥": ">=", "²": "^2"}
DOTS = ("⠀", "⣿")  # the first and the last sign in braille, of which what turns is made
# The layers whose shapes are told, where a network has them.
LAYERS = {"hidden": "hidden representation", "feature_map": "feature map"}
PIPE = 13  # SIGPIPE, which Windows does not know
READER_GONE = 128 + PIPE  # the exit code, as of any program that a closed pipe ends
BARS = 12  # on a terminal, which shows the first lines alone where there are more than fit
MINUTE = 60.0  # seconds; without a terminal a line tells how far it is at least so often


class Stream(io.TextIOBase):
    """A stream for a console that shows what it can, and raises nothing.

    A sign that the encoding lacks becomes another. Once nothing can be written, for the reader of a
    pipe has gone, a terminal has hung up, a disk is full or the stream is closed, nothing more is:
    Python, which flushes a `Stream` when it collects it, tells an error there from 3.13 on.
    """

    def __init__(self, stream: Any):
        self.stream = stream
        self.lost = False
        self.reader_gone = False

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        if not self.lost:
            try:
                self.stream.write(fitting(text, self.encoding))
            except (OSError, ValueError) as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        if not self.lost:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def _lose(self, error: OSError | ValueError) -> None:
        self.lost, self.reader_gone = True, isinstance(error, BrokenPipeError)
        # What is still in the buffer is written when Python ends, and must not fail then.
        with suppress(OSError, ValueError):  # a stream that is no file has no number
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


def fitting(text: str, encoding: str) -> str:
    """The text in signs that an encoding has.

    >>> fitting("97.2 ± 0.3 – café", "ascii")
    '97.2 +- 0.3 - caf\\\\xe9'
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_fitting(sign, encoding) for sign in text)
    return text


def _fitting(sign: str, encoding: str) -> str:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        if DOTS[0] <= sign <= DOTS[1]:
            return "*"
        return SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode()
    return sign


def consoles(rank: int = 0) -> tuple[Console, Console]:
    """The console for what is told, and the one for errors; of many ranks the first alone tells."""
    quiet = rank > 0
    errors = console_on(sys.stderr, quiet=quiet, stderr=True, style="bold red", soft_wrap=True)
    return console_on(sys.stdout, quiet=quiet), errors


@contextmanager
def nothing_told() -> Iterator[None]:
    """What is written to the console goes nowhere."""
    with redirect_stdout(None), redirect_stderr(None):
        yield


def console_on(stream: Any, **options: Any) -> Console:
    """A console on a `Stream`; one that Python was started without is nowhere."""
    return Console(file=None if stream is None else cast(TextIO, Stream(stream)), **options)


def reader_gone(console: Console) -> bool:
    """Whether nobody reads the console any more: it is a pipe that was closed, as by `| head`."""
    return isinstance(console.file, Stream) and console.file.reader_gone


def tell(comparison: Comparison, console: Console) -> None:
    """Print what is compared, before it runs."""
    results = comparison.results
    for role, name in results.networks.items():
        count = results.parameters[role]
        console.print(
            f"{role.capitalize()} {name}: {counted(count, 'parameter')}",
            markup=False,
            highlight=False,
        )
    for layer, title in LAYERS.items():
        for role, shapes in results.shapes.items():
            if layer in shapes:
                console.print(f"Shape of the {role}'s {title}: {shapes[layer]}")
    for note in comparison.notes:
        console.print(note, markup=False)


class Display:
    """How far a comparison is, as long as it is entered: a bar for all that goes on one after the
    other on a terminal, which keeps the last few, and elsewhere a line at each tenth of it and at
    least each minute. Beside the time that is left of what goes on stands that of the whole run,
    once it is known."""

    def __init__(self, console: Console):
        self.console = console
        on_terminal = console.file.isatty() and console.is_terminal and not console.is_dumb_terminal
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[whole]}"),
            console=console,
            disable=not on_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._last: tuple[TaskID, int] | None = None  # what the last line told: which tenth of what
        self._told = time.monotonic()

    def __enter__(self) -> "Display":
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def show(self, at: At) -> None:
        """Show how far it is; raises BrokenPipeError where nobody reads it any more."""
        if at.what not in self._tasks:
            self._tasks[at.what] = self.bar.add_task(at.what, total=at.steps, whole="")
            for earlier in [*self._tasks.values()][:-BARS]:
                self.bar.update(earlier, visible=False)
        number = self._tasks[at.what]
        what = f"{at.what}, compiling" if at.compiling else at.what
        whole = "" if at.left is None or at.step == at.steps else f"whole run {_duration(at.left)}"
        self.bar.update(number, completed=at.step, description=what, whole=whole)
        if self.bar.disable:
            self._tell(next(task for task in self.bar.tasks if task.id == number))
        if reader_gone(self.console):
            raise BrokenPipeError("the reader of the console has gone")

    def _tell(self, task: Task) -> None:
        tenth = (task.id, int(task.percentage // 10))
        if tenth == self._last and time.monotonic() - self._told < MINUTE:
            return
        self._last, self._told = tenth, time.monotonic()
        left = task.time_remaining
        when = "" if left is None or task.finished else f", {_duration(left)} left"
        when += f", {task.fields['whole']}" if task.fields["whole"] else ""
        steps = counted(int(task.total or 0), "step")
        self.console.print(
            f"{task.description}: {task.completed:,.0f} of {steps}{when}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
