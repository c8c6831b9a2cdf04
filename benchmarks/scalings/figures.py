"""The picture: what was measured on the left, what was put on paper on the right.

`python -m benchmarks.scalings.figures FOLDER` draws it anew from the folder's scaling.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fkd.compare.presentation.figures import FAINT, STYLE

# Of a line: its axis's shades and marker. A later line of the same axis is lighter.
SHADES = {
    "members": (("#0b4f8a", "#3d8bc9", "#8fc1e3"), "o"),
    "batch": (("#a33c00", "#e0752d", "#f2b27a"), "s"),
}
DASHES = ("-", "--", ":")
# Of an efficiency: its name in scaling.json, its color, its label, how far from its row's middle.
WAYS = (
    ("by_clock", "#0b4f8a", "by the clock; a bar from the least round to the most", 0.14),
    ("by_processor", "#e0752d", "by the time of the processors", -0.14),
)
TICKS = (1, 2, 8, 64, 1024)

Results = dict[str, Any]


def write(folder: Path, results: Results) -> None:
    """Write scaling.png."""
    with matplotlib.rc_context(STYLE):
        scaling(results).savefig(folder / "scaling.png", dpi=150, bbox_inches="tight")


def scaling(results: Results) -> Figure:
    """The share of processes that is used, measured, and of GPUs, on paper."""
    rows = results["measured"]
    figure = Figure(figsize=(11.5, 2.2 + 0.3 * max(len(rows), 9)), layout="constrained")
    if results["paper"] is None:
        measured(figure.subplots(), rows, results["environment"])
        return figure
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
    measured(left, rows, results["environment"])
    paper(right, results["paper"]["lines"])
    return figure


def measured(axes: Axes, rows: list[Results], environment: Results) -> None:
    """A row a pair: the median of rounds, and from the least to the most; beside it a student's
    step and what a rank sends in one."""
    places = list(range(len(rows), 0, -1))
    for key, color, label, shift in WAYS:
        for place, row in zip(places, rows, strict=True):
            rounds, at = row[key]["rounds"], [place + shift] * 2
            axes.plot([min(rounds), max(rounds)], at, color=color, alpha=0.35, linewidth=4)
        values = [row[key]["value"] for row in rows]
        at = [place + shift for place in places]
        axes.plot(values, at, "o", color=color, label=label, markersize=5)
    beside = axes.get_yaxis_transform()
    axes.text(1.02, len(rows) + 0.8, "ms a member-step, sent a step", transform=beside, fontsize=9)
    for place, row in zip(places, rows, strict=True):
        axes.text(1.02, place, _beside(row), transform=beside, va="center", fontsize=9)
    axes.set_yticks(places, [f"{row['network']}: {row['name']}" for row in rows])
    axes.set_xlim(0, max(1.05, *(max(row[way[0]]["rounds"]) for row in rows for way in WAYS)))
    axes.axvline(1, color=FAINT, linewidth=1)
    axes.set_ylim(0.4, len(rows) + 0.6)
    axes.set_xlabel("share of the processes that is used")
    axes.set_title(f"Measured on {environment['cores']} cores", pad=18)
    axes.grid(axis="x")
    _legend(axes)


def _beside(row: Results) -> str:
    sums = row["traffic"]["sums"]
    if not sums:
        return f"{row['ms']:.1f} ms, nothing"
    return f"{row['ms']:.1f} ms, {row['traffic']['bytes'] / 1e6:.1f} MB in {sums} sums"


def paper(axes: Axes, lines: list[Results]) -> None:
    """A line an axis of the mesh with one work; it ends where a rank has nothing to do."""
    drawn = dict.fromkeys(SHADES, 0)
    for line in lines:
        shades, marker = SHADES[line["of"]]
        number = drawn[line["of"]]
        drawn[line["of"]] += 1
        points = {int(gpus): share for gpus, share in line["points"].items() if share is not None}
        axes.plot(
            list(points),
            list(points.values()),
            color=shades[number],
            marker=marker,
            markersize=4,
            linestyle=DASHES[number],
            linewidth=1.8,
            label=line["name"],
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(TICKS, [f"{tick:,}" for tick in TICKS])
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("H100s")
    axes.set_title("On paper, not measured: share of H100s that is used", pad=18)
    axes.axhline(0.5, color=FAINT, linewidth=1, linestyle=":")
    axes.grid()
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.16),
        frameon=False,
        fontsize=9,
        handlelength=3.5,
    )


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        write(folder, json.loads((folder / "scaling.json").read_text()))
