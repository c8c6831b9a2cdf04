"""What comparisons with several teachers measured: one record of all, which reads itself back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fkd import _check
from fkd.compare import _over_runs, _record_file
from fkd.compare._counted import counted
from fkd.compare._difference import has_width
from fkd.compare._json import with_nan, with_null, with_seeds
from fkd.compare._over_runs import OverRuns
from fkd.compare.results import Results
from fkd.compare.variance import in_points
from fkd.compare.vary import TEACHER
from fkd.ensemble import Seed
from fkd.statistics import Bounds, crossed

FILE = "teachers.json"
# In what comparisons of one record may differ: where they are, and the teacher.
APART = ("teacher_seed", "output", "root")


class Over(NamedTuple):
    """By how much a method's mean accuracy is above the baseline's over all teachers and seeds, in
    [−1, 1], with the bounds for these teachers and for teachers like these: NaN where the seeds'
    means over the teachers are all the same, and so too few to tell."""

    mean: float
    on_these: Bounds
    on_like_these: Bounds

    @property
    def known(self) -> bool:
        """Whether there are bounds."""
        return not math.isnan(self.on_these.low)


@dataclass(kw_only=True)
class Teachers(OverRuns):
    """The test accuracy of each student of each teacher, after the last epoch, and what it tells.

    `accuracy` is in [0, 1], by method, [teachers, seeds], of the methods that have ended with every
    teacher; of the others, `failed` says of those that failed why, and `waiting` names those that
    have not ended. The `seeds` are the same with every teacher. `teacher_seeds` are those that the
    teachers were trained from, and `teacher_accuracy` says how good each became; `teachers_asked`
    is how many there were to be. `config`, as in results.json, `environment` and `device` are those
    of the first teacher's run, and `seconds` the sum over all.
    """

    teacher_seeds: list[int]
    teacher_accuracy: list[float]
    teachers_asked: int
    seeds: list[Seed]

    @classmethod
    def of(cls, runs: Sequence[Results]) -> "Teachers":
        """The record of comparisons that differ in the seed of their teacher alone.

        A method that failed with one of the teachers has no accuracy here. Of comparisons that were
        stopped there are the methods that all have ended; but where two have ended all methods, a
        teacher with whom that is not so is left out, as one is that itself failed. Raises
        ValueError for fewer than two comparisons, teachers that did not fail, or seeds, teachers
        that were not trained from seeds of their own, and for what differs otherwise.
        """
        _check.sequence("Teachers.of", runs=runs)
        for run in runs:
            _check.kind("Teachers.of", Results, run=run)
        if len(runs) < 2:
            raise ValueError(
                "Teachers.of: runs must be those of two teachers or more, but there "
                f"{'is one' if runs else 'are none'}"
            )
        for run in runs:
            _check_alike(runs[0], run)
        taught = [run for run in runs if TEACHER not in run.failed]
        apart = [run for run in runs if TEACHER in run.failed]
        if len(taught) < 2:
            raise ValueError(
                f"Teachers.of: two teachers or more must be trained, but {len(apart)} of "
                f"{len(runs)} failed: {apart[-1].failed[TEACHER].reason}"
            )
        seeds = [run.config["teacher_seed"] for run in taught if run.teacher]
        seeds = [int(seed) for seed in seeds if seed is not None]
        if len(set(seeds)) < len(taught):
            raise ValueError(
                "Teachers.of: each run's teacher must be trained there, from a seed of its own, "
                f"but the seeds are {seeds!r:.100}; give each run another teacher_seed"
            )
        ended = [run for run in taught if not run.waiting]
        taken = ended if len(ended) > 1 else taught
        fields = _over_runs.measured(taken)
        for run in apart:
            fields["failed"] |= run.failed
        return cls(
            teacher_seeds=[int(run.config["teacher_seed"]) for run in taken],
            teacher_accuracy=[run.teacher.accuracy for run in taken if run.teacher],
            teachers_asked=max(runs[0].config.get("teachers") or 0, len(runs)),
            seeds=with_seeds(taken[0].config["seeds"]),
            **fields,
        )

    @property
    def sources(self) -> Sequence[str]:
        """Teachers on the first axis of accuracy, seeds on the second."""
        return (TEACHER, "seed")

    @property
    def lacking(self) -> list[str]:
        """Which methods and teachers are not in the record, and why, in clauses."""
        told, ended = super().lacking, len(self.teacher_seeds)
        if ended < self.teachers_asked:
            have = "has" if ended == 1 else "have"
            told.append(f"{ended} of {counted(self.teachers_asked, 'teacher')} {have} ended")
        return told

    @property
    def summary(self) -> str:
        """`digits, 4 teachers, 8 seeds, 10 epochs`."""
        teachers = counted(len(self.teacher_seeds), "teacher")
        seeds, epochs = len(self.seeds), self.config["epochs"]
        told = f"{counted(seeds, 'seed')}, {counted(epochs, 'epoch')}"
        return f"{self.data.name}, {teachers}, {told}"

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
        the first, which its degrees of freedom would make it where there are few seeds. So where
        the seeds' means are all the same, as those of two often are, neither is known: M_seeds is
        zero then, however large the rest is that it holds too.
        """
        d = self.difference(name).T
        told = crossed(d, np.zeros_like(d), confidence)
        these, like = told.on_these, told.on_like_these
        if not has_width(these.low, these.high):
            none = {"low": math.nan, "high": math.nan}
            return Over(told.difference, these._replace(**none), like._replace(**none))
        wider = like._replace(low=min(like.low, these.low), high=max(like.high, these.high))
        return Over(told.difference, these, wider)

    def to_json(self) -> dict[str, Any]:
        """The structure of teachers.json, where None stands for a number that is not finite. Beside
        what is read back it holds what is concluded: of each difference the mean with its bounds,
        in [−1, 1], and its `components`, in points squared."""
        differences = {
            name: _told(self.over(name)) | {"components": in_points(parts)}
            for name, parts in self.of_differences.items()
        }
        entry = {
            "teacher_seeds": self.teacher_seeds,
            "teacher_accuracy": self.teacher_accuracy,
            "teachers_asked": self.teachers_asked,
            "seeds": self.seeds,
            "differences": differences,
        }
        return with_null(entry | _over_runs.to_json(self))

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "Teachers":
        """The record of what `to_json` gave, now or in an earlier version."""
        return cls(
            teacher_seeds=entry["teacher_seeds"],
            teacher_accuracy=with_nan(entry["teacher_accuracy"]),
            teachers_asked=entry.get("teachers_asked", len(entry["teacher_seeds"])),
            seeds=with_seeds(entry["seeds"]),
            **_over_runs.from_json(entry),
        )

    def write(self, folder: str | Path) -> None:
        """Write teachers.json and teachers.md in UTF-8, each whole or not at all.

        Raises OSError where the folder cannot be written.
        """
        from fkd.compare.presentation import teachers_table  # rich is loaded only for this

        _record_file.write(Path(folder) / FILE, self.to_json())
        _record_file.write(Path(folder) / "teachers.md", teachers_table.markdown(self))

    @classmethod
    def read(cls, folder: str | Path) -> "Teachers":
        """The record in a folder that `write` wrote.

        Raises ValueError where there is no teachers.json, or one that is not of such comparisons.
        """
        what = "the results of several teachers"
        return _record_file.read("Teachers.read", Path(folder) / FILE, what, cls.from_json)

    def draw(self, folder: str | Path) -> None:
        """Draw teachers.png: each method's difference from the baseline with each teacher."""
        from fkd.compare.presentation import teachers_figures  # matplotlib is loaded only for this

        teachers_figures.write(Path(folder), self)


def differs(bounds: Bounds) -> bool:
    """Whether a difference of these bounds is seen."""
    return bounds.low > 0 or bounds.high < 0


def _told(over: Over) -> dict[str, Any]:
    return {
        "mean": over.mean,
        "on_these": over.on_these._asdict(),
        "on_like_these": over.on_like_these._asdict(),
    }


def _check_alike(first: Results, run: Results) -> None:
    """Refuse a comparison that differs from the first in more than its teacher's seed, or is not
    one of two seeds and more."""
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
    if any(list(one.seeds) != list(seeds) for one in run.methods.values()):
        raise ValueError(
            "Teachers.of: each method must have the seeds that its run was asked for, but one has "
            "others; give all runs the same seeds"
        )
