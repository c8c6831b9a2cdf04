"""What comparisons with several teachers measured: one record of all, which reads itself back."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fkd import _check, checkpoint
from fkd.compare._difference import ROUNDING
from fkd.compare._json import with_nan, with_null, with_seeds
from fkd.compare.failure import Failure
from fkd.compare.results import LARGEST, DataSummary, Results
from fkd.compare.variance import in_points
from fkd.ensemble import Seed
from fkd.statistics import Bounds, Component, components, crossed

FILE = "teachers.json"
# In what comparisons of one record may differ: where they are, and the teacher.
APART = ("teacher_seed", "output", "root")
AXES = ("teacher", "seed")


class Over(NamedTuple):
    """By how much a method's mean accuracy is above the baseline's over all teachers and seeds, in
    [−1, 1], with the bounds for these teachers and for teachers like these."""

    mean: float
    on_these: Bounds
    on_like_these: Bounds


@dataclass
class Teachers:
    """The test accuracy of each student of each teacher, after the last epoch, and what it tells.

    `accuracy` is in [0, 1], by method, [teachers, seeds]; the `seeds` are the same with every
    teacher. `teacher_seeds` are those that the teachers were trained from, and `teacher_accuracy`
    says how good each became. `config`, as in results.json, `environment` and `device` are those of
    the first teacher's run, and `seconds` the sum over all. `failed` says of each method that has
    no accuracy why.
    """

    teacher_seeds: list[int]
    teacher_accuracy: list[float]
    seeds: list[Seed]
    accuracy: dict[str, np.ndarray]
    baseline: str
    config: dict[str, Any]
    environment: dict[str, Any]
    data: DataSummary
    device: str
    seconds: float = 0.0
    failed: dict[str, Failure] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Sequence[Results]) -> "Teachers":
        """The record of comparisons that differ in the seed of their teacher alone.

        A method that failed with one of the teachers has no accuracy here. Raises ValueError for
        fewer than two comparisons or seeds, teachers that were not trained from seeds of their own,
        a comparison that has not ended, and for what differs otherwise.
        """
        _check.sequence("Teachers.of", runs=runs)
        for run in runs:
            _check.kind("Teachers.of", Results, run=run)
        if len(runs) < 2:
            raise ValueError(
                "Teachers.of: runs must be those of two teachers or more, but there "
                f"{'is one' if runs else 'are none'}"
            )
        first = runs[0]
        for run in runs:
            _check_alike(first, run)
        trained = [
            run for run in runs if run.teacher and run.config.get("teacher_seed") is not None
        ]
        seeds = [int(run.config["teacher_seed"]) for run in trained]
        if len(set(seeds)) < len(runs):
            raise ValueError(
                "Teachers.of: each run's teacher must be trained there, from a seed of its own, "
                f"but the seeds are {seeds!r:.100}; give each run another teacher_seed"
            )
        accuracy = {}
        for name in first.methods:
            if all(name in run.methods for run in runs):
                rows = [run.methods[name].last("test_accuracy") for run in runs]
                accuracy[name] = np.array(rows, dtype=np.float64)
        return cls(
            teacher_seeds=seeds,
            teacher_accuracy=[run.teacher.accuracy for run in runs if run.teacher],
            seeds=with_seeds(first.config["seeds"]),
            accuracy=accuracy,
            baseline=first.baseline,
            config=first.config,
            environment=first.environment,
            data=first.data,
            device=first.device,
            seconds=sum(run.seconds.get("total", 0.0) for run in runs),
            failed={name: why for run in runs for name, why in run.failed.items()},
        )

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
        """By how much a method is above the baseline, [teachers, seeds]."""
        return self.accuracy[name] - self.accuracy[self.baseline]

    def over(self, name: str, confidence: float = 0.95) -> Over:
        """A method's mean difference from the baseline, and its two intervals.

        The difference of seed s with teacher t is split as

            d[s, t] = mean + seed[s] + teacher[t] + rest[s, t]

        which is what `fkd.statistics.crossed` takes with seeds on its first axis and teachers in
        the place of images on its second. So for these teachers, which are then no draws, the
        bounds are Student's t of the seeds' means over them; for teachers like these both seeds and
        teachers are draws, and the mean's variance is

            (M_seeds + max(M_teachers − M_rest, 0)) / (S T)

        with Satterthwaite's degrees of freedom. The second interval is never told to be surer than
        the first, which its degrees of freedom would make it where there are few seeds.
        """
        d = self.difference(name).T
        told = crossed(d, np.zeros_like(d), confidence)
        these, like = told.on_these, told.on_like_these
        wider = like._replace(low=min(like.low, these.low), high=max(like.high, these.high))
        return Over(told.difference, these, wider)

    def of_method(self, name: str) -> dict[str, Component]:
        """The variance of teacher and seed in a method's accuracy, and of the rest."""
        return components(self.accuracy[name], AXES)

    def of_difference(self, name: str) -> dict[str, Component]:
        """The same in the method's difference from the baseline."""
        return components(self.difference(name), AXES)

    def to_json(self) -> dict[str, Any]:
        """The structure of teachers.json, where None stands for a number that is not finite. Beside
        what is read back it holds what is concluded: of each difference the mean with its bounds,
        in [−1, 1], and its `components`, in points squared."""
        differences = {
            name: _told(self.over(name)) | {"components": in_points(self.of_difference(name))}
            for name in self.compared
        }
        entry = {
            "teacher_seeds": self.teacher_seeds,
            "teacher_accuracy": self.teacher_accuracy,
            "seeds": self.seeds,
            "accuracy": {name: values.tolist() for name, values in self.accuracy.items()},
            "differences": differences,
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
    def from_json(cls, entry: dict[str, Any]) -> "Teachers":
        """The record of what `to_json` gave."""
        return cls(
            teacher_seeds=entry["teacher_seeds"],
            teacher_accuracy=with_nan(entry["teacher_accuracy"]),
            seeds=with_seeds(entry["seeds"]),
            accuracy={
                name: np.array(with_nan(values), dtype=np.float64)
                for name, values in entry["accuracy"].items()
            },
            baseline=entry["baseline"],
            config=entry["config"],
            environment=entry["environment"],
            data=DataSummary(**entry["data"]),
            device=entry["device"],
            seconds=with_nan(entry["seconds"]),
            failed={name: Failure(**why) for name, why in entry["failed"].items()},
        )

    def write(self, folder: str | Path) -> None:
        """Write teachers.json and teachers.md in UTF-8, each whole or not at all.

        Raises OSError where the folder cannot be written.
        """
        from fkd.compare.presentation import teachers_table  # rich is loaded only for this

        text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        for name, content in ((FILE, text), ("teachers.md", teachers_table.markdown(self))):
            with checkpoint.whole(Path(folder) / name) as temporary:
                temporary.write_text(content, encoding="utf-8", errors="backslashreplace")

    @classmethod
    def read(cls, folder: str | Path) -> "Teachers":
        """The record in a folder that `write` wrote.

        Raises ValueError where there is no teachers.json, or one that is not of such comparisons.
        """
        path = Path(folder) / FILE
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(f"Teachers.read: {path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"Teachers.read: {path} must hold the results of several teachers, but "
                f"{type(error).__name__}: {error}"
            ) from error


def differs(bounds: Bounds) -> bool:
    """Whether a difference of these bounds is seen. Of one without a spread nothing is known."""
    low, high, _ = bounds
    return high - low >= ROUNDING and (low > 0 or high < 0)


def _told(over: Over) -> dict[str, Any]:
    return {
        "mean": over.mean,
        "on_these": over.on_these._asdict(),
        "on_like_these": over.on_like_these._asdict(),
    }


def _check_alike(first: Results, run: Results) -> None:
    """Refuse a comparison that differs from the first in more than its teacher's seed, or is not
    one of two seeds and more that has ended."""
    same = [name for name in first.config if name not in APART]
    differing = [name for name in same if first.config[name] != run.config.get(name)]
    if run.data != first.data:
        differing.append("data")
    if run.baseline != first.baseline:
        differing.append("baseline")
    if differing:
        raise ValueError(
            "Teachers.of: the runs must be of one comparison with other teachers, but they differ "
            f"in {', '.join(differing)}"
        )
    if run.factorial or run.pilot is not None or run.config.get("sweep"):
        raise ValueError(
            "Teachers.of: each run must be one stage of one setting over the same seeds, but there "
            "is a sweep, a pilot or a factorial; leave that out"
        )
    seeds = run.config["seeds"]
    if len(seeds) < 2:
        raise ValueError(
            "Teachers.of: without two seeds and more nothing is known of what they change, but "
            f"there is {len(seeds)}"
        )
    ended, others = {*run.methods, *run.failed}, {*first.methods, *first.failed}
    whole = len(ended) == len(run.config.get("methods", ended)) and ended == others
    if not whole or any(list(one.seeds) != list(seeds) for one in run.methods.values()):
        raise ValueError(
            "Teachers.of: each run must have ended, with the seeds that it was asked for, but one "
            "has not; go on with it first"
        )
