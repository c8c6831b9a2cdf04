"""Results as tables: for a terminal, and as Markdown with what may be concluded and what the
figures are."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from fkd.compare import conclusions, sweep
from fkd.compare._sentence import line
from fkd.compare.conclusions import Difference
from fkd.compare.failure import Failure
from fkd.compare.presentation import _rich
from fkd.compare.presentation._caption import adjusted, caption, caption_of_wide, why_at_odds
from fkd.compare.presentation._numbers import (
    NATS,
    NOTHING,
    POINTS,
    Unit,
    bounds,
    number,
    p_value,
    with_spread,
)
from fkd.compare.results import Results
from fkd.statistics import Choice, interval

__all__ = ["caption", "choices", "failures", "markdown", "others", "show", "table"]

# Beside accuracy: what heads a metric's column, and its unit.
OTHERS = {
    "teacher_agreement": ("agreement %", POINTS),
    "calibration_error": ("calibration error %", POINTS),
    "test_loss": ("test loss, nats", NATS),
}


class Column(NamedTuple):
    """What heads a column, and its cells by method."""

    title: str
    cells: Mapping[str, str]


def table(results: Results, style: box.Box = box.SIMPLE_HEAD, wide: bool = False) -> Table:
    """A row a method: accuracy, how it differs from the baseline, agreement, seconds. Of one that
    failed, it says how. A star stands with those that cannot be told from the best.

    With `wide`, also how it differs for all methods at once, and on images like these, where
    answers were kept; the accuracy at each seed's best epoch, how far that is above the last one's,
    and what it would add to the difference; and the accuracy of the running averages of weights,
    where they were kept. The agreement stands in `others` then.
    """
    accuracies = {name: results.accuracy(name) for name in results.methods}
    differences = conclusions.differences(results)
    columns = [
        Column("accuracy %", {name: with_spread(x) for name, x in accuracies.items()}),
        Column("95 % interval", {name: bounds(x.low, x.high) for name, x in accuracies.items()}),
        _stars(results, "test_accuracy"),
        _means(results, differences),
        Column("95 % interval", {k: bounds(x.low, x.high, "+") for k, x in differences.items()}),
        Column("p", {name: p_value(x.p) for name, x in differences.items()}),
    ]
    if wide:
        columns += _at_once(differences) + _further(results, differences)
    else:
        each = {name: number(results.agreement(name).mean) for name in results.methods}
        columns.append(Column("agree", each))
    seconds = {name: one.seconds for name, one in results.methods.items()}
    columns.append(
        Column("s", {name: f"{x['first_step'] + x['steps']:.1f}" for name, x in seconds.items()})
    )
    rows = _by_method(results, columns, style)
    for name, failure in results.failed.items():
        rows.add_row(_rich.cell(name, style), failure.word)
    return rows


def others(results: Results, style: box.Box = box.SIMPLE_HEAD) -> Table:
    """A row a method: agreement with the teacher, calibration error and loss on the test set, and
    how they differ from the baseline for all methods at once."""
    columns = []
    for metric, (title, unit) in OTHERS.items():
        kept = {name: x for name, x in results.methods.items() if metric in x.curves}
        if kept:
            means = {name: interval(x.last(metric)).mean for name, x in kept.items()}
            told = {name: number(mean, "", unit) for name, mean in means.items()}
            differences = conclusions.differences(results, metric)
            columns += [
                Column(title, told),
                _stars(results, metric),
                _means(results, differences, unit),
                *_at_once(differences, unit),
            ]
    return _by_method(results, columns, style)


def _by_method(results: Results, columns: Sequence[Column], style: box.Box) -> Table:
    rows = _rich.empty(style, ["method"], [column.title for column in columns])
    for name in results.methods:
        rows.add_row(_rich.cell(name, style), *(column.cells.get(name, "") for column in columns))
    return rows


def _means(results: Results, differences: Mapping[str, Difference], unit: Unit = POINTS) -> Column:
    """The mean differences from the baseline."""
    each = {name: number(x.mean, "+", unit) for name, x in differences.items()}
    return Column(f"− {results.baseline}", each)


def _at_once(differences: Mapping[str, Difference], unit: Unit = POINTS) -> list[Column]:
    """What holds of differences for all methods at once."""
    each = {name: bounds(x.joint_low, x.joint_high, "+", unit) for name, x in differences.items()}
    sure = {name: adjusted(x) for name, x in differences.items()}
    return [Column("95 % at once", each), Column("p at once", sure)]


def _stars(results: Results, metric: str) -> Column:
    """Which methods cannot be told from the best, where there are several."""
    several = len(results.methods) > 1 and results.seeds > 1
    return Column("*", dict.fromkeys(conclusions.best(results, metric) if several else (), "*"))


def _further(results: Results, differences: Mapping[str, Difference]) -> list[Column]:
    """On images like these, at the best epoch, and of running averages."""
    columns = []
    images = {name: x.images_told for name, x in differences.items() if x.images}
    if images:
        told = {name: bounds(x.low, x.high, "+") if x else NOTHING for name, x in images.items()}
        columns.append(Column(f"95 % on {results.data.unit} like these", told))
    best = {name: results.best(name).mean for name in results.methods}
    above = {name: mean - results.accuracy(name).mean for name, mean in best.items()}
    added = {
        name: f"{number(x.difference, '+')} {bounds(x.low, x.high, '+')}"
        for name, x in conclusions.epochs(results).items()
        if x is not None
    }
    columns += [
        Column("best epoch %", {name: number(mean) for name, mean in best.items()}),
        Column("best − last", {name: number(mean, "+") for name, mean in above.items()}),
        Column("best adds", added),
    ]
    averages = {name: results.average(name) for name in results.methods}
    if any(averages.values()):
        told = {name: number(x.mean if x else None) for name, x in averages.items()}
        columns.append(Column("average %", told))
    return columns


def show(console: Console, rows: Table) -> None:
    """Print a table whole: past the edge of a narrow terminal rather than with figures cut."""
    needed = console.measure(rows, options=console.options.update(max_width=_rich.WIDEST)).maximum
    Console(file=console.file, width=max(needed, console.width)).print(rows)


def markdown(results: Results) -> str:
    """The content of table.md: what may be concluded, the rows, agreement and the like, a footnote
    where interval and p-value are at odds, who failed and why, what a sweep chose, the caption."""
    items = [f"- {line}" for line in [*failures(results.failed), *choices(results)]]
    each = [conclusions.differences(results, metric) for metric in conclusions.METRICS]
    footnote = why_at_odds([one for told in each for one in told.values()], results.seeds)
    return _rich.markdown(
        [
            [conclusions.sentence(results)],
            _rich.lines_of(table(results, box.MARKDOWN, wide=True)),
            _rich.lines_of(others(results, box.MARKDOWN)) if results.methods else [],
            [footnote] if footnote else [],
            items,
            [f"{caption(results)} {caption_of_wide(results)}"],
        ]
    )


def failures(failed: Mapping[str, Failure]) -> list[str]:
    """Who failed and why, a line each; the whole reason stands in the record's file."""
    short = partial(textwrap.shorten, width=300, placeholder=" …")
    return [f"{line(name)} failed: {short(failure.reason)}" for name, failure in failed.items()]


def choices(results: Results) -> list[str]:
    """What a sweep chose for each method that it swept, and what that is worth, in lines."""
    lines = []
    for name, method in results.methods.items():
        if method.sweep:
            lines += sweep.tell(name, method.sweep)
            if worth := conclusions.setting(results, name):
                lines.append(f"{name}: {_worth(worth)}")
    return lines


def _worth(choice: Choice) -> str:
    """What choosing a setting on validation is worth on the test set."""
    worth, optimism = choice.worth, choice.optimism
    return (
        f"the setting that a seed alone would choose is {number(worth.difference, '+')} "
        f"points {bounds(worth.low, worth.high, '+')} above the mean of all settings on the "
        f"test set; validation tells {number(optimism.difference, '+')} "
        f"{bounds(optimism.low, optimism.high, '+')} too much of it"
    )
