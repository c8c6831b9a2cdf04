"""The picture of several teachers: each method's difference from the baseline with each of them."""

from pathlib import Path

from matplotlib.figure import Figure

from fkd.compare.presentation import _drawable, _marks, figures
from fkd.compare.presentation._caption import state
from fkd.compare.presentation._drawable import percent
from fkd.compare.teachers import Teachers

TEXT = (
    "Dots: teachers, each at its own height; upright line and thick bar: the mean over all and its "
    "95 % interval for these teachers; thin bar: for teachers like these, cut at the frame"
)


def write(folder: Path, record: Teachers) -> None:
    """Write teachers.png, whole or not at all.

    Raises OSError where the folder cannot be written.
    """
    with figures.drawing():
        figure = draw(record, 7)
        height = figure.get_figheight()
        figure.set_figheight(height + 1)
        text = _drawable.lines(f"{state(record)}{record.summary}. {TEXT}.", 95, 5)
        figure.supxlabel(text, fontsize=9, color=_marks.BASE)
        figures.save(figure, folder / "teachers.png")


def draw(record: Teachers, width: float) -> Figure:
    """A row for each method that is compared, so many inches wide."""
    names = record.compared
    figure = Figure(figsize=(width, 0.75 + 0.42 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        mean, these, like = record.over(name)
        teachers = percent(record.difference(name).mean(axis=1).tolist())
        color = f"C{row if len(names) < figures.FEW else 0}"
        _marks.bar(axes, row, (like.low, like.high), color, 1.0)
        _marks.bar(axes, row, (these.low, these.high), color, 6.0)
        # Where teachers differ, the thick bar is narrow: what marks the mean must not hide it.
        axes.scatter(percent([mean]), [row], s=250, marker="|", color=color, linewidths=1.5)
        _marks.seeds(axes, row, teachers, color)
    _marks.frame(axes)
    _marks.rows(axes, [_drawable.lines(name, 18, 3) for name in names])
    axes.axvline(0, color=figures.FAINT, linewidth=1, zorder=0)
    axes.set_xlabel(f"above {_drawable.name(record.baseline)}, points")
    return figure
