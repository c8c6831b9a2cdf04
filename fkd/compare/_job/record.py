"""How students in training go: their curves, the seconds they take, and who diverged when."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fkd import evaluate
from fkd.compare._accord import Accord
from fkd.compare._job.finite import not_finite
from fkd.compare._json import bits, of_bits
from fkd.compare.results import Curves
from fkd.compare.sweep import Setting, describe
from fkd.data import Source
from fkd.distillation import State
from fkd.ensemble import Seed, part
from fkd.execution import Plan
from fkd.model import Model
from fkd.optim import AverageState
from fkd.train import At

NOW_AND_THEN = 1.0  # seconds between two waits for a GPU, of which one costs nothing then


class Marks(NamedTuple):
    """What an exam says of each member: numbers by name, what of it is not finite, or "", and in
    `bits` which examples it was right about, or None where they are not kept."""

    metrics: dict[str, list[float]]
    broken: list[str]
    answers: list[str | None]

    def rows(self) -> list[Any]:
        """A row of each member, in JSON's types."""
        columns = zip(*self.metrics.values(), strict=True)
        numbers = [dict(zip(self.metrics, row, strict=True)) for row in columns]
        return list(map(list, zip(self.broken, self.answers, numbers, strict=True)))


def marks_of(rows: Sequence[Any]) -> Marks:
    """The marks of those members that these rows are of."""
    broken, answers, numbers = map(list, zip(*rows, strict=True))
    return Marks({name: [row[name] for row in numbers] for name in numbers[0]}, broken, answers)


def answers_of(each: Sequence[str | None], examples: int) -> np.ndarray | None:
    """The answers of members, bool [members, examples]; None where they were not kept."""
    known = [of_bits(answers, (examples,)) for answers in each if answers is not None]
    return np.stack(known) if known else None


@dataclass(frozen=True)
class Exam:
    """Examples that students are measured on, their classes, and what the teacher says of them."""

    split: str
    source: Source
    labels: Tensor
    teacher: Tensor | None = None

    def measure(self, model: Model, state: State) -> Marks:
        """Accuracy, and beside a teacher agreement, calibration, loss and every answer; and who is
        not finite."""
        logits = evaluate.predict_members(model, state, self.source)
        metrics = {f"{self.split}_accuracy": evaluate.accuracy(logits, self.labels)}
        answers: list[str | None] = [None] * len(logits)
        if self.teacher is not None:
            metrics["teacher_agreement"] = evaluate.agreement(logits, self.teacher)
            metrics["calibration_error"] = evaluate.calibration_error(logits, self.labels)
            metrics[f"{self.split}_loss"] = evaluate.cross_entropy(logits, self.labels)
            right = evaluate.correct(logits, self.labels)
            if right.ndim == 2:  # one answer an example
                answers = [bits(row) for row in right.cpu().numpy()]
        broken = not_finite(model, state, logits)
        if isinstance(state.optimizer, AverageState):
            logits = evaluate.predict_members(model, state, self.source, average=True)
            metrics[f"{self.split}_accuracy_of_average"] = evaluate.accuracy(logits, self.labels)
        return Marks(as_lists(metrics), broken, answers)


def plans_of(each: Iterable[Sequence[dict[str, Any]]]) -> list[Plan]:
    """The plans that ranks told in JSON's types, each once."""
    return list(dict.fromkeys(Plan(**plan) for plans in each for plan in plans))


