"""The pictures of a comparison: accuracy by method with every seed, training curves, sweeps.

`python -m fkd.compare.figures FOLDER` draws them anew from the folder's results.json.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fkd.compare import sweep_figures
from fkd.compare.results import Results

INK, FAINT, BASE = "#222222", "#9a9a9a", "#555555"
FEW = 9  # methods that can be told apart by color, and whose curves fit one panel
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.axisbelow": True,
    "grid.color": "#eeeeee",
    "xtick.color": INK,
    "ytick.color": INK,
}


def write(folder: Path, results: Results) -> None:
    """Write accuracy.png, curves.png, and sweep-METHOD.png for each method that was swept."""
    with matplotlib.rc_context(STYLE):
        _save(accuracy(results), folder / "accuracy.png")
        curves = curves_together if len(results.methods) <= FEW else curves_apart
        _save(curves(results), folder / "curves.png")
        for name, method in results.methods.items():
            if method.sweep and len(method.sweep.settings) > 1:
                _save(sweep_figures.draw(results, name), folder / f"sweep-{name}.png")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=150, bbox_inches="tight")


def accuracy(results: Results) -> Figure:
    """Left, each seed's accuracy and the mean's interval; right, the paired differences.

    Many methods stand in the order of their means; the frame follows the seeds, and an interval
    that reaches beyond it is cut.
    """
    methods, base = results.methods, results.baseline
    names = list(methods) if len(methods) <= FEW else _by_accuracy(results, "test_accuracy")
    height = 0.45 if len(methods) <= FEW else 0.28
    figure = Figure(figsize=(10, 1.4 + height * len(methods)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    colors = _colors(results)
    for row, name in enumerate(names):
        values = 100 * np.array(methods[name].last("test_accuracy"))
        mean, _, low, high = results.accuracy(name)
        _row(left, row, values, mean, (low, high), colors[name])
        difference = results.difference(name)
        if difference:
            values = values - 100 * np.array(methods[base].last("test_accuracy"))
            bounds = (difference.low, difference.high)
            _row(right, row, values, difference.difference, bounds, colors[name])
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.4, -0.6)
    left.set_xlabel("test accuracy, %")
    right.set_xlabel(f"difference from {base} with the same seed, points")
    right.axvline(0, color=FAINT, linewidth=1, zorder=0)
    teacher = f" (teacher {100 * results.teacher.accuracy:.2f} %)" if results.teacher else ""
    left.set_title(f"Accuracy after the last epoch{teacher}")
    right.set_title(f"Paired with {base}")
    for axes in (left, right):
        _frame(axes)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    text = "Dots: seeds; bar and diamond: mean and its 95 % interval, cut at the frame"
    _note(figure, results, text)
    return figure


def _row(
    axes: Axes,
    row: int,
    values: np.ndarray,
    mean: float,
    bounds: tuple[float | None, float | None],
    color: Any,
) -> None:
    # The seeds stand at fixed heights, so that one seed can be followed from row to row.
    heights = row + np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.array([row])
    axes.scatter(values, heights, s=16, color=color, alpha=0.45, linewidths=0)
    low, high = bounds
    if low is not None and high is not None:
        ends = [100 * low, 100 * high]
        axes.plot(ends, [row, row], color=color, linewidth=2.5, solid_capstyle="butt")
    axes.scatter([100 * mean], [row], s=42, marker="D", color=color, edgecolors="white", zorder=3)


def _frame(axes: Axes) -> None:
    """Limit a panel to its seeds and half as much again on either side, if its bars go beyond."""
    if not axes.collections:  # the baseline alone is paired with nothing
        return axes.set_visible(False)
    seeds = np.concatenate([np.asarray(dots.get_offsets())[:, 0] for dots in axes.collections])
    room = 0.5 * max(float(np.ptp(seeds)), 0.1)
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, seeds.min() - room), min(high, seeds.max() + room))


def curves_together(results: Results) -> Figure:
    """Accuracy and agreement with the teacher over the epochs, mean and range over seeds."""
    split = _followed(results)
    panels = {f"{split}_accuracy": f"{split.capitalize()} accuracy, %"}
    if split == "test":
        panels["teacher_agreement"] = "Agreement with the teacher on the test set, %"
    figure = Figure(figsize=(5 * len(panels), 4.2), layout="constrained")
    colors = _colors(results)
    handles = {}
    grid = figure.subplots(1, len(panels), squeeze=False).flatten()
    for axes, (metric, title) in zip(grid, panels.items(), strict=True):
        for name, color in colors.items():
            handles[name] = _curve(axes, results, name, metric, color)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid()
    ordered = _by_accuracy(results, f"{split}_accuracy")
    figure.legend(
        [handles[name] for name in ordered],
        ordered,
        loc="outside right upper",
        frameon=False,
        title="by last accuracy",
    )
    _note(figure, results, "Lines: means over seeds; bands: their range")
    return figure


def curves_apart(results: Results) -> Figure:
    """Accuracy over the epochs, a panel a method by its last accuracy, the baseline grey."""
    split = _followed(results)
    metric = f"{split}_accuracy"
    names, columns = _by_accuracy(results, metric), 6
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(11, 0.8 + 1.55 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, name in zip(grid, names, strict=False):
        if results.baseline in results.methods:  # and did not diverge
            _curve(axes, results, results.baseline, metric, FAINT)
        _curve(axes, results, name, metric, _colors(results)[name])
        last = 100 * np.mean(results.methods[name].last(metric))
        axes.set_title(f"{name}  {last:.1f}", fontsize=9)
        axes.grid()
    for axes in grid[len(names) :]:
        axes.remove()
    figure.supylabel(f"{split} accuracy, %", fontsize=10)
    text = f"Over the epochs; grey: {results.baseline}; mean and range over seeds"
    _note(figure, results, text)
    return figure


def _followed(results: Results) -> str:
    """The images that the epochs are followed on: a sweep reads the test set only at its end."""
    return "validation" if results.data.validation else "test"


def _curve(axes: Axes, results: Results, name: str, metric: str, color: Any) -> Line2D:
    values = 100 * np.array(results.methods[name].curves[metric])
    epochs = np.arange(1, len(values) + 1)
    low, high = values.min(1), values.max(1)
    axes.fill_between(epochs, low, high, color=color, alpha=0.12, linewidth=0)
    style = {"linewidth": 1.8, "marker": "o", "markersize": 3}
    (line,) = axes.plot(epochs, values.mean(1), color=color, **style)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return line


def _by_accuracy(results: Results, metric: str) -> list[str]:
    """The methods from the highest mean of the last epoch to the lowest."""
    methods = results.methods
    return sorted(methods, key=lambda name: -np.mean(methods[name].last(metric)))


def _colors(results: Results) -> dict[str, Any]:
    """The baseline grey; a color for each of a few other methods, or one for many."""
    others = [name for name in results.methods if name != results.baseline]
    wheel = matplotlib.colormaps["tab10"]
    shades = {name: wheel(i if len(others) < FEW else 0) for i, name in enumerate(others)}
    return {name: shades.get(name, BASE) for name in results.methods}


def _note(figure: Figure, results: Results, text: str) -> None:
    figure.supxlabel(f"{results.summary}. {text}.", fontsize=9, color=BASE)


def main(folders: Sequence[str]) -> None:
    """Draw the pictures of each folder anew."""
    for folder in folders:
        write(Path(folder), Results.read(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
