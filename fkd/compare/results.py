"""What a comparison measured: a record that writes itself, reads itself back and draws itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fkd._imported import name_of
from fkd.compare import _record_file
from fkd.compare._coherence import check_coherent
from fkd.compare._counted import counted
from fkd.compare._json import bits, of_bits, with_nan, with_null, with_seeds
from fkd.compare.environment import environment
from fkd.compare.failure import Failure, failure_of
from fkd.ensemble import Seed, Seeds
from fkd.execution import Plan
from fkd.statistics import Interval, interval, two_stage

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

FILE = "results.json"
LARGEST = 1e100  # of numbers that statistics are taken of
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
    """The teacher's test accuracy, in [0, 1]; `curves` by epoch if it was trained here, and the
    `plans` of `MethodResults`. `live` says that it was asked about each batch, for its outputs did
    not fit into memory.
    """

    accuracy: float
    curves: dict[str, list[float]] | None = None
    live: bool = False
    plans: list[Plan] = field(default_factory=list)


@dataclass(frozen=True)
class SettingResults:
    """One setting of a sweep: its hyperparameters and each seed's accuracy on the validation split.

    `test_accuracy` is that on the test split after the last epoch, which the choice of a setting
    never looks at: it tells what the choice was worth. It is None in results from before it was
    kept. The accuracy of a seed that diverged is None.
    """

    hyper: dict[str, float]
    validation_accuracy: list[float | None]
    test_accuracy: list[float | None] | None = None

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


@dataclass(frozen=True, eq=False)
class MethodResults:
    """One method's students: their seeds and curves; of a sweep, those of the chosen setting.

    `seconds` holds `first_step` (with compilation), `steps` (the others) and `evaluation`, of all
    students that were trained. `answers`, bool [seeds, test examples], says which of the test
    examples each was right about after the last epoch: None where an example has no class of its
    own, as of dense labels, and in results from before they were kept. `plans` are those by which
    the steps were taken, with nothing left to choose, and compiled only where the compiler could
    take them: more than one where processes, rounds of seeds or a run that went on elsewhere had
    others; none in results from before they were kept.
    """

    seeds: list[Seed]
    curves: Curves
    seconds: dict[str, float]
    sweep: SweepResults | None = None
    answers: np.ndarray | None = None
    plans: list[Plan] = field(default_factory=list)

    def __eq__(self, other: object) -> bool:
        """Whether all is the same, and the answers bit for bit: arrays have no single truth."""
        if not isinstance(other, MethodResults):
            return NotImplemented
        return self._told() == other._told()

    def _told(self) -> tuple[Any, ...]:
        answers = None if self.answers is None else self.answers.tolist()
        return self.seeds, self.curves, self.seconds, self.sweep, answers, self.plans

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
    `teacher` or `student`; `failed` says of each method without results why, or of the `teacher`
    alone. `complete` is False until all have results, and `resumed` is how often the run was gone
    on with. `compiled` says whether any training was, and the `plans` of each which. `seconds`
    holds `total` and its parts, and as `estimated_total` what that was estimated at when the first
    students had ended an epoch. `pilot` says how many of each method's first seeds were the pilot
    of a run in two stages, whose intervals are Stein's; None in one stage. `unfinished` keeps what
    was measured of methods that failed when new seeds were to join theirs.
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
    pilot: int | None = None
    unfinished: dict[str, MethodResults] = field(default_factory=dict)

    def accuracy(self, method: str) -> Interval:
        """The mean test accuracy over seeds, and its interval."""
        return self._interval(self.methods[method].last("test_accuracy"))

    def best(self, method: str) -> Interval:
        """The mean test accuracy over seeds at each seed's best epoch, and its interval.

        It is told beside `accuracy` for what it hides: an epoch chosen on the test set.
        """
        return self._interval(self.methods[method].best("test_accuracy"))

    def average(self, method: str) -> Interval | None:
        """The mean test accuracy of the running averages of weights, where they were kept."""
        one = self.methods[method]
        kept = "test_accuracy_of_average" in one.curves
        return self._interval(one.last("test_accuracy_of_average")) if kept else None

    def agreement(self, method: str) -> Interval:
        """The mean share of test examples where student and teacher name the same class."""
        return self._interval(self.methods[method].last("teacher_agreement"))

    def _interval(self, values: Sequence[float]) -> Interval:
        """The interval of a mean, Stein's after a pilot; of values that are not all numbers there
        is none, nor of a factorial's."""
        if len(_numbers(values)) < len(values):
            return Interval(math.nan, None, None, None)
        if self.factorial:
            return Interval(float(np.mean(values)), None, None, None)
        with np.errstate(all="ignore"):  # what overflows is infinite, and no error
            told = interval(values)
        if self.pilot is None:
            return told
        if max(map(abs, values)) > LARGEST:
            return told._replace(low=None, high=None)
        _, low, high = two_stage(np.array([values]), self.pilot)
        return told._replace(low=float(low[0]), high=float(high[0]))

    @property
    def seeds(self) -> int:
        """How many seeds a method has: after a pilot more than were asked for."""
        return max(
            (len(method.seeds) for method in self.methods.values()),
            default=len(self.config["seeds"]),
        )

    @property
    def factorial(self) -> bool:
        """Whether members have a seed of each source, and share some: they are no independent
        draws, and no interval over them holds. What varies is told by `fkd.compare.Variance`."""
        seeds = (seed for method in self.methods.values() for seed in method.seeds)
        return any(isinstance(seed, Seeds) for seed in seeds)

    @property
    def waiting(self) -> list[str]:
        """The methods that were asked for and have neither results nor failed, by the names that
        they go by."""
        ended = {*self.methods, *self.failed}
        asked = dict.fromkeys(
            name if name in ended else name_of(name) for name in self.config.get("methods", ())
        )
        return [name for name in asked if name not in ended]

    @property
    def summary(self) -> str:
        """`digits, 8 seeds, 10 epochs`."""
        epochs = counted(self.config["epochs"], "epoch")
        return f"{self.data.name}, {counted(self.seeds, 'seed')}, {epochs}"

    def to_json(self) -> dict[str, Any]:
        """The structure of results.json, where None stands for a number that is not finite.

        Beside what is read back it holds what is concluded: see `fkd.compare.conclusions`.
        """
        from fkd.compare import conclusions  # which takes Results

        methods = {name: self._method_to_json(name) for name in self.methods}
        for metric in conclusions.METRICS:
            for name, one in conclusions.differences(self, metric).items():
                methods[name].setdefault("differences", {})[metric] = one.to_json()
        unfinished = {name: _measured(one) for name, one in self.unfinished.items()}
        entry = asdict(self) | {"methods": methods, "unfinished": unfinished}
        entry["sentence"] = conclusions.sentence(self)
        optional = [(entry, name) for name in ("networks", "failed", "pilot", "unfinished")]
        for part, name in [*optional, (entry["teacher"] or {}, "plans")]:
            if not part.get(name):
                part.pop(name, None)
        return with_null(entry)

    def _method_to_json(self, name: str) -> dict[str, Any]:
        return _measured(self.methods[name]) | {
            "accuracy": self.accuracy(name)._asdict(),
            "agreement": self.agreement(name)._asdict(),
            "best": self.best(name)._asdict(),
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Results:
        """The record of what `to_json` gave, or an earlier version of it, which knew less.

        Raises ValueError for one that does not agree with itself, as after an edit by hand.
        """
        shapes = {
            role: {name: tuple(shape) for name, shape in outputs.items()}
            for role, outputs in entry["shapes"].items()
        }
        check_coherent(entry)
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
            pilot=entry.get("pilot"),
            unfinished={name: _method(one) for name, one in entry.get("unfinished", {}).items()},
        )

    def write(self, folder: str | Path) -> None:
        """Write results.json and table.md in UTF-8, each whole or not at all.

        Raises OSError where the folder cannot be written.
        """
        self.write_numbers(folder)
        self.write_table(folder)

    def write_numbers(self, folder: str | Path) -> None:
        """Write results.json alone, of which all else can be made again."""
        _record_file.write(Path(folder) / FILE, self.to_json())

    def write_table(self, folder: str | Path) -> None:
        """Write table.md alone."""
        from fkd.compare.presentation import table  # rich is loaded only for this

        _record_file.write(Path(folder) / "table.md", table.markdown(self))

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """The record in a folder that `write` wrote, now or in an earlier version.

        Raises ValueError where there is no results.json, or one that is not a comparison's, or
        that does not agree with itself.
        """
        what = "the results of a comparison"
        return _record_file.read("Results.read", Path(folder) / FILE, what, cls.from_json)

    def draw(self, folder: str | Path) -> None:
        """Draw accuracy.png, curves.png, and sweep-METHOD.png for each method that was swept."""
        from fkd.compare.presentation import figures  # matplotlib is loaded only for this

        figures.write(Path(folder), self)


