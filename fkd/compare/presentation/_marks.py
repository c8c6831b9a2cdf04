"""What pictures are made of: rows with their seeds and intervals, the frame about them, curves, and
panels of these."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fkd.compare._difference import Difference
from fkd.compare.presentation._drawable import percent
from fkd.compare.results import Results

BASE = "#555555"  # of the baseline


def rows(axes: Axes, labels: Sequence[str]) -> None:
    """A row for each label, from the top down."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(max(len(labels), 1) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)


def seeds(axes: Axes, row: int, values: Sequence[float] | np.ndarray, color: Any) -> None:
    """A dot for each, at fixed heights, so that one seed can be followed from row to row."""
    heights = row + np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.array([row])
    axes.scatter(values, heights, s=16, color=color, alpha=0.45, linewidths=0)


def bar(
    axes: Axes, row: int, bounds: tuple[float | None, float | None], color: Any, width: float
) -> None:
    """An interval, where it is known."""
    ends = percent(bounds)
    if np.isfinite(ends).all():
        axes.plot(ends, [row, row], color=color, linewidth=width, solid_capstyle="butt")


def accuracy(axes: Axes, row: int, results: Results, name: str, color: Any) -> None:
    """A method's seeds in a row, the mean of their test accuracies, and its interval."""
    mean, _, low, high = results.accuracy(name)
    seeds(axes, row, percent(results.methods[name].last("test_accuracy")), color)
    bar(axes, row, (low, high), color, 2.5)
    _mean(axes, row, mean, color)


def difference(
    axes: Axes, row: int, results: Results, name: str, one: Difference, color: Any
) -> None:
    """A method's seeds in a row, each less the baseline's where that has it too, their mean, and
    its intervals: by itself, and for all methods at once."""
    base, method = results.methods[results.baseline], results.methods[name]
    theirs = dict(zip(base.seeds, percent(base.last("test_accuracy")), strict=True))
    own = zip(method.seeds, percent(method.last("test_accuracy")), strict=True)
    seeds(axes, row, [x - theirs[seed] for seed, x in own if seed in theirs], color)
    bar(axes, row, (one.joint_low, one.joint_high), color, 1.0)
    bar(axes, row, (one.low, one.high), color, 3.5)
    _mean(axes, row, one.mean, color)


def _mean(axes: Axes, row: int, value: float, color: Any) -> None:
    place = percent([value])
    axes.scatter(place, [row], s=42, marker="D", color=color, edgecolors="white", zorder=3)


def frame(axes: Axes, *more: float) -> None:
    """Limit a panel to its dots, and to more places if need be, and half as much again on either
    side, if its bars go beyond."""
    places = [np.ma.getdata(dots.get_offsets())[:, 0] for dots in axes.collections]
    seen = np.concatenate([np.array(more), *places])  # of nothing there is no frame
    seen = seen[np.isfinite(seen)]
    if not len(seen):
        return
    room = 0.5 * max(float(np.ptp(seen)), 0.1)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, seen.min() - room), min(high, seen.max() + room))


def curve(axes: Axes, values: np.ndarray, color: Any) -> Line2D:
    """The mean over seeds of values [epochs, seeds], and their range."""
    epochs = np.arange(1, len(values) + 1)
    low, high = values.min(1), values.max(1)
    axes.fill_between(epochs, low, high, color=color, alpha=0.12, linewidth=0)
    style = {"linewidth": 1.8, "marker": "o", "markersize": 3}
    (line,) = axes.plot(epochs, values.mean(1), color=color, **style)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return line


class Panel(NamedTuple):
    """A title, and curves of values [epochs, seeds], each in its color, the last one on top."""

    title: str
    curves: Sequence[tuple[np.ndarray, Any]]


def panels(figure: Figure, each: Sequence[Panel], rows: int, columns: int) -> list[Axes]:
    """Panels row by row, all in one frame; the axes behind the last panel, which are empty."""
    # The frame is found once for all: after each curve it would take the square of the panels.
    late = {"autoscale_on": False}
    grid = figure.subplots(
        rows, columns, sharex=True, sharey=True, squeeze=False, subplot_kw=late
    ).flatten()
    for axes, panel in zip(grid, each, strict=False):
        for values, color in panel.curves:
            curve(axes, values, color)
        axes.set_title(panel.title, fontsize=9)
        axes.grid()
    for axes in grid[: len(each)][-columns:]:
        axes.tick_params(labelbottom=True)  # also above a panel that has no axis
    grid[0].set_autoscale_on(True)
    grid[0].autoscale_view()
    return list(grid[len(each) :])


def colors(results: Results, shades: Sequence[Any]) -> Mapping[str, Any]:
    """The baseline grey; a shade for each of a few other methods, or one for many."""
    others = [name for name in results.methods if name != results.baseline]
    few = len(others) <= len(shades)
    of = {name: shades[k if few else 0] for k, name in enumerate(others)}
    return {name: of.get(name, BASE) for name in results.methods}
