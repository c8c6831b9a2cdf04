"""The pictures of a comparison: accuracy by method with every seed, and the training curves."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report import Results, final

INK, FAINT = "#222222", "#9a9a9a"
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "fkd",
}


def write(folder: Path, results: Results) -> None:
    """Write accuracy.png and curves.png."""
    with matplotlib.rc_context(STYLE):
        for name, draw in (("accuracy", accuracy), ("curves", curves)):
            draw(results).savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")


def accuracy(results: Results) -> Figure:
    """Left, each seed's accuracy and the mean's interval; right, the paired differences."""
    methods, base = results["methods"], results["baseline"]
    figure = Figure(figsize=(10, 1.4 + 0.45 * len(methods)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, (name, color) in enumerate(_colors(results).items()):
        values = 100 * np.array(final(results, name, "test_accuracy"))
        _row(left, row, values, _bounds(methods[name]["accuracy"], "mean"), color)
        if "difference" in methods[name]:
            values = values - 100 * np.array(final(results, base, "test_accuracy"))
            _row(right, row, values, _bounds(methods[name]["difference"], "difference"), color)
    left.set_yticks(range(len(methods)), list(methods))
    left.set_ylim(len(methods) - 0.4, -0.6)
    left.set_xlabel("test accuracy, %")
    right.set_xlabel(f"difference from {base} with the same seed, points")
    right.axvline(0, color=FAINT, linewidth=1, zorder=0)
    teacher = 100 * results["teacher"]["accuracy"]
    left.set_title(f"Accuracy after the last epoch (teacher {teacher:.2f} %)")
    right.set_title(f"Paired with {base}")
    for axes in (left, right):
        axes.grid(axis="x", color="#eeeeee")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
    figure.supxlabel(
        f"{_setting(results)}. Dots: seeds; bar and diamond: mean and its 95 % interval.",
        fontsize=9,
        color="#555555",
    )
    return figure


def _row(axes: Axes, row: int, values: np.ndarray, bounds: Any, color: Any) -> None:
    # The seeds stand at fixed heights, so that one seed can be followed from row to row.
    heights = row + np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.array([row])
    axes.scatter(values, heights, s=16, color=color, alpha=0.45, linewidths=0)
    mean, low, high = bounds
    if low is not None:
        axes.plot([low, high], [row, row], color=color, linewidth=2.5, solid_capstyle="butt")
    axes.scatter([mean], [row], s=42, marker="D", color=color, edgecolors="white", zorder=3)


def curves(results: Results) -> Figure:
    """Test accuracy and agreement with the teacher over the epochs, mean and range over seeds."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = (
        ("test_accuracy", "Test accuracy, %"),
        ("teacher_agreement", "Agreement with the teacher on the test set, %"),
    )
    colors = _colors(results)
    handles = {}
    for axes, (metric, title) in zip(figure.subplots(1, 2), panels, strict=True):
        for name, color in colors.items():
            values = 100 * np.array(results["methods"][name]["curves"][metric])
            epochs = np.arange(1, len(values) + 1)
            axes.fill_between(
                epochs, values.min(1), values.max(1), color=color, alpha=0.12, linewidth=0
            )
            (handles[name],) = axes.plot(
                epochs, values.mean(1), color=color, linewidth=1.8, marker="o", markersize=3
            )
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="#eeeeee")
        axes.set_axisbelow(True)
    ordered = sorted(
        colors, key=lambda name: -float(np.mean(final(results, name, "test_accuracy")))
    )
    figure.legend(
        [handles[name] for name in ordered],
        ordered,
        loc="outside right upper",
        frameon=False,
        title="by last accuracy",
    )
    figure.supxlabel(
        f"{_setting(results)}. Lines: means over seeds; bands: their range.",
        fontsize=9,
        color="#555555",
    )
    return figure


def _colors(results: Results) -> dict[str, Any]:
    """A color a method: the baseline grey, then tab10 as far as it goes, then a longer map."""
    others = [name for name in results["methods"] if name != results["baseline"]]
    small = len(others) <= 9
    wheel = matplotlib.colormaps["tab10" if small else "turbo"]
    shades = [wheel(i) if small else wheel((i + 0.5) / len(others)) for i in range(len(others))]
    chosen = dict(zip(others, shades, strict=True))
    return {name: chosen.get(name, "#555555") for name in results["methods"]}


def _bounds(found: dict[str, float | None], middle: str) -> tuple[Any, Any, Any]:
    return tuple(None if found[k] is None else 100 * found[k] for k in (middle, "low", "high"))  # type: ignore


def _setting(results: Results) -> str:
    config = results["config"]
    return f"{results['data']['name']}, {len(config['seeds'])} seeds, {config['epochs']} epochs"