def _teacher(entry: dict[str, Any]) -> TeacherResults:
    curves = entry.get("curves")
    curves = None if curves is None else with_nan(curves)
    live, plans = entry.get("live", False), _plans(entry)
    return TeacherResults(with_nan(entry["accuracy"]), curves, live, plans)


def _measured(method: MethodResults) -> dict[str, Any]:
    """What is read back of a method."""
    rows = [
        {"seed": seed} | {metric: method.last(metric)[k] for metric in method.curves}
        for k, seed in enumerate(method.seeds)
    ]
    entry = {"seeds": rows, "curves": method.curves, "seconds": method.seconds}
    if method.sweep:
        entry["sweep"] = asdict(method.sweep)
        for setting in entry["sweep"]["settings"]:
            if setting["test_accuracy"] is None:
                del setting["test_accuracy"]
    if method.answers is not None:
        entry["answers"] = {"shape": method.answers.shape, "bits": bits(method.answers)}
    if method.plans:
        entry["plans"] = [asdict(plan) for plan in method.plans]
    return entry


def _method(entry: dict[str, Any]) -> MethodResults:
    sweep = None
    if "sweep" in entry:
        settings = [
            SettingResults(
                with_nan(setting["hyper"]),
                setting["validation_accuracy"],
                setting.get("test_accuracy"),
            )
            for setting in entry["sweep"]["settings"]
        ]
        sweep = SweepResults(settings, entry["sweep"]["chosen"])
    told = [row["seed"] for row in entry["seeds"]]
    seeds = with_seeds(told)
    curves, seconds = with_nan(entry["curves"]), with_nan(entry["seconds"])
    answers = None
    if "answers" in entry:
        seeds_and_examples = tuple(entry["answers"]["shape"])
        answers = of_bits(entry["answers"]["bits"], seeds_and_examples)
    return MethodResults(seeds, curves, seconds, sweep, answers, _plans(entry))


def _plans(entry: dict[str, Any]) -> list[Plan]:
    return [Plan(**plan) for plan in entry.get("plans", [])]


def _failed(entry: dict[str, Any]) -> dict[str, Failure]:
    # An earlier version knew of divergence alone.
    earlier = {name: Failure("diverged", why) for name, why in entry.get("diverged", {}).items()}
    return earlier | {name: Failure(**why) for name, why in entry.get("failed", {}).items()}


def _numbers(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
