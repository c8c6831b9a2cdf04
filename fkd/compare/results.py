"""What a comparison measured: a record that writes itself, reads itself back and draws itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fkd import checkpoint
from fkd.compare._json import with_nan, with_null
from fkd.compare.environment import environment
from fkd.compare.failure import Failure, failure_of
from fkd.statistics import Interval, Paired, interval, paired

__all__ = [
    "DataSummary",
    "Failure",
    "MethodResults",
    "Results",
    "SettingResults",
    "SweepResults",
    "TeacherResults",
    "environment",
    "failure_of",
]

# By metric: one list an epoch of one number a seed, which may be NaN or infinite.
Curves = dict[str, list[list[float]]]


@dataclass(frozen=True)
class DataSummary:
    """A data set in numbers: its classes, and the examples of each split."""

    name: str
    classes: int
    train: int
    test: int
    validation: int = 0
    unit: str = "images"  # what one example is called


@dataclass(frozen=True)
class TeacherResults:
    """The teacher's test accuracy, in [0, 1]; `curves` by epoch if it was trained here.

    `live` says that it was asked about each batch, for its outputs did not fit into memory.
    """

    accuracy: float
    curves: dict[str, list[float]] | None = None
    live: bool = False


@dataclass(frozen=True)
class SettingResults:
    """One setting of a sweep: its hyperparameters and each seed's accuracy on the validation split.

    The accuracy of a seed that diverged is None.
    """

    hyper: dict[str, float]
    validation_accuracy: list[float | None]

    @property
    def diverged(self) -> bool:
        """Whether a seed did."""
        return any(x is None or not math.isfinite(x) for x in self.validation_accuracy)


@dataclass(frozen=True)
class SweepResults:
    """All settings of a method's sweep, and the number of the chosen one."""

    settings: list[SettingResults]
    chosen: int

    @property
    def best(self) -> SettingResults:
        """The chosen setting."""
        return self.settings[self.chosen]

    @property
    def axes(self) -> dict[str, list[float]]:
        """The values of each hyperparameter, in rising order."""
        names = self.settings[0].hyper
        return {name: sorted({s.hyper[name] for s in self.settings}) for name in names}


@dataclass(frozen=True)
class MethodResults:
    """One method's students: their seeds and curves; of a sweep, those of the chosen setting.

    `seconds` holds `first_step` (with compilation), `steps` (the others) and `evaluation`, of all
    students that were trained.
    """

    seeds: list[int]
    curves: Curves
    seconds: dict[str, float]
    sweep: SweepResults | None = None

    def last(self, metric: str) -> list[float]:
        """A metric after the last epoch, one number a seed."""
        return self.curves[metric][-1]

    def best(self, metric: str) -> list[float]:
        """A metric at each seed's own best epoch, one number a seed.

        Where the metric is of the test split, this is what choosing the epoch on it would tell.
        """
        columns = zip(*self.curves[metric], strict=True)
        return [max(_numbers(column), default=math.nan) for column in columns]


