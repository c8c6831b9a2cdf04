"""The pictures of a comparison: accuracy by method with every seed, training curves, sweeps.

`python -m fkd.compare.presentation.figures FOLDER` draws them anew from the folder's results.json.
"""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fkd import checkpoint
from fkd.compare import conclusions
from fkd.compare.presentation import _drawable, _marks, sweep_figures
from fkd.compare.presentation._drawable import percent
from fkd.compare.results import Results

INK, FAINT, FAILED = "#222222", "#9a9a9a", "#a0322a"
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
    "text.parse_math": False,  # an error's message is no formula
}


def write(folder: Path, results: Results) -> None:
    """Write accuracy.png, curves.png, and sweep-METHOD.png for each method that was swept, each
    whole or not at all. What is not finite is left out; who failed stands there with the reason.

    Raises OSError where the folder cannot be written.
    """
    with drawing():
        save(accuracy(results), folder / "accuracy.png")
        curves = curves_together if results.methods and _few(results) else curves_apart
        save(curves(results), folder / "curves.png")
        for name, method in results.methods.items():
            if method.sweep and any(len(values) > 1 for values in method.sweep.axes.values()):
                path = folder / f"sweep-{quote(name, safe='')}.png"
                save(sweep_figures.draw(results, name), path)


@contextmanager
def drawing() -> Iterator[None]:
    """The style of the pictures; what is not finite, or no letter of the font, is no error."""
    with matplotlib.rc_context(STYLE), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        yield


