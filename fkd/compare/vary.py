"""What may vary between two runs of one command: a factorial of seeds, laid out as members."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fkd import _check
from fkd.ensemble import Seeds

TEACHER = "teacher"
SOURCES = (*Seeds._fields, TEACHER)  # init, order, dropout, teacher
MOST = 1024  # members of a method that are trained side by side


@dataclass(frozen=True)
class Factorial:
    """Every combination of the levels of some sources of chance; the others stay at their first.

    The sources are `init` (the students' initial weights), `order` (of their batches, with what
    augments and mixes them), `dropout` (whatever they draw in their steps) and `teacher` (the seed
    that it is trained from). L levels of F sources, the teacher aside, are L^F members of each
    method, which are trained side by side, for each of the teachers; a level is the seed of that
    number.

    Raises ValueError for no sources, one that is not known or named twice, fewer levels than two,
    and for more than 1,024 members.

    >>> plan = Factorial(("order", "init"), levels=2)
    >>> plan.seeds[:2]
    [Seeds(init=0, order=0, dropout=0), Seeds(init=1, order=0, dropout=0)]
    """

    sources: Sequence[str]
    levels: int = 4

    def __post_init__(self) -> None:
        _check.words("Factorial", sources=self.sources)
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(
                "Factorial: sources must be one or more names, each once, but they are "
                f"{_check.shown(self.sources)}"
            )
        for source in self.sources:
            _check.known("Factorial", "source", source, SOURCES)
        _check.count("Factorial", least=2, levels=self.levels)
        count = len(self.within)
        if self.levels**count > MOST:
            raise ValueError(
                f"Factorial: {self.levels} levels of {count} sources are {self.levels}^{count} = "
                f"{self.levels**count:,} members of each method, and there may be {MOST:,} at "
                "most; give fewer levels, or fewer sources"
            )
        object.__setattr__(self, "sources", tuple(self.sources))

    @property
    def within(self) -> list[str]:
        """The sources that vary among the students of one teacher."""
        return [source for source in self.sources if source != TEACHER]

    @property
    def seeds(self) -> list[Seeds]:
        """The members of each method, for one teacher: the level of the last source changes first.

        They are what `compare(..., seeds=..., order="own")` takes.
        """
        levels = np.ndindex(*[self.levels] * len(self.within))
        return [
            Seeds(0, 0, 0)._replace(**dict(zip(self.within, each, strict=True))) for each in levels
        ]

    def teacher_seeds(self, first: int) -> list[int]:
        """The seeds of the teachers, `first` and those after it: one where teachers do not vary.

        Raises ValueError for seeds outside [0, 2³²).

        >>> Factorial(("order", "teacher"), levels=3).teacher_seeds(42)
        [42, 43, 44]
        """
        _check.seed("teacher_seeds", first=first)
        seeds = list(range(first, first + (self.levels if TEACHER in self.sources else 1)))
        _check.seed("teacher_seeds", last=seeds[-1])
        return seeds

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """A number of each member of each teacher, [teachers, members], by the sources' levels: an
        axis for each source, in the order of their names.

        Raises ValueError for another number of teachers or members.

        >>> Factorial(("order", "init"), levels=2).arranged(np.array([[1.0, 2.0, 3.0, 4.0]]))
        array([[1., 2.],
               [3., 4.]])
        """
        _check.kind("arranged", np.ndarray, values=values)
        wanted = len(self.teacher_seeds(0)), len(self.seeds)
        if values.shape != wanted:
            raise ValueError(
                f"arranged: values must be [teachers, members], {wanted}, but they are "
                f"{values.shape}"
            )
        if TEACHER not in self.sources:
            return values.reshape([self.levels] * len(self.sources))
        apart = values.reshape([self.levels] * (1 + len(self.within)))
        moved = np.moveaxis(apart, 0, list(self.sources).index(TEACHER))
        return np.ascontiguousarray(moved)  # sums over it round as those over a record read back