@dataclass
class Results:
    """A comparison as it stands: it is filled while the comparison runs.

    `config` is what was asked, in JSON's own types; `parameters` and `shapes` are by role,
    `teacher` or `student`; `failed` says of each method that has no results why. `complete`
    is False until every method has results, and `resumed` is how often the run was gone on with.
    `seconds` holds `total` and its parts, and as `estimated_total` what the total was estimated at
    when the pace of the first students was known.
    """

    config: dict[str, Any]
    environment: dict[str, Any]
    data: DataSummary
    device: str
    baseline: str
    parameters: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    compiled: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    teacher: TeacherResults | None = None
    methods: dict[str, MethodResults] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    complete: bool = False
    resumed: int = 0

    def accuracy(self, method: str) -> Interval:
        """The mean test accuracy over seeds, and its interval."""
        return _interval(self.methods[method].last("test_accuracy"))

    def best(self, method: str) -> Interval:
        """The mean test accuracy over seeds at each seed's best epoch, and its interval.

        It is told beside `accuracy` for what it hides: an epoch chosen on the test set.
        """
        return _interval(self.methods[method].best("test_accuracy"))

    def average(self, method: str) -> Interval | None:
        """The mean test accuracy of the running averages of weights, where they were kept."""
        kept = "test_accuracy_of_average" in self.methods[method].curves
        return _interval(self.methods[method].last("test_accuracy_of_average")) if kept else None

    def agreement(self, method: str) -> Interval:
        """The mean share of test examples where student and teacher name the same class."""
        return _interval(self.methods[method].last("teacher_agreement"))

    def difference(self, method: str) -> Paired | None:
        """The test accuracy above that of the baseline, paired by seed; None without a pair."""
        if method == self.baseline or self.baseline not in self.methods:
            return None
        base = self.methods[self.baseline].last("test_accuracy")
        own = self.methods[method].last("test_accuracy")
        if len(_numbers([*own, *base])) < len([*own, *base]):
            return Paired(math.nan, None, None, None)
        with np.errstate(all="ignore"):
            return paired(own, base)

    @property
    def summary(self) -> str:
        """`digits, 8 seeds, 10 epochs`."""
        return (
            f"{self.data.name}, {len(self.config['seeds'])} seeds, {self.config['epochs']} epochs"
        )

    def to_json(self) -> dict[str, Any]:
        """The structure of results.json, where None stands for a number that is not finite."""
        methods = {name: self._method_to_json(name) for name in self.methods}
        entry = asdict(self) | {"methods": methods}
        for optional in ("networks", "failed"):
            if not entry[optional]:
                del entry[optional]
        return with_null(entry)

    def _method_to_json(self, name: str) -> dict[str, Any]:
        method = self.methods[name]
        rows = [
            {"seed": seed} | {metric: method.last(metric)[k] for metric in method.curves}
            for k, seed in enumerate(method.seeds)
        ]
        entry = {
            "seeds": rows,
            "curves": method.curves,
            "seconds": method.seconds,
            "accuracy": self.accuracy(name)._asdict(),
            "agreement": self.agreement(name)._asdict(),
            "best": self.best(name)._asdict(),
        }
        if method.sweep:
            entry["sweep"] = asdict(method.sweep)
        difference = self.difference(name)
        if difference:
            entry["difference"] = difference._asdict()
        return entry

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Results:
        """The record of what `to_json` gave, or an earlier version of it, which knew less."""
        shapes = {
            role: {name: tuple(shape) for name, shape in outputs.items()}
            for role, outputs in entry["shapes"].items()
        }
        return cls(
            config=entry["config"],
            environment=entry["environment"],
            data=DataSummary(**entry["data"]),
            device=entry["device"],
            baseline=entry["baseline"],
            parameters=entry["parameters"],
            shapes=shapes,
            networks=entry.get("networks", {}),
            compiled=entry["compiled"],
            seconds=with_nan(entry["seconds"]),
            teacher=_teacher(entry["teacher"]) if entry.get("teacher") else None,
            methods={name: _method(method) for name, method in entry["methods"].items()},
            failed=_failed(entry),
            complete=entry["complete"],
            resumed=entry.get("resumed", 0),
        )

    def write(self, folder: str | Path) -> None:
        """Write results.json and table.md in UTF-8, each whole or not at all.

        Raises OSError where the folder cannot be written.
        """
        from fkd.compare import table  # rich is loaded only for this

        text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        _write(Path(folder) / "results.json", text)
        _write(Path(folder) / "table.md", table.markdown(self))

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """The record in a folder that `write` wrote, now or in an earlier version.

        Raises ValueError where there is no results.json, or one that is not a comparison's.
        """
        path = Path(folder) / "results.json"
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise ValueError(
                f"Results.read: there is no file {path}; give the folder of a comparison"
            ) from error
        except OSError as error:
            raise ValueError(f"Results.read: {path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"Results.read: {path} must hold the results of a comparison, but "
                f"{type(error).__name__}: {error}"
            ) from error

    def draw(self, folder: str | Path) -> None:
        """Draw accuracy.png, curves.png, and sweep-METHOD.png for each method that was swept."""
        from fkd.compare import figures  # matplotlib is loaded only for this

        figures.write(Path(folder), self)


def _teacher(entry: dict[str, Any]) -> TeacherResults:
    curves = entry.get("curves")
    return TeacherResults(
        accuracy=with_nan(entry["accuracy"]),
        curves=None if curves is None else with_nan(curves),
        live=entry.get("live", False),
    )


def _method(entry: dict[str, Any]) -> MethodResults:
    sweep = None
    if "sweep" in entry:
        settings = [
            SettingResults(with_nan(setting["hyper"]), setting["validation_accuracy"])
            for setting in entry["sweep"]["settings"]
        ]
        sweep = SweepResults(settings, entry["sweep"]["chosen"])
    seeds = [row["seed"] for row in entry["seeds"]]
    return MethodResults(seeds, with_nan(entry["curves"]), with_nan(entry["seconds"]), sweep)


def _failed(entry: dict[str, Any]) -> dict[str, Failure]:
    # An earlier version knew of divergence alone.
    earlier = {name: Failure("diverged", why) for name, why in entry.get("diverged", {}).items()}
    return earlier | {name: Failure(**why) for name, why in entry.get("failed", {}).items()}


def _interval(values: Sequence[float]) -> Interval:
    """The interval of a mean; of values that are not all numbers there is none."""
    if len(_numbers(values)) < len(values):
        return Interval(math.nan, None, None, None)
    with np.errstate(all="ignore"):  # what overflows is infinite, and no error
        return interval(values)


def _numbers(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _write(path: Path, text: str) -> None:
    # Names that are no text, of files that the system gave, are told by their bytes.
    with checkpoint.whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
