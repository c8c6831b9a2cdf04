"""The pictures of a run, each narrow enough for a telephone: every seed, intervals, epochs."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fkd.compare import conclusions
from fkd.compare._sentence import line
from fkd.compare.presentation import _drawable, _marks, sweep_figures
from fkd.compare.presentation._drawable import percent
from fkd.compare.report._part import Picture
from fkd.compare.report._svg import PAINTS
from fkd.compare.results import Results

WIDTH = 4.9  # inches, of 72 units each: what a telephone shows without making text small
COLORS = [PAINTS[name][0] for name in ("one", "two", "three", "four", "five", "six", "seven")]
FAINT = PAINTS["faint"][0]
COLUMNS = 3  # of small panels
# What is followed over the epochs: what it is called, and what its numbers are multiplied by.
FOLLOWED = {
    "test_accuracy": ("test accuracy, %", 100),
    "validation_accuracy": ("validation accuracy, %", 100),
    "teacher_agreement": ("agreement with the teacher, %", 100),
    "test_loss": ("test loss, nats", 1),
    "calibration_error": ("calibration error, points", 100),
}
TESTED = ("test_accuracy", "teacher_agreement", "test_loss", "calibration_error")


def of_accuracy(results: Results) -> Iterator[Picture]:
    """The accuracies and the differences of a run. What is not finite is left out."""
    if not results.methods:
        return
    yield Picture(
        _accuracies(results),
        "Test accuracy after the last epoch",
        "Dots: seeds, each at its own height; diamond and bar: mean and its 95 % interval, cut at "
        "the frame.",
    )
    differences = {
        name: one
        for name, one in conclusions.differences(results).items()
        if np.isfinite(percent([one.mean])).all()
    }
    if differences:
        yield Picture(
            _differences(results, differences),
            f"Difference from {line(results.baseline)} with the same seed",
            "Dots: seeds; diamond and thick bar: mean and its own 95 % interval; thin bar: the one "
            "that holds for all methods at once; both are cut at the frame.",
        )


def of_sweeps(results: Results) -> Iterator[Picture]:
    """Every setting of each method that was swept over more than one."""
    for name, method in results.methods.items():
        if method.sweep and any(len(values) > 1 for values in method.sweep.axes.values()):
            yield Picture(
                sweep_figures.draw(results, name),
                f"Every setting of {line(name)}",
                "Mean validation accuracy, by which the setting was chosen.",
            )


def _accuracies(results: Results) -> Figure:
    names, colors = list(results.methods), _colors(results)
    figure, axes = _rows(names)
    for row, name in enumerate(names):
        _marks.accuracy(axes, row, results, name, colors[name])
    teacher = percent([results.teacher.accuracy] if results.teacher else [])
    for accuracy in teacher:
        axes.axvline(accuracy, color=FAINT, linewidth=1, linestyle="--", zorder=0)
    _marks.frame(axes, *teacher)
    axes.set_xlabel("test accuracy, %" + "; dashed: the teacher" * bool(results.teacher))
    return figure


def _differences(results: Results, told: Mapping[str, conclusions.Difference]) -> Figure:
    colors = _colors(results)
    figure, axes = _rows(list(told))
    for row, (name, one) in enumerate(told.items()):
        _marks.difference(axes, row, results, name, one, colors[name])
    axes.axvline(0, color=FAINT, linewidth=1, zorder=0)
    _marks.frame(axes)
    axes.set_xlabel(f"above {_drawable.name(results.baseline)}, points")
    return figure


def _rows(names: Sequence[str]) -> tuple[Figure, Axes]:
    """A panel with a row for each name, from the top down."""
    height = 0.75 + (0.42 if len(names) < 10 else 0.3) * len(names)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    _marks.rows(axes, [_drawable.lines(name, 18, 2) for name in names])
    return figure, axes


def of_epochs(results: Results) -> Iterator[Picture]:
    """A picture a metric; of more methods than there are colors, of accuracy alone with a panel for
    each."""
    if not results.methods:
        return
    accuracy = "validation_accuracy" if results.data.validation else "test_accuracy"
    colors = _colors(results)
    lines = "Lines: means over seeds; bands: from the lowest to the highest."
    if len(colors) > len(COLORS) + 1:
        grey = f" Grey: {line(results.baseline)}." * (results.baseline in results.methods)
        yield Picture(_apart(results, accuracy), _over_epochs(accuracy), lines + grey)
        return
    for metric in (accuracy,) if results.data.validation else TESTED:
        methods = [name for name, m in results.methods.items() if len(m.curves.get(metric, ())) > 1]
        if methods:
            yield Picture(_together(results, metric, methods), _over_epochs(metric), lines)


def _over_epochs(metric: str) -> str:
    name, _, _ = FOLLOWED[metric][0].partition(",")
    return f"{name.capitalize()} over the epochs"


def _together(results: Results, metric: str, methods: Sequence[str]) -> Figure:
    colors = _colors(results)
    rows = -(-len(methods) // 4)
    figure = Figure(figsize=(WIDTH, 3.0 + 0.2 * rows), layout="constrained")
    axes = figure.subplots()
    lines = [_marks.curve(axes, _values(results, name, metric), colors[name]) for name in methods]
    names = [_drawable.lines(name, 14, 2) for name in methods]
    figure.legend(
        lines,
        names,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.2,
        labelcolor=PAINTS["ink"][0],
    )
    axes.set_ylabel(FOLLOWED[metric][0])
    axes.set_xlabel("epoch")
    axes.grid()
    return figure


def _apart(results: Results, metric: str) -> Figure:
    names, colors = list(results.methods), _colors(results)
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.25 * rows), layout="constrained")
    base = []
    if results.baseline in results.methods:
        base = [(_values(results, results.baseline, metric), FAINT)]
    each = [
        _marks.Panel(
            _drawable.lines(name, 20, 1), [*base, (_values(results, name, metric), colors[name])]
        )
        for name in names
    ]
    for axes in _marks.panels(figure, each, rows, COLUMNS):
        axes.remove()
    figure.supylabel(FOLLOWED[metric][0], fontsize=10)
    return figure


def _values(results: Results, name: str, metric: str) -> np.ndarray:
    """What is drawn of a metric [epochs, seeds]."""
    return percent(results.methods[name].curves[metric]) * FOLLOWED[metric][1] / 100


def _colors(results: Results) -> Mapping[str, str]:
    return _marks.colors(results, COLORS)