def save(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all."""
    with checkpoint.whole(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight", format="png")


def _few(results: Results) -> bool:
    return len(results.methods) + len(results.failed) <= FEW


def accuracy(results: Results) -> Figure:
    """Left, each seed's accuracy and the mean's interval; right, the paired differences; below,
    who failed and why.

    Many methods stand in the order of their means; the frame follows the seeds, and an interval
    that reaches beyond it is cut.
    """
    few = _few(results)
    names = list(results.methods) if few else _by_accuracy(results, "test_accuracy")
    rows = len(names) + len(results.failed)
    figure = Figure(figsize=(10, 1.4 + (0.45 if few else 0.28) * rows), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _accuracies(left, results, names)
    _differences(right, results, names)
    for row, failure in enumerate(results.failed.values(), start=len(names)):
        _reason(left, row, failure.reason, most=2 if few else 1)
    labels = [_drawable.name(name) for name in [*names, *results.failed]]
    for axes in (left, right):
        _marks.rows(axes, labels)
        _marks.frame(axes)
    left.set_zorder(1)  # reasons reach into the right panel
    left.patch.set_visible(False)
    text = (
        "Dots: seeds; bar and diamond: mean and its 95 % interval; thin line: that of all methods "
        "at once; cut at the frame"
    )
    _note(figure, results, text)
    return figure


def _accuracies(axes: Axes, results: Results, names: Sequence[str]) -> None:
    colors = _colors(results)
    for row, name in enumerate(names):
        _marks.accuracy(axes, row, results, name, colors[name])
    teacher = ""
    if results.teacher:
        teacher = f" (teacher {percent([results.teacher.accuracy])[0]:.2f} %)"
    axes.set_title(f"Accuracy after the last epoch{teacher}")
    if names:
        axes.set_xlabel("test accuracy, %")
    else:
        axes.set_xticks([])


def _differences(axes: Axes, results: Results, names: Sequence[str]) -> None:
    colors, base = _colors(results), results.baseline
    differences = conclusions.differences(results)
    for row, name in enumerate(names):
        if one := differences.get(name):
            _marks.difference(axes, row, results, name, one, colors[name])
    if not axes.collections:  # the baseline alone is paired with nothing
        axes.set_axis_off()
        return axes.set_in_layout(bool(results.failed))  # the reasons need its room
    axes.axvline(0, color=FAINT, linewidth=1, zorder=0)
    axes.set_title(f"Paired with {_drawable.name(base)}")
    axes.set_xlabel(f"difference from {_drawable.name(base)} with the same seed, points")


def _reason(axes: Axes, row: int, reason: str, most: int) -> None:
    """Why a method failed, in its row, over both panels."""
    text = axes.text(
        0.01,
        row,
        _drawable.lines(reason, 150, most),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
        color=FAILED,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    text.set_in_layout(False)  # the panels do not make room for it


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
            handles[name] = _marks.curve(axes, _percent(results, name, metric), color)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid()
    ordered = _by_accuracy(results, f"{split}_accuracy")
    figure.legend(
        [handles[name] for name in ordered],
        [_drawable.name(name) for name in ordered],
        loc="outside right upper",
        frameon=False,
        title="by last accuracy",
    )
    _note(figure, results, "Lines: means over seeds; bands: their range")
    return figure


def curves_apart(results: Results) -> Figure:
    """Accuracy over the epochs, a panel a method by its last accuracy, the baseline grey; then a
    panel with the reason of each that failed."""
    split = _followed(results)
    metric = f"{split}_accuracy"
    names, columns = _by_accuracy(results, metric), 6
    number = len(names) + len(results.failed)
    rows = max(-(-number // columns), 1)
    figure = Figure(figsize=(11, 0.8 + 1.55 * rows), layout="constrained")
    each = [_panel(results, name, metric) for name in names]
    behind = _marks.panels(figure, each, rows, columns)
    for axes, (name, failure) in zip(behind, results.failed.items(), strict=False):
        axes.set_title(f"{_drawable.name(name)}  failed", fontsize=9, color=FAILED)
        reason = _drawable.lines(failure.reason, 26, 8)
        style = {"fontsize": 7, "color": FAILED, "va": "top"}
        axes.text(0.0, 0.97, reason, transform=axes.transAxes, **style).set_in_layout(False)
        axes.set_axis_off()
    for axes in behind[len(results.failed) :]:
        axes.remove()
    if names:
        figure.supylabel(f"{split} accuracy, %", fontsize=10)
    text = f"Over the epochs; grey: {_drawable.name(results.baseline)}; mean and range over seeds"
    _note(figure, results, text)
    return figure


def _panel(results: Results, name: str, metric: str) -> _marks.Panel:
    curves = [(_percent(results, name, metric), _colors(results)[name])]
    if results.baseline in results.methods:  # and did not diverge
        curves.insert(0, (_percent(results, results.baseline, metric), FAINT))
    last = curves[-1][0][-1].mean()
    return _marks.Panel(f"{_drawable.name(name)}  {last:.1f}", curves)


def _followed(results: Results) -> str:
    """The images that the epochs are followed on: a sweep reads the test set only at its end."""
    return "validation" if results.data.validation else "test"


def _percent(results: Results, name: str, metric: str) -> np.ndarray:
    return percent(results.methods[name].curves[metric])


def _by_accuracy(results: Results, metric: str) -> list[str]:
    """The methods from the highest mean of the last epoch to the lowest."""
    means = {name: percent(m.last(metric)).mean() for name, m in results.methods.items()}
    return sorted(means, key=lambda name: -np.nan_to_num(means[name], nan=-np.inf))


def _colors(results: Results) -> Mapping[str, Any]:
    wheel = matplotlib.colormaps["tab10"]
    return _marks.colors(results, [wheel(k) for k in range(FEW - 1)])


def _note(figure: Figure, results: Results, text: str) -> None:
    """What is drawn, below the panels, and who could not be."""
    width = int(13.5 * figure.get_figwidth())  # characters of this size
    drawn = f"{results.summary}. {text if results.methods else 'No method has results'}."
    note = [_drawable.lines(drawn, width, 3)]
    if results.failed:
        each = [f"{_drawable.name(name)} ({x.word})" for name, x in results.failed.items()]
        failed = ", ".join(text.replace(" ", "\xa0") for text in each)  # where no line is broken
        note.append(_drawable.lines(f"Failed: {failed}", width, 3))
    figure.supxlabel("\n".join(note), fontsize=9, color=_marks.BASE)


def main(folders: Sequence[str]) -> None:
    """Draw the pictures of each folder anew."""
    for folder in folders:
        write(Path(folder), Results.read(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
