"""A table as a page holds it: words alone, which the page escapes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

EMPTY = ("", "–")  # what says nothing


@dataclass(frozen=True)
class Column:
    """What stands over a column, and the footnotes that say what it holds."""

    head: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """What a row is of, and a word for each column; `best` where it is to be marked."""

    head: str
    cells: Sequence[str]
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A caption, the head of the first column and the others, and the rows; `words` where cells are
    no numbers; `foot` is said below it."""

    caption: str
    first: Column
    columns: Sequence[Column]
    rows: Sequence[Row] = field(default_factory=list)
    words: bool = False
    foot: str = ""

    def trimmed(self) -> "Table":
        """The table without the columns that say nothing in any row."""
        every = zip(*(row.cells for row in self.rows), strict=True)
        full = [k for k, cells in enumerate(every) if any(cell not in EMPTY for cell in cells)]
        return Table(
            self.caption,
            self.first,
            [self.columns[k] for k in full],
            [Row(row.head, [row.cells[k] for k in full], row.best) for row in self.rows],
            self.words,
            self.foot,
        )

    @property
    def notes(self) -> list[str]:
        """The footnotes that its heads refer to."""
        return [note for column in (self.first, *self.columns) for note in column.notes]
