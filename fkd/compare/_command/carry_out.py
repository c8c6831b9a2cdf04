"""A comparison's training from its start to its end, as the console tells it."""

import shlex
import signal
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from fkd.compare._accord import Accord
from fkd.compare._command.console import PIPE, READER_GONE, Display, reader_gone, tell
from fkd.compare._command.signals import Stop
from fkd.compare.failure import RankError, failure_of
from fkd.compare.results import Results
from fkd.compare.run import Comparison, Progress
from fkd.compare.vary import TEACHER


class End(NamedTuple):
    """How the training of all methods ended: the exit code of an error that ended all, whether by
    it a rank was lost, the number of the signal that stopped it, and whether a result could not be
    written, which ends nothing."""

    accord: Accord
    code: int
    lost: bool
    signal: int | None
    unwritten: bool = False


def carry_out(
    comparison: Comparison,
    training: Generator[Progress],
    console: Console,
    errors: Console,
    begin: float,
) -> End:
    """Train all there is to train, show how far it is, and tell what failed."""
    results, accord = comparison.results, comparison.accord
    results.seconds["preparation"] = time.perf_counter() - begin  # which the library does not know
    error = None
    with Stop() as stop:
        try:
            follow(comparison, training, console, stop)
        except Exception as own:  # in the teacher's training, so that nothing can be compared
            error = accord.told(own)
        finally:
            training.close()  # and so saves where it stands
    for trouble in comparison.troubles:
        errors.print(f"compare: {trouble}", markup=False)
    for name, failure in results.failed.items():
        if name != TEACHER:  # which ends all, and is told as the error that it is
            errors.print(f"compare: {name}: {failure.reason}", markup=False)
    code = 0 if error is None else failed(error, errors)
    lost = isinstance(error, RankError) and error.lost
    return End(accord, code, lost, accord.stop or stop.signal, bool(comparison.unwritten))


def tell_end(
    end: End, code: int, results: Results, folder: Path, console: Console, errors: Console
) -> int:
    """Tell where everything is, and how to go on where a signal came: the exit code, on which all
    ranks agree."""
    if peak := results.environment.get("peak_memory"):
        console.print(f"Peak memory: {peak:.2f} GiB", highlight=False)
    console.print(f"Written to {folder}", markup=False, soft_wrap=True)
    if TEACHER in results.failed:
        text = "no student of this teacher was trained; to train another, by other options, start"
        errors.print(f"compare: {text} anew with another --output than {folder}", markup=False)
    kinds = {failure.kind for failure in results.failed.values()}
    code = code or (0 if not kinds else 3 if kinds == {"diverged"} else 1) or int(end.unwritten)
    again = f"python -m fkd.compare --resume {shlex.quote(str(folder))}"
    if end.unwritten:
        text = f"not all could be written; make that possible, as by room on the disk, and: {again}"
        errors.print(f"compare: {text}", markup=False)
    if end.signal is not None and end.signal != PIPE:
        name = signal.Signals(end.signal).name
        text = f"stopped by {name}; to go on: {again}"
        errors.print(f"compare: {text}", markup=False)
        code = 128 + end.signal
    elif reader_gone(console):
        code = READER_GONE
    if end.lost:
        return code
    try:
        return end.accord.share("the end", code)[0]  # when the first has written all there is
    except RankError as lost:
        return failed(lost, errors)


def failed(error: Exception, errors: Console) -> int:
    """Tell why nothing can be compared: the exit code."""
    failure = failure_of(error)
    if isinstance(error, RankError) and error.lost:
        errors.quiet = False  # whoever is left tells it, for the first may be the one that is lost
    errors.print(f"compare: {failure.reason}", markup=False)
    return 3 if failure.kind == "diverged" else 1


def follow(
    comparison: Comparison, training: Generator[Progress], console: Console, stop: Stop
) -> None:
    """Show how far the comparison is, until its end or a signal, or where nobody reads it."""
    results, accord = comparison.results, comparison.accord
    tell(comparison, console)
    accuracy_told, notes, troubles = False, len(comparison.notes), 0
    with Display(console) as display:
        for progress in training:
            notes = _tell_new(console, comparison.notes, notes)
            try:
                display.show(progress)
            except BrokenPipeError:
                accord.wish(stop=PIPE)
            if results.teacher and not accuracy_told:
                console.print(f"Teacher accuracy: {100 * results.teacher.accuracy:.2f} %")
                accuracy_told = True
            troubles = _tell_new(console, comparison.troubles, troubles)
            if stop.signal is not None:
                accord.wish(stop=stop.signal)
            if accord.stop is not None:
                return
    _tell_new(console, comparison.notes, notes)


def _tell_new(console: Console, lines: Sequence[str], told: int) -> int:
    """Print the lines behind those that were told; how many are told now."""
    for line in lines[told:]:
        console.print(line, markup=False)
    return len(lines)
