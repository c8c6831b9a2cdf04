"""The picture of a speed comparison.

`python -m benchmarks.speed.figures FOLDER` draws it anew from the folder's speed.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from fkd.compare.presentation.figures import FAINT, STYLE
from fkd.execution import PRECISIONS

Results = dict[str, Any]


def write(folder: Path, results: Results) -> None:
    """Write scaling.png, where steps of fkd's ensembles were timed."""
    if any(row["loop"] == "fkd" for row in results.get("steps", ())):
        with matplotlib.rc_context(STYLE):
            scaling(results).savefig(folder / "scaling.png", dpi=150, bbox_inches="tight")


def scaling(results: Results) -> Figure:
    """Time a member-step and memory over the number of members."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, results, "ms", "Milliseconds a member-step")
    _panel(right, results, "peak_mib", _memory_title(results))
    handles = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return figure


def _panel(axes: Axes, results: Results, key: str, title: str) -> None:
    steps = results["steps"]
    precisions = {row["precision"] for row in steps if row["loop"] == "fkd"}
    ticks: set[int] = set()
    for number, precision in enumerate(p for p in PRECISIONS if p in precisions):
        color = f"C{number}"
        rows = [r for r in steps if (r["loop"], r["precision"]) == ("fkd", precision)]
        counts = [row["members"] for row in rows]
        ticks |= set(counts)
        axes.plot(
            counts,
            [row[key] for row in rows],
            marker="o",
            label=f"fkd, {precision}",
            color=color,
            linewidth=1.8,
        )
        if key == "ms" and "floor" in results:
            low = results["floor"]["ms"][precision]["fused"]
            axes.axhline(low, color=color, linestyle=":", label=f"floor, {precision}, fused")
    label = "plain loop, one student"
    axes.axhline(steps[0][key], color=FAINT, linestyle="--", label=label)
    for row in [row for row in steps if row["kept"]][:1]:
        axes.axhline(row[key], color=FAINT, linestyle="-.", label="the same, memory kept")
    if key == "peak_mib" and "imports_mib" in results:
        axes.axhline(results["imports_mib"], color=FAINT, linestyle=":", label="libraries alone")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(ticks), [str(count) for count in sorted(ticks)])
    if results["setting"]["device"] == "cpu":
        axes.set_ylim(bottom=0)
    else:  # a GPU is so far from its floor with one student, and the loop from both
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("members")
    axes.set_title(title)
    axes.grid()


def _memory_title(results: Results) -> str:
    if results["setting"]["device"] == "cpu":
        return "Peak memory of the process, MiB"
    return "Peak memory of the tensors, MiB"


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        write(folder, json.loads((folder / "speed.json").read_text()))