def as_lists(metrics: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Numbers of each member, by name, in JSON's types."""
    return {name: values.tolist() for name, values in metrics.items()}


def _no_seconds() -> dict[str, float]:
    return {"first_step": 0.0, "steps": 0.0, "evaluation": 0.0}


@dataclass
class Record:
    """One method's students: every seed of every setting of `grid`, one setting after the other.

    `own` are this rank's members, or None where every rank has all of them. `state` is that of
    these after the last step; all else is of all members, and the same on every rank but for the
    seconds and, until the end of a training, the `plans`, by which the steps were taken. Of each
    member, at the end of the last epoch, `diverged` holds the first step, counted from 0 over the
    run, whose loss was not finite, or -1, `broken` what of the student itself is not finite, or "",
    and `answers` which examples it was right about, as `Marks` holds them.
    """

    model: Model
    seeds: Sequence[Seed]
    grid: Sequence[Setting]
    own: slice | None = None
    state: State | None = None
    curves: Curves = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=_no_seconds)
    diverged: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    answers: list[str | None] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)

    def take_plan(self, plan: Plan) -> None:
        """Take in the plan by which a step was taken."""
        if plan not in self.plans:
            self.plans.append(plan)

    def share_plans(self, name: str, accord: Accord) -> None:
        """Take in those of every rank, once the students of that name are trained."""
        own = [asdict(plan) for plan in self.plans]
        self.plans = plans_of(accord.share(f"{name}: the plans", own))

    def end_epoch(self, name: str, at: At, exam: Exam, accord: Accord) -> None:
        """Put the end of an epoch, of the students of that name, into the curves."""
        begin = time.perf_counter()
        where = f"{name} after epoch {at.epoch + 1}"
        self.diverged = self.of_all(f"{where}: losses", at.diverged[name].tolist(), accord)
        self.broken = [""] * len(self.diverged)
        if not self.hopeless:
            marks = exam.measure(self.model, at.states[name])
            own = marks._replace(metrics=as_lists(at.metrics[name]) | marks.metrics)
            marks = marks_of(self.of_all(f"{where}: marks", own.rows(), accord))
            self.broken, self.answers = marks.broken, marks.answers
            for key, values in marks.metrics.items():
                self.curves.setdefault(key, []).append(values)
        self.seconds["evaluation"] += time.perf_counter() - begin

    def of_all(self, where: str, rows: list[Any], accord: Accord) -> list[Any]:
        """What is known of each of this rank's members -> of all members, on every rank; of those
        that every rank has, what rank 0 knows."""
        return accord.share(where, rows)[0] if self.own is None else accord.gather(where, rows)

    def part(self, chosen: slice) -> tuple[State, slice]:
        """This rank's students of those chosen of all, and which of the chosen these are."""
        assert self.state is not None
        own = chosen if self.own is None else self.own
        first, last = max(own.start, chosen.start), min(own.stop, chosen.stop)
        last = max(first, last)  # perhaps none
        begin = 0 if self.own is None else own.start
        state = part(self.state, slice(first - begin, last - begin))
        return state, slice(first - chosen.start, last - chosen.start)

    @property
    def hopeless(self) -> bool:
        """Whether every setting has a member whose loss was not finite, so that none can be chosen
        however long the training goes on."""
        return self._none_whole([step < 0 for step in self.diverged])

    @property
    def finite(self) -> list[bool]:
        """Whether each member is: its losses, and the student itself after the last update."""
        both = zip(self.diverged, self.broken, strict=True)
        return [step < 0 and not what for step, what in both]

    def tested(self, marks: Marks) -> list[float | None]:
        """The accuracy of each member in a test after the last epoch; None of one that is not
        finite."""
        each = zip(marks.metrics["test_accuracy"], self.finite, marks.broken, strict=True)
        return [value if fine and not broken else None for value, fine, broken in each]

    def why_diverged(self, steps_per_epoch: int) -> str | None:
        """Where no setting can be chosen, which member was the first to diverge, and when."""
        if not self._none_whole(self.finite):
            return None
        losses = [(step, k) for k, step in enumerate(self.diverged) if step >= 0]
        if losses:
            step, k = min(losses)
            epoch, step = step // steps_per_epoch + 1, step % steps_per_epoch + 1
            when = f"in epoch {epoch}, step {step} of {steps_per_epoch}"
            reason = self.tell(k, f"the loss became infinite or no number {when}")
        else:
            reason = self.why_broken(self.broken)
        if len(self.grid) == 1:
            return reason
        return f"each of {len(self.grid)} settings has a seed that diverged, the first {reason}"

    def why_broken(self, broken: Sequence[str], first: int = 0) -> str:
        """Which of these members, counted from `first` on, is not finite."""
        k = next(k for k, what in enumerate(broken) if what)
        return self.tell(first + k, f"{broken[k]} not finite after the last update")

    def tell(self, k: int, what: str) -> str:
        """What befell a member, and what to do."""
        setting = self.grid[k // len(self.seeds)]
        seed = f"seed {self.seeds[k % len(self.seeds)]}"
        who = f"{seed}, {describe(setting)}" if setting else seed
        return f"member {k} ({who}): {what}; a lower learning rate may help"

    def _none_whole(self, fine: Sequence[bool]) -> bool:
        """Whether each setting has a member that is not fine."""
        count = len(self.seeds)
        return bool(fine) and not any(all(fine[k : k + count]) for k in range(0, len(fine), count))


def seconds_of(records: Mapping[str, Record]) -> dict[str, float]:
    """What records that are trained side by side took together, by phase."""
    each = [record.seconds for record in records.values()]
    return {phase: sum(seconds[phase] for seconds in each) for phase in each[0]}


def timed(
    training: Iterable[At], records: Collection[Record], device: torch.device
) -> Iterator[At]:
    """Hand on the values of a training, and give each record an equal share of the time it took.

    What the caller does with a value is not counted. A GPU runs behind Python, and is waited for
    after the first steps, at the end of an epoch and now and then; the time is given then.
    """
    phase, taken = "first_step", 0.0
    begin = given = time.perf_counter()
    for at in training:
        now = time.perf_counter()
        due = phase == "first_step" or at.epoch_ended or now - given >= NOW_AND_THEN
        if device.type == "cuda" and due:
            torch.cuda.synchronize(device)
            now = time.perf_counter()
        taken += now - begin
        if device.type != "cuda" or due:
            for record in records:
                record.seconds[phase] += taken / len(records)
            phase, taken, given = "steps", 0.0, now
        yield at
        begin = time.perf_counter()
