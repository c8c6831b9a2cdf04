"""The tables of what was measured, and of what was put on paper."""

from typing import Any

from rich.table import Table

SHOWN = (8, 64, 1024)  # GPUs

Results = dict[str, Any]


def measured_table(results: Results) -> Table:
    """A row a pair: time of a student's step, efficiency, and what a rank gives into sums."""
    columns = ["network", "", "ms", "of one", "by clock", "by processor", "MB a step", "sums"]
    table = _table("measured here: a student's step, and the share of processes used", columns)
    for row in results["measured"]:
        table.add_row(
            row["network"],
            row["name"],
            f"{row['ms']:.2f}",
            f"{row['base_ms']:.2f}",
            f"{row['by_clock']['value']:.2f}",
            f"{row['by_processor']['value']:.2f}",
            f"{row['traffic']['bytes'] / 1e6:.2f}",
            str(row["traffic"]["sums"]),
        )
    return table


def paper_table(results: Results) -> Table:
    """A row a line of the projection: per cent of the GPUs used, and the wall."""
    columns = ["", *(f"{gpus:,} GPUs" for gpus in SHOWN), "half used up to"]
    table = _table("on paper: per cent of H100s used, not measured", columns)
    for line in results["paper"]["lines"]:
        shares = [line["points"][str(gpus)] for gpus in SHOWN]
        cells = ["none" if share is None else f"{100 * share:.1f}" for share in shares]
        table.add_row(line["name"], *cells, f"{line['half']:,}")
    return table


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for number, column in enumerate(columns):
        left = number == 0 or not column
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    return table
