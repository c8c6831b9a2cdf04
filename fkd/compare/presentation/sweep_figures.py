"""The picture of a method's sweep: a line of one hyperparameter, heat maps of more."""

import itertools
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fkd.compare._counted import counted, singular
from fkd.compare.presentation import _drawable
from fkd.compare.presentation._drawable import percent
from fkd.compare.results import Results, SweepResults
from fkd.compare.sweep import Setting, describe, mean
from fkd.statistics import interval

CHOSEN, LINE, NOTE = "#d6301d", "#1f77b4", "#555555"
# The palest is still told from the paper.
COLORS = ListedColormap(matplotlib.colormaps["Blues"](np.linspace(0.1, 0.95, 256)))


def draw(results: Results, method: str) -> Figure:
    """Validation accuracy of every setting, with the chosen one and those that diverged marked.

    Raises ValueError where the method was not swept.
    """
    choice = results.methods[method].sweep
    if choice is None:
        raise ValueError(f"draw: method {method!r} was not swept; name one that was")
    # From the most values to the fewest; a single value is no axis.
    names = [name for name, values in choice.axes.items() if len(values) > 1]
    names.sort(key=lambda name: -len(choice.axes[name]))
    (test,) = percent([results.accuracy(method).mean])
    (validation,) = percent([mean(choice.best)])
    figure, text = _line(choice, names[0]) if len(names) == 1 else _maps(choice, names)
    figure.suptitle(
        f"{_drawable.name(method)}: {describe(choice.best.hyper)}\n"
        f"chosen by its validation accuracy, {validation:.2f} %; "
        f"test accuracy {test:.2f} %",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    data, seeds = results.data, len(choice.best.validation_accuracy)
    split = counted(data.validation, singular(f"validation {data.unit}"))
    members = f"{counted(seeds, 'seed')}, {counted(results.config['epochs'], 'epoch')}"
    figure.supxlabel(f"{data.name}, {split}, {members}. {text}.", fontsize=9, color=NOTE)
    return figure


def _line(choice: SweepResults, name: str) -> tuple[Figure, str]:
    """Every seed over the values of one hyperparameter, and the mean's interval."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    panel = figure.subplots()
    settings = sorted(choice.settings, key=lambda setting: setting.hyper[name])
    values = percent([setting.validation_accuracy for setting in settings])
    # The seeds stand beside one another, so that one seed can be followed.
    beside = np.linspace(-0.15, 0.15, values.shape[1]) if values.shape[1] > 1 else [0.0]
    for aside, seed in zip(beside, values.T, strict=True):
        panel.plot(np.arange(len(seed)) + aside, seed, ".-", color=LINE, alpha=0.3, linewidth=0.8)
    for place, row in enumerate(values):
        if np.isnan(row).any():
            panel.axvspan(place - 0.5, place + 0.5, color="#eeeeee", linewidth=0)
            along = panel.get_xaxis_transform()
            style = {"rotation": 90, "ha": "center", "va": "top", "color": NOTE}
            panel.text(place, 0.97, "diverged", transform=along, **style)
            continue
        middle, _, low, high = interval(row.tolist())
        color = CHOSEN if settings[place] is choice.best else LINE
        if low is not None and high is not None:
            panel.vlines(place, low, high, color=color, linewidth=2.5)
        panel.scatter(
            [place], [middle], s=42, marker="D", color=color, edgecolors="white", zorder=3
        )
    seen = values[np.isfinite(values)]
    if len(seen):
        room = 0.5 * max(float(np.ptp(seen)), 0.1)
        panel.set_ylim(seen.min() - room, min(seen.max() + room, 100.5))
    panel.set_xticks(range(len(settings)), [f"{setting.hyper[name]:g}" for setting in settings])
    panel.set_xlim(-0.5, len(settings) - 0.5)
    panel.set_xlabel(name)
    panel.set_ylabel("validation accuracy, %")
    panel.grid(axis="y")
    return figure, "Dots: seeds; bar and diamond: mean and its 95 % interval; red: chosen"


def _maps(choice: SweepResults, names: Sequence[str]) -> tuple[Figure, str]:
    """Mean accuracy over two hyperparameters, in a panel for each setting of the others."""
    values = choice.axes
    across, up, *others = names
    every = percent([mean(setting) for setting in choice.settings])
    means = {
        _key(setting.hyper, names): float(value)
        for setting, value in zip(choice.settings, every, strict=True)
        if np.isfinite(value)
    }
    chosen = _key(choice.best.hyper, names)
    facets = [
        dict(zip(others, facet, strict=True))
        for facet in itertools.product(*(values[name] for name in others))
    ]
    # The last of the others lies across, the rest down.
    columns = len(values[others[-1]]) if others else 1
    cells = len(values[across]), len(values[up])
    figure, panels = _grid(len(facets) // columns, columns, cells)
    scale = _scale(list(means.values()) or [0.0])
    for panel, facet in zip(panels.flatten(), facets, strict=True):
        panel.set_title(describe(facet), fontsize=9, loc="center")
        panel.set_xticks(range(len(values[across])), [f"{v:g}" for v in values[across]])
        panel.set_yticks(range(len(values[up])), [f"{v:g}" for v in values[up]])
        panel.set_xlim(-0.5, len(values[across]) - 0.5)
        panel.set_ylim(-0.5, len(values[up]) - 0.5)
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
        for x, y in itertools.product(range(len(values[across])), range(len(values[up]))):
            here = facet | {across: values[across][x], up: values[up][y]}
            key = _key(here, names)
            _cell(panel, x, y, means.get(key), scale, key == chosen)
    for panel in panels[-1]:
        panel.set_xlabel(across)
    for panel in panels[:, 0]:
        panel.set_ylabel(up)
    bar = figure.colorbar(
        ScalarMappable(scale, COLORS),
        ax=panels,
        label="validation accuracy, %",
        extend="min" if scale(min(means.values(), default=0.0)) < 0 else "neither",
    )
    bar.outline.set_visible(False)
    crossed = "; crossed out: a seed diverged" if len(means) < len(choice.settings) else ""
    return figure, f"Means over seeds; framed: chosen{crossed}"


def _grid(rows: int, columns: int, cells: tuple[int, int]) -> tuple[Figure, np.ndarray]:
    """A figure of panels that hold so many cells across and up."""
    width, height = 0.4 + 0.6 * cells[0], 0.4 + 0.45 * cells[1]
    size = max(1.6 + columns * width, 5.5), 1.6 + rows * height
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)


def _cell(panel: Axes, x: int, y: int, value: float | None, scale: Normalize, chosen: bool) -> None:
    color = "#f0f0f0" if value is None else COLORS(scale(value))
    corner = (x - 0.5, y - 0.5)
    panel.add_patch(Rectangle(corner, 1, 1, facecolor=color, edgecolor="white"))
    if value is None:
        for ends in ((-0.3, 0.3), (0.3, -0.3)):
            panel.plot([x - 0.3, x + 0.3], [y + ends[0], y + ends[1]], color=NOTE, linewidth=1)
    else:
        ink = "white" if scale(value) > 0.6 else "black"
        panel.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=9, color=ink)
    if chosen:
        frame = Rectangle(corner, 1, 1, fill=False, edgecolor=CHOSEN, linewidth=2.5, zorder=3)
        panel.add_patch(frame).set_clip_on(False)


def _key(setting: Setting, names: Sequence[str]) -> tuple[float, ...]:
    return tuple(setting[name] for name in names)


def _scale(means: list[float]) -> Normalize:
    """From the highest to as far below the median as it is above: the good ones are told apart."""
    high, middle = max(means), float(np.median(means))
    return Normalize(max(min(means), 2 * middle - high) if high > middle else high - 1, high)
