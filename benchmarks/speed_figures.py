"""The tables and the picture of a speed comparison.

`python benchmarks/speed_figures.py FOLDER` draws the picture anew from the folder's speed.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from figures import FAINT, STYLE
from matplotlib.figure import Figure
from options import PRECISIONS
from rich.table import Table

Results = dict[str, Any]


def write(folder: Path, results: Results) -> None:
    """Write scaling.png, where an ensemble's steps were timed."""
    if "steps" in results:
        with matplotlib.rc_context(STYLE):
            scaling(results).savefig(folder / "scaling.png", dpi=150, bbox_inches="tight")


def scaling(results: Results) -> Figure:
    """Time a member-step and memory over the number of members."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    steps = results["steps"]
    panels = (("ms", "Milliseconds a member-step"), ("peak_mib", _memory_title(results)))
    for axes, (key, title) in zip(figure.subplots(1, 2), panels, strict=True):
        ticks: set[int] = set()
        measured = {row["precision"] for row in steps if row["loop"] == "fkd"}
        for number, precision in enumerate(p for p in PRECISIONS if p in measured):
            rows = [r for r in steps if (r["loop"], r["precision"]) == ("fkd", precision)]
            counts, values = [r["members"] for r in rows], [r[key] for r in rows]
            ticks |= set(counts)
            style = {"color": f"C{number}", "linewidth": 1.8}
            axes.plot(counts, values, marker="o", label=f"fkd, {precision}", **style)
            if key == "ms" and "floor" in results:
                low = results["floor"]["ms"][precision]["fused"]
                label = f"floor, {precision}, fused"
                axes.axhline(low, color=f"C{number}", linestyle=":", label=label)
        label = "plain loop, one student"
        axes.axhline(steps[0][key], color=FAINT, linestyle="--", label=label)
        for row in [row for row in steps if row["kept"]][:1]:
            axes.axhline(row[key], color=FAINT, linestyle="-.", label="the same, memory kept")
        if key == "peak_mib" and "imports_mib" in results:
            style = {"color": FAINT, "linestyle": ":"}
            axes.axhline(results["imports_mib"], label="libraries alone", **style)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(ticks), [str(k) for k in sorted(ticks)])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("members")
        axes.set_title(title)
        axes.grid()
    handles = {}
    for axes in figure.axes:
        handles |= {str(line.get_label()): line for line in axes.lines}
    place = {"loc": "outside lower center", "ncols": 3, "frameon": False}
    figure.legend(list(handles.values()), list(handles), **place)
    return figure


def _memory_title(results: Results) -> str:
    if results["setting"]["device"] == "cpu":
        return "Peak memory of the process, MiB"
    return "Peak memory of the tensors, MiB"


def steps_table(results: Results) -> Table:
    """A row a side; with a floor, the shares of it that the side's time reaches."""
    kept = any(row["kept"] for row in results["steps"])
    shown = _table(
        "a step of a member, kd",
        *("side", "seeds", "ms", "of plain", *(["of kept"] if kept else []), "peak MiB"),
        *(("% of floor", "fused") if "floor" in results else ()),
    )
    for row in results["steps"]:
        cells = [f"{row['side']} {row['precision']}", str(row["members"])]
        ratios = [f"{ratio:.2f}" for ratio in row["ratios"]]
        ratios += [""] * (1 + kept - len(ratios))
        cells += [f"{row['ms']:.2f}", *ratios, f"{row['peak_mib']:.0f}"]
        for share in row.get("share_of_floor", {}).values():
            cells.append(f"{100 * share:.0f}")
        shown.add_row(*cells)
    return shown


def whole_table(results: Results) -> Table:
    """A row a side, in seconds; below fkd's, its first steps and how many times as fast it is."""
    rows, setting = results["table"]["rows"], results["table"]["setting"]
    methods = list(next(iter(rows.values()))["seconds"])
    title = "{seeds} seeds, {epochs} epochs over {images} images; scaled from a few steps"
    shown = _table(title.format(**setting), "seconds", *methods, "teacher", "total")

    def add(name: str, values: dict[str, float]) -> None:
        columns = (*methods, "teacher", "total")
        shown.add_row(name, *(f"{values[c]:.1f}" if c in values else "" for c in columns))

    for name, row in rows.items():
        add(name, row["seconds"] | {c: row[c] for c in ("teacher", "total") if c in row})
        if "times_as_fast" in row:
            add("  first steps, not scaled", row["first_step"])
            for other, times in row["times_as_fast"].items():
                add(f"  x {other}", times)
    return shown


def floor_table(results: Results) -> Table:
    """What the machine reaches and what a step does, and so the least time it takes."""
    found = results["floor"]
    bandwidth = found["machine"]["bytes_a_second"] / 1e9
    shown = _table(
        f"the floor of a step at {bandwidth:.1f} GB/s",
        *("precision", "GFLOP", "GFLOP/s", "MB", "fused", "ms", "fused"),
    )
    for precision, done in found["work"].items():
        rate = found["machine"]["flops_a_second"][precision]
        sizes = (done["flops"] / 1e9, rate / 1e9, done["unfused"] / 1e6, done["fused"] / 1e6)
        formats = ("{:.3f}", "{:.0f}", "{:.1f}", "{:.1f}")
        cells = [form.format(value) for form, value in zip(formats, sizes, strict=True)]
        shown.add_row(precision, *cells, *(f"{v:.3f}" for v in found["ms"][precision].values()))
    return shown


def _table(title: str, *columns: str) -> Table:
    shown = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for number, column in enumerate(columns):
        shown.add_column(column, justify="right" if number else "left", no_wrap=not number)
    return shown


if __name__ == "__main__":
    for given in sys.argv[1:]:
        write(Path(given), json.loads((Path(given) / "speed.json").read_text()))
