"""What a factorial run measured: each source's variance, in a record that reads itself back."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from fkd import _check, checkpoint
from fkd.compare._json import with_nan, with_null
from fkd.compare.failure import Failure
from fkd.compare.results import DataSummary, Results
from fkd.compare.vary import TEACHER, Factorial
from fkd.statistics import Component, components

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


@dataclass
class Variance:
    """The test accuracy of every member of a factorial, after the last epoch, and what it tells.

    `accuracy` is in [0, 1], by method, [levels of each source]. `config` is what was asked, as in
    results.json; `environment` and `device` are those of the first teacher's run, and `seconds` the
    sum over all. `failed` says of each method that has no accuracy why.
    """

    factorial: Factorial
    accuracy: dict[str, np.ndarray]
    baseline: str
    config: dict[str, Any]
    environment: dict[str, Any]
    data: DataSummary
    device: str
    seconds: float = 0.0
    failed: dict[str, Failure] = field(default_factory=dict)

    @classmethod
    def of(cls, factorial: Factorial, runs: Sequence[Results]) -> "Variance":
        """The record of comparisons whose seeds are the factorial's, one for each of its teachers.

        Raises ValueError for another number of comparisons, and for other seeds.
        """
        _check.kind("Variance.of", Factorial, factorial=factorial)
        _check.sequence("Variance.of", runs=runs)
        for run in runs:
            _check.kind("Variance.of", Results, run=run)
        teachers = len(factorial.teacher_seeds(0))
        if len(runs) != teachers:
            raise ValueError(
                f"Variance.of: there must be a run for each teacher, {teachers}, but there are "
                f"{len(runs)}"
            )
        failed = {name: why for run in runs for name, why in run.failed.items()}
        accuracy = {}
        for name in runs[0].methods:
            if not all(name in run.methods for run in runs):
                continue
            for run in runs:
                if list(run.methods[name].seeds) != factorial.seeds:
                    raise ValueError(
                        f"Variance.of: {name} must have the factorial's seeds, but it has others; "
                        "give seeds=factorial.seeds to each comparison"
                    )
            rows = [run.methods[name].last("test_accuracy") for run in runs]
            accuracy[name] = factorial.arranged(np.array(rows, dtype=np.float64))
        first = runs[0]
        return cls(
            factorial=factorial,
            accuracy=accuracy,
            baseline=first.baseline,
            config=first.config | {"vary": list(factorial.sources), "levels": factorial.levels},
            environment=first.environment,
            data=first.data,
            device=first.device,
            seconds=sum(run.seconds.get("total", 0.0) for run in runs),
            failed=failed,
        )

    @property
    def compared(self) -> list[str]:
        """The methods whose difference from the baseline is known."""
        if self.baseline not in self.accuracy:
            return []
        return [name for name in self.accuracy if name != self.baseline]

    def of_method(self, name: str) -> dict[str, Component]:
        """The variance of each source in a method's accuracy, and of the rest."""
        return of_sources(self.accuracy[name], self.factorial.sources)

    def of_difference(self, name: str) -> dict[str, Component]:
        """The same in the method's difference from the baseline, member by member."""
        difference = self.accuracy[name] - self.accuracy[self.baseline]
        return of_sources(difference, self.factorial.sources)

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
        told = {name: in_points(self.of_method(name)) for name in self.accuracy}
        differences = {name: in_points(self.of_difference(name)) for name in self.compared}
        entry = {
            "sources": list(self.factorial.sources),
            "levels": self.factorial.levels,
            "accuracy": {name: values.tolist() for name, values in self.accuracy.items()},
            "components": {"accuracy": told, "difference": differences},
            "baseline": self.baseline,
            "config": self.config,
            "environment": self.environment,
            "data": asdict(self.data),
            "device": self.device,
            "seconds": self.seconds,
            "failed": {name: asdict(why) for name, why in self.failed.items()},
        }
        return with_null(entry)

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "Variance":
        """The record of what `to_json` gave."""
        return cls(
            factorial=Factorial(tuple(entry["sources"]), entry["levels"]),
            accuracy={
                name: np.array(with_nan(values), dtype=np.float64)
                for name, values in entry["accuracy"].items()
            },
            baseline=entry["baseline"],
            config=entry["config"],
            environment=entry["environment"],
            data=DataSummary(**entry["data"]),
            device=entry["device"],
            seconds=entry["seconds"],
            failed={name: Failure(**why) for name, why in entry["failed"].items()},
        )

    def write(self, folder: str | Path) -> None:
        """Write variance.json and variance.md in UTF-8, each whole or not at all.

        Raises OSError where the folder cannot be written.
        """
        from fkd.compare.presentation import variance_table  # rich is loaded only for this

        text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        for name, content in ((FILE, text), ("variance.md", variance_table.markdown(self))):
            with checkpoint.whole(Path(folder) / name) as temporary:
                temporary.write_text(content, encoding="utf-8", errors="backslashreplace")

    @classmethod
    def read(cls, folder: str | Path) -> "Variance":
        """The record in a folder that `write` wrote.

        Raises ValueError where there is no variance.json, or one that is not a factorial's.
        """
        path = Path(folder) / FILE
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(f"Variance.read: {path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"Variance.read: {path} must hold the variances of a factorial run, but "
                f"{type(error).__name__}: {error}"
            ) from error


def of_sources(
    values: np.ndarray, sources: Sequence[str], confidence: float = 0.95
) -> dict[str, Component]:
    """The variance of each source of values [levels of each], and of the rest, by
    `fkd.statistics.components`; of one source alone its plain variance and its exact interval,
    (n − 1) s² / χ² quantiles, without a rest.

    >>> round(of_sources(np.array([1.0, 2.0, 3.0]), ["order"])["order"].high, 4)
    39.4979
    """
    if len(sources) > 1:
        return components(values, sources, confidence)
    degrees, variance = len(values) - 1, float(np.var(values, ddof=1))
    low, high = (
        degrees * variance / float(stats.chi2.ppf(q, degrees))
        for q in ((1 + confidence) / 2, (1 - confidence) / 2)
    )
    return {sources[0]: Component(variance, low, high, variance, degrees)}


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
