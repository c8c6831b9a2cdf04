"""What varies, as a part of the page."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fkd.compare._counted import counted
from fkd.compare._sentence import line, listed
from fkd.compare.presentation import variance_figures, variance_table
from fkd.compare.presentation._numbers import number
from fkd.compare.presentation.variance_table import DRAWN, SEEDS, TITLES
from fkd.compare.report import _question, _tables
from fkd.compare.report._part import Part, Picture, Pictures, Section, drawn
from fkd.compare.report._pictures import WIDTH
from fkd.compare.report._table import Column, Row, Table
from fkd.compare.variance import SHARED, Variance, deviation
from fkd.compare.vary import TEACHER
from fkd.statistics import Component

Parts = Mapping[str, Mapping[str, Component]]


def part(key: str, name: str, variance: Variance) -> Part:
    """What the page shows of a factorial: its sources in accuracies and in differences."""
    config = {option: value for option, value in variance.config.items() if option != "seeds"}
    return Part(
        variance,
        key=key,
        name=name,
        title=f"What varies on {variance.summary}",
        lacking="; ".join(variance.lacking),
        question=[_which(variance), _students(variance)],
        conclusion=variance_table.concluded(variance),
        sections=[*_accuracy(key, variance), *_difference(key, variance)],
        settings=_tables.settings(config, variance.baseline, {}),
        environment=_tables.environment(
            variance.device, variance.environment, {"total": variance.seconds}
        ),
    )


def _which(variance: Variance) -> str:
    sources = listed([DRAWN[source] for source in variance.factorial.sources])
    names = listed(list(variance.accuracy)) or "a student"
    asked = f"How much does the accuracy of {names} on {line(variance.data.name)} vary with"
    base = line(variance.baseline)
    rest = f", and how much the difference from {base}" if variance.compared else ""
    return f"{asked} {sources}{rest}?"


def _students(variance: Variance) -> str:
    plan = variance.factorial
    teachers = len(plan.teacher_seeds(0))
    levels = f"every combination of {counted(plan.levels, 'level')} of {listed(plan.within)}"
    if not plan.within:
        levels = "one with each teacher"
    taught = "one teacher"
    if TEACHER in plan.sources:
        taught = f"each of {counted(teachers, 'teacher')}"
    return (
        f"{counted(len(plan.seeds) * teachers, 'student')} of each method "
        f"({_question.model(variance.config, 'student')}), {levels}, learned from {taught} "
        f"({_question.model(variance.config, 'teacher')}) {_question.tested(variance)}."
    )


def _accuracy(key: str, variance: Variance) -> list[Section]:
    parts = variance.of_methods
    if not parts:
        return []
    means = {name: number(float(np.mean(variance.accuracy[name]))) for name in parts}
    caption = "Deviation that each source brings into test accuracy, in points"
    return [_section(key, "accuracy", "Accuracy", caption, "mean %", parts, means)]


def _difference(key: str, variance: Variance) -> list[Section]:
    parts = variance.of_differences
    if not parts:
        return []
    means = {name: number(float(np.mean(variance.difference(name))), "+") for name in parts}
    title = f"Difference from {line(variance.baseline)}"
    caption = f"Deviation that each source brings into the {title[0].lower()}{title[1:]}, in points"
    mean = "mean, points"
    section = _section(key, "difference", title, caption, mean, parts, means)
    widths = _widths(variance)
    return [section._replace(parts=[*section.parts, *([] if widths is None else [widths])])]


def _section(
    key: str, name: str, title: str, caption: str, head: str, parts: Parts, means: Mapping[str, str]
) -> Section:
    picture = Picture(variance_figures.draw(parts, WIDTH), caption, f"{variance_figures.TEXT}.")
    plain = of_parts(f"{caption}, and its 95 % interval", parts)
    rows = [Row(row.head, [means[row.head], *row.cells]) for row in plain.rows]
    table = replace(plain, columns=[Column(head), *plain.columns], rows=rows)
    return Section(name, title, [table, Pictures(drawn(f"{key}-{name}", [picture]))])


def of_parts(caption: str, parts: Parts) -> Table:
    """The deviation that each source brings into each of what varies, with its interval."""
    sources = list(next(iter(parts.values())))
    columns = [Column(source, ("component",)) for source in sources]
    rows = [
        Row(name, [_within(each[source]) for source in sources]) for name, each in parts.items()
    ]
    return Table(caption, Column("of"), columns, rows)


def _within(one: Component) -> str:
    at, low, high = (deviation(variance) for variance in (one.variance, one.low, one.high))
    return f"{at:.2f} [{low:.2f}, {high:.2f}]"


def _widths(variance: Variance) -> Table | None:
    """How much wider an interval of seeds that share a source would have to be; None where that is
    not known."""
    shared = [source for source in SHARED if source in variance.factorial.sources]
    rows = []
    for name in variance.compared:
        widths = [variance.width(name, source, SEEDS) for source in shared]
        told = [f"{w.factor:.2f} [{w.low:.2f}, {w.high:.2f}]" for w in widths if w is not None]
        if shared and len(told) == len(shared):
            rows.append(Row(name, told))
    columns = [Column(f"one {TITLES[source]}", ("width",)) for source in shared]
    caption = (
        f"How many times as wide an interval over {SEEDS} seeds that share one would have to be to "
        "hold for others as well"
    )
    return Table(caption, Column("method"), columns, rows) if rows else None
