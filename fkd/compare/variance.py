"""What a factorial run measured: each source's variance, in a record that reads itself back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fkd import _check
from fkd.compare import _over_runs, _record_file
from fkd.compare._counted import counted
from fkd.compare._json import with_null
from fkd.compare._over_runs import OverRuns
from fkd.compare.results import Results
from fkd.compare.vary import TEACHER, Factorial
from fkd.statistics import Component

FILE = "variance.json"
# What all seeds of an ordinary comparison have in common, so that no interval over seeds holds it.
SHARED = ("order", TEACHER)
POINTS = 100.0


class Width(NamedTuple):
    """How many times as wide an interval over seeds that share a source would have to be to hold
    for other levels of it as well, and the bounds of that."""

    factor: float
    low: float
    high: float


@dataclass(kw_only=True)
class Variance(OverRuns):
    """The test accuracy of every member of a factorial, after the last epoch, and what it tells.

    `accuracy` is in [0, 1], by method, [levels of each source], of the methods that have ended with
    every teacher; of the others, `failed` says of those that failed why, and `waiting` names those
    that have not ended. `config` is what was asked, as in results.json; `environment` and `device`
    are those of the first teacher's run, and `seconds` the sum over all.
    """

    factorial: Factorial

    @classmethod
    def of(cls, factorial: Factorial, runs: Sequence[Results]) -> "Variance":
        """The record of comparisons whose seeds are the factorial's, one for each of its teachers.

        Of a comparison that was stopped, the methods that have ended are in it. Raises ValueError
        for another number of comparisons, and for other seeds.
        """
        _check.kind("Variance.of", Factorial, factorial=factorial)
        _check.sequence("Variance.of", runs=runs)
        for run in runs:
            _check.kind("Variance.of", Results, run=run)
        teachers = len(factorial.teacher_seeds(0))
        if len(runs) != teachers:
            raise ValueError(
                f"Variance.of: there must be a run for each teacher, {teachers}, but there are "
                f"{len(runs)}; go on with those that have not begun"
            )
        for run in runs:
            for name, one in run.methods.items():
                if list(one.seeds) != factorial.seeds:
                    raise ValueError(
                        f"Variance.of: {name} must have the factorial's seeds, but it has others; "
                        "give seeds=factorial.seeds to each comparison"
                    )
        fields = _over_runs.measured(runs)
        laid = {name: factorial.arranged(rows) for name, rows in fields["accuracy"].items()}
        asked = {"vary": list(factorial.sources), "levels": factorial.levels}
        config = fields["config"] | asked
        return cls(factorial=factorial, **fields | {"accuracy": laid, "config": config})

    @property
    def sources(self) -> Sequence[str]:
        """The factorial's sources, an axis of accuracy each."""
        return self.factorial.sources

    @property
    def summary(self) -> str:
        """`digits, 4 levels of init, order, 10 epochs`."""
        plan = self.factorial
        levels = f"{counted(plan.levels, 'level')} of {', '.join(plan.sources)}"
        return f"{self.data.name}, {levels}, {counted(self.config['epochs'], 'epoch')}"

    def width(self, name: str, source: str, seeds: int = 8) -> Width | None:
        """What the paired interval of a method's difference misses, whose `seeds` share a source.

        With the variance V of the source in the difference, and U of all else that a seed changes,
        the mean over n seeds that share it has the variance U / n + V, and the interval is made
        from U / n; so it would have to be

            √(1 + n V / U)

        times as wide. The bounds are those of V's interval, with U as it was estimated. None where
        U was not varied, or is not seen to be above zero.
        """
        parts = self.of_difference(name)
        own = [part.variance for other, part in parts.items() if other not in SHARED]
        if set(self.factorial.sources) <= set(SHARED) or sum(own) <= 0:
            return None
        one = parts[source]
        factor, low, high = (
            math.sqrt(1 + seeds * max(v, 0.0) / sum(own)) for v in (one.variance, one.low, one.high)
        )
        return Width(factor, low, high)

    def to_json(self) -> dict[str, Any]:
        """The structure of variance.json, where None stands for a number that is not finite. Its
        `components` are in points squared and their `deviation` in points."""
        told = {name: in_points(parts) for name, parts in self.of_methods.items()}
        differences = {name: in_points(parts) for name, parts in self.of_differences.items()}
        entry = {
            "sources": list(self.factorial.sources),
            "levels": self.factorial.levels,
            "components": {"accuracy": told, "difference": differences},
        }
        return with_null(entry | _over_runs.to_json(self))

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "Variance":
        """The record of what `to_json` gave, now or in an earlier version."""
        factorial = Factorial(tuple(entry["sources"]), entry["levels"])
        return cls(factorial=factorial, **_over_runs.from_json(entry))

    def write(self, folder: str | Path) -> None:
        """Write variance.json and variance.md in UTF-8, each whole or not at all.

        Raises OSError where the folder cannot be written.
        """
        from fkd.compare.presentation import variance_table  # rich is loaded only for this

        _record_file.write(Path(folder) / FILE, self.to_json())
        _record_file.write(Path(folder) / "variance.md", variance_table.markdown(self))

    @classmethod
    def read(cls, folder: str | Path) -> "Variance":
        """The record in a folder that `write` wrote.

        Raises ValueError where there is no variance.json, or one that is not a factorial's.
        """
        what = "the variances of a factorial run"
        return _record_file.read("Variance.read", Path(folder) / FILE, what, cls.from_json)

    def draw(self, folder: str | Path) -> None:
        """Draw variance.png: the deviation that each source brings."""
        from fkd.compare.presentation import variance_figures  # matplotlib is loaded only for this

        variance_figures.write(Path(folder), self)


def deviation(variance: float) -> float:
    """The deviation, in points, that a variance of shares stands for; of a negative one none."""
    return POINTS * math.sqrt(max(variance, 0.0))


def in_points(parts: dict[str, Component]) -> dict[str, dict[str, float]]:
    """Components of shares as a file tells them: in points squared; their deviation in points."""
    return {
        source: {
            "variance": part.variance * POINTS**2,
            "low": part.low * POINTS**2,
            "high": part.high * POINTS**2,
            "deviation": deviation(part.variance),
            "degrees": part.degrees,
        }
        for source, part in parts.items()
    }
