"""What several comparisons measured together: the accuracies of the methods that all have ended,
what varies in them, and what is not whole."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from fkd.compare._json import with_nan
from fkd.compare._sentence import missing
from fkd.compare.failure import Failure
from fkd.compare.results import LARGEST, DataSummary, Results
from fkd.compare.vary import TEACHER
from fkd.statistics import Component, components


@dataclass(kw_only=True)
class OverRuns(ABC):
    """The test accuracy of each student of several runs of one comparison, after the last epoch.

    `accuracy` is in [0, 1], by method; what its axes are, the kind of record says. `config` is what
    was asked, as in results.json; `environment` and `device` are those of the first run, and
    `seconds` the sum over all. Of the methods that have no accuracy, `failed` says of those that
    failed in a run why, and `waiting` names those that have not ended in every run.
    """

    accuracy: dict[str, np.ndarray]
    baseline: str
    config: dict[str, Any]
    environment: dict[str, Any]
    data: DataSummary
    device: str
    seconds: float = 0.0
    failed: dict[str, Failure] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    @property
    @abstractmethod
    def sources(self) -> Sequence[str]:
        """What varies along each of accuracy's axes."""

    @property
    def lacking(self) -> list[str]:
        """What is not in the record that was asked for, and why, in clauses."""
        where = " with all teachers" if TEACHER in self.sources else ""
        return missing(self.waiting, list(self.failed), where)

    @property
    def whole(self) -> bool:
        """Whether all that was asked for is in the record."""
        return not self.lacking

    @property
    def finite(self) -> list[str]:
        """The methods of which every accuracy is a number."""
        return [name for name, x in self.accuracy.items() if (np.abs(x) <= LARGEST).all()]

    @property
    def compared(self) -> list[str]:
        """The methods whose difference from the baseline is known."""
        known = self.finite
        return [name for name in known if name != self.baseline and self.baseline in known]

    def difference(self, name: str) -> np.ndarray:
        """By how much a method is above the baseline, student by student, on accuracy's axes."""
        return self.accuracy[name] - self.accuracy[self.baseline]

    def of_method(self, name: str) -> dict[str, Component]:
        """The variance of each source in a method's accuracy, and of the rest."""
        return of_sources(self.accuracy[name], self.sources)

    def of_difference(self, name: str) -> dict[str, Component]:
        """The same in the method's difference from the baseline, student by student."""
        return of_sources(self.difference(name), self.sources)

    @property
    def of_methods(self) -> dict[str, dict[str, Component]]:
        """What varies in the accuracy of each method that is finite."""
        return {name: self.of_method(name) for name in self.finite}

    @property
    def of_differences(self) -> dict[str, dict[str, Component]]:
        """What varies in the difference of each method that is compared."""
        return {name: self.of_difference(name) for name in self.compared}

    @property
    def components(self) -> dict[str, dict[str, Component]]:
        """What varies in each accuracy, and in each difference by its name, as `kd − ce`."""
        differences = self.of_differences.items()
        return self.of_methods | {f"{name} − {self.baseline}": x for name, x in differences}


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


def measured(runs: Sequence[Results]) -> dict[str, Any]:
    """The fields of `OverRuns` of these comparisons; `accuracy` is [runs, seeds]."""
    first = runs[0]
    accuracy = {
        name: np.array([run.methods[name].last("test_accuracy") for run in runs], dtype=np.float64)
        for name in first.methods
        if all(name in run.methods for run in runs)
    }
    failed = {name: why for run in runs for name, why in run.failed.items()}
    asked = dict.fromkeys(name for run in runs for name in (*run.methods, *run.waiting))
    return {
        "accuracy": accuracy,
        "baseline": first.baseline,
        "config": first.config,
        "environment": first.environment,
        "data": first.data,
        "device": first.device,
        "seconds": sum(run.seconds.get("total", 0.0) for run in runs),
        "failed": failed,
        "waiting": [name for name in asked if name not in accuracy and name not in failed],
    }


def to_json(record: OverRuns) -> dict[str, Any]:
    """The fields of `OverRuns` in JSON's own types, but for numbers that are not finite."""
    return {
        "accuracy": {name: values.tolist() for name, values in record.accuracy.items()},
        "baseline": record.baseline,
        "config": record.config,
        "environment": record.environment,
        "data": asdict(record.data),
        "device": record.device,
        "seconds": record.seconds,
        "failed": {name: asdict(why) for name, why in record.failed.items()},
        "waiting": record.waiting,
    }


def from_json(entry: dict[str, Any]) -> dict[str, Any]:
    """What `measured` gave, from what `to_json` gave; an earlier version kept whole runs alone."""
    return {
        "accuracy": {
            name: np.array(with_nan(values), dtype=np.float64)
            for name, values in entry["accuracy"].items()
        },
        "baseline": entry["baseline"],
        "config": entry["config"],
        "environment": entry["environment"],
        "data": DataSummary(**entry["data"]),
        "device": entry["device"],
        "seconds": with_nan(entry["seconds"]),
        "failed": {name: Failure(**why) for name, why in entry["failed"].items()},
        "waiting": entry.get("waiting", []),
    }
