"""The picture of what varies: the deviation that each source brings, and its interval."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fkd.compare.presentation import _drawable, _marks, figures
from fkd.compare.presentation._caption import state
from fkd.compare.variance import Variance, deviation
from fkd.statistics import Component

TEXT = (
    "Dot: the deviation that a source brings, hollow where it cannot be told from none; bar: its "
    "95 % interval; an arrow: it goes on to the number beside"
)
REST = "rest"  # as `components` names what no source brings
HEIGHT = 0.22  # inches of a row
WIDER = 2.5  # than the largest deviation, beyond which an interval is cut

Parts = Mapping[str, Mapping[str, Component]]


class Row(NamedTuple):
    """A row of the picture: a source's component, or without one a name."""

    label: str
    part: Component | None = None
    color: str = figures.INK


def write(folder: Path, variance: Variance) -> None:
    """Write variance.png, whole or not at all.

    Raises OSError where the folder cannot be written.
    """
    with figures.drawing():
        figures.save(both(variance), folder / "variance.png")


def both(variance: Variance) -> Figure:
    """Left what varies in accuracies, right in differences, and below what they are."""
    panels = {"Accuracy after the last epoch": _rows(variance.of_methods)}
    if variance.compared:
        base = _drawable.name(variance.baseline)
        panels[f"Difference from {base}"] = _rows(variance.of_differences)
    most, frame = max(map(len, panels.values())), max(map(_frame, panels.values()))
    figure = Figure(figsize=(10, 1.5 + HEIGHT * most), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False).flatten()
    for axes, (title, rows) in zip(grid, panels.items(), strict=True):
        _panel(axes, rows, most, frame)
        axes.set_title(title)
    text = _drawable.lines(f"{state(variance)}{variance.summary}. {TEXT}.", 135, 4)
    figure.supxlabel(text, fontsize=9, color=_marks.BASE)
    return figure


def draw(parts: Parts, width: float) -> Figure:
    """A panel alone, so many inches wide."""
    rows = _rows(parts)
    figure = Figure(figsize=(width, 0.75 + HEIGHT * len(rows)), layout="constrained")
    _panel(figure.subplots(), rows, len(rows), _frame(rows))
    return figure


def _rows(parts: Parts) -> list[Row]:
    """A row for the name of what varies, and below it one for each source."""
    rows = []
    for name, sources in parts.items():
        rows.append(Row(_drawable.name(name)))
        for k, (source, part) in enumerate(sources.items()):
            rows.append(Row(source, part, _marks.BASE if source == REST else f"C{k}"))
    return rows


def _frame(rows: Sequence[Row]) -> float:
    """How far a panel goes, in points: a point where nothing varies."""
    found = [deviation(row.part.variance) for row in rows if row.part is not None]
    return WIDER * max(found, default=0.0) or 1.0


def _panel(axes: Axes, rows: Sequence[Row], most: int, frame: float) -> None:
    """The rows, with room for so many, from zero on; what goes beyond the frame is cut."""
    _marks.rows(axes, [row.label if row.part else "" for row in rows])
    for k, row in enumerate(rows):
        if row.part is None:  # within the panel, where there is room for any name
            place = axes.get_yaxis_transform()
            text = axes.text(0.015, k, row.label, transform=place, va="center", color=figures.INK)
            text.set_fontweight("bold")
        else:
            _source(axes, k, row.part, row.color, frame)
    axes.set_ylim(max(most, 1) - 0.4, -0.6)
    axes.set_xlim(0, frame)
    axes.set_xlabel("deviation, points")
    axes.tick_params(axis="y", pad=8)  # a dot at zero stands beside the names


def _source(axes: Axes, row: int, part: Component, color: str, frame: float) -> None:
    """The deviation and its interval; where that goes beyond the frame, an arrow and its end."""
    at, low, high = (deviation(variance) for variance in (part.variance, part.low, part.high))
    axes.plot(
        [low, min(high, frame)], [row, row], color=color, linewidth=2.5, solid_capstyle="butt"
    )
    face = color if part.low > 0 else "none"
    axes.scatter([at], [row], s=36, facecolors=face, edgecolors=color, clip_on=False, zorder=3)
    if high > frame:
        axes.scatter([frame], [row], s=30, marker=">", color=color, clip_on=False, zorder=3)
        axes.annotate(
            f"{high:.2f}",
            (frame, row),
            xytext=(7, 0),
            textcoords="offset points",
            annotation_clip=False,
            va="center",
            fontsize=8,
            color=color,
        )
