"""Tables of rich's, for a terminal and as Markdown: their form, their cells, their lines."""

import os
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fkd.compare._sentence import line

WIDEST = 10_000  # characters of a row, which is never cut


def empty(style: box.Box, words: Iterable[str], numbers: Iterable[str]) -> Table:
    """A table without rows: the heads of the columns of words, and of those of numbers."""
    # Without padding, four methods fit a terminal of 80 columns.
    rows = Table(box=style, padding=0 if style is box.SIMPLE_HEAD else (0, 1))
    for head in words:
        rows.add_column(cell(head, style), no_wrap=True)
    for head in numbers:
        rows.add_column(cell(head, style), justify="right", no_wrap=True)
    return rows


def cell(name: str, style: box.Box) -> Text:
    """A name in one line, whose brackets are no markup and whose bars part no columns."""
    return Text(line(name).replace("|", "\\|") if style is box.MARKDOWN else line(name))


def lines_of(rows: Table) -> list[str]:
    """The lines of a table, each whole, however wide."""
    with open(os.devnull, "w", encoding="utf-8", errors="replace") as nowhere:
        console = Console(record=True, width=WIDEST, file=nowhere)
        console.print(rows, markup=False)
        told = console.export_text().splitlines()
    return [one.strip() for one in told if one.strip()]


def markdown(parts: Iterable[Sequence[str]]) -> str:
    """A file of Markdown: parts of some lines each, those without lines left out."""
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"
