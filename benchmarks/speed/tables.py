"""The tables of a speed comparison."""

from typing import Any

from rich.table import Table

Results = dict[str, Any]


def steps_table(results: Results) -> Table:
    """A row a side; with a floor, the shares of it that the side's time reaches."""
    kept = any(row["kept"] for row in results["steps"])
    columns = ["side", "seeds", "ms", "of plain"]
    if kept:
        columns.append("of kept")
    columns.append("peak MiB")
    if "floor" in results:
        columns += ["% of floor", "fused"]
    table = _table("a step of a member, kd", columns)
    for row in results["steps"]:
        ratios = [f"{ratio:.2f}" for ratio in row["ratios"]]
        ratios += [""] * (1 + kept - len(ratios))
        shares = [f"{100 * share:.0f}" for share in row.get("share_of_floor", {}).values()]
        cells = [f"{row['side']} {row['precision']}", str(row["members"]), f"{row['ms']:.2f}"]
        cells += [*ratios, f"{row['peak_mib']:.0f}", *shares]
        table.add_row(*cells)
    return table


def whole_table(results: Results) -> Table:
    """A row a side, in seconds; below fkd's, its first steps and how many times as fast it is."""
    rows, setting = results["table"]["rows"], results["table"]["setting"]
    methods = list(next(iter(rows.values()))["seconds"])
    columns = [*methods, "teacher", "total"]
    title = "{seeds} seeds, {epochs} epochs over {images} images; scaled from a few steps"
    table = _table(title.format(**setting), ["seconds", *columns])
    for name, row in rows.items():
        parts = {key: row[key] for key in ("teacher", "total") if key in row}
        table.add_row(name, *_seconds(columns, row["seconds"] | parts))
        if "times_as_fast" in row:
            table.add_row("  first steps, not scaled", *_seconds(columns, row["first_step"]))
            for other, times in row["times_as_fast"].items():
                table.add_row(f"  x {other}", *_seconds(columns, times))
    return table


def _seconds(columns: list[str], values: dict[str, float]) -> list[str]:
    return [f"{values[column]:.1f}" if column in values else "" for column in columns]


def floor_table(results: Results) -> Table:
    """What the machine reaches and what a step does, and so the least time it takes."""
    floor = results["floor"]
    bandwidth = floor["machine"]["bytes_a_second"] / 1e9
    columns = ["precision", "GFLOP", "GFLOP/s", "MB", "fused", "ms", "fused"]
    table = _table(f"the floor of a step at {bandwidth:.1f} GB/s", columns)
    for precision, work in floor["work"].items():
        rate = floor["machine"]["flops_a_second"][precision]
        cells = [
            f"{work['flops'] / 1e9:.3f}",
            f"{rate / 1e9:.0f}",
            f"{work['unfused'] / 1e6:.1f}",
            f"{work['fused'] / 1e6:.1f}",
        ]
        cells += [f"{milliseconds:.3f}" for milliseconds in floor["ms"][precision].values()]
        table.add_row(precision, *cells)
    return table


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    return table
