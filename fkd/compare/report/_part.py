"""What a page shows of one record: its words, and sections of tables and pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from fkd.compare.report import _again, _svg
from fkd.compare.report._records import Record
from fkd.compare.report._table import Table


class Picture(NamedTuple):
    """A drawing, and what it shows, in a few words and in more."""

    figure: Figure
    title: str
    text: str


class Drawn(NamedTuple):
    """A picture as a part of the page."""

    title: str
    text: str
    svg: Markup


class Pictures(NamedTuple):
    """Pictures beside each other, or with `wide` one below the other."""

    drawn: Sequence[Drawn]
    wide: bool = False


class Section(NamedTuple):
    """A heading, `deeper` by so many levels, and below it tables and pictures in their order."""

    name: str
    title: str
    parts: Sequence[Table | Pictures]
    deeper: int = 0


@dataclass(frozen=True)
class Part:
    """All that the page shows of a record, whose names on the page begin with `key`.

    `lacking` says what is not whole, in words; `conclusion` is what may be concluded, a paragraph
    each; `unfinished` says what was measured of methods that failed.
    """

    record: Record
    key: str
    name: str
    title: str
    lacking: str
    question: Sequence[str]
    conclusion: Sequence[str]
    sections: Sequence[Section]
    settings: Table
    environment: Table
    unfinished: Table | None = None
    two_stages: bool = False

    @property
    def command(self) -> str | None:
        """What makes the run again; None where it was begun from Python."""
        return _again.command(self.record.config)

    @property
    def cut(self) -> list[str]:
        """The options of the command whose paths are to be given whole."""
        return _again.cut(self.record.config)

    @property
    def tables(self) -> list[Table]:
        """Its tables, in their order."""
        shown = [one for section in self.sections for one in section.parts]
        last = [one for one in (self.unfinished, self.settings, self.environment) if one]
        return [one for one in (*shown, *last) if isinstance(one, Table)]


def drawn(key: str, pictures: Iterable[Picture]) -> list[Drawn]:
    """Pictures as parts of a page, whose names begin with `key`."""
    return [
        Drawn(one.title, one.text, _svg.inline(one.figure, f"{key}-picture-{k}", one.title))
        for k, one in enumerate(pictures)
    ]
