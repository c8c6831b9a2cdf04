"""How students in training go: their curves, the seconds they take, and who diverged when."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from fkd import evaluate
from fkd.compare._finite import not_finite
from fkd.compare.results import Curves
from fkd.compare.sweep import Setting, describe
from fkd.data import Source
from fkd.distillation import State
from fkd.model import Model
from fkd.optim import AverageState
from fkd.train import At

NOW_AND_THEN = 1.0  # seconds between two waits for a GPU, of which one costs nothing then


class Marks(NamedTuple):
    """What an exam says of each member: numbers by name, and what of it is not finite, or ""."""

    metrics: dict[str, Tensor]
    broken: list[str]


@dataclass(frozen=True)
class Exam:
    """Examples that students are measured on, their classes, and what the teacher says of them."""

    split: str
    source: Source
    labels: Tensor
    teacher: Tensor | None = None

    def measure(self, model: Model, state: State) -> Marks:
        """Accuracy, and beside a teacher agreement and calibration; and who is not finite."""
        logits = evaluate.predict_members(model, state, self.source)
        metrics = {f"{self.split}_accuracy": evaluate.accuracy(logits, self.labels)}
        if self.teacher is not None:
            metrics["teacher_agreement"] = evaluate.agreement(logits, self.teacher)
            metrics["calibration_error"] = evaluate.calibration_error(logits, self.labels)
        broken = not_finite(model, state, logits)
        if isinstance(state.optimizer, AverageState):
            logits = evaluate.predict_members(model, state, self.source, average=True)
            metrics[f"{self.split}_accuracy_of_average"] = evaluate.accuracy(logits, self.labels)
        return Marks(metrics, broken)


def _no_seconds() -> dict[str, float]:
    return {"first_step": 0.0, "steps": 0.0, "evaluation": 0.0}


@dataclass
class Record:
    """One method's students: every seed of every setting of `grid`, one setting after the other.

    `state` is that of all members after the last step. Of each member, at the end of the last
    epoch, `diverged` holds the first step, counted from 0 over the run, whose loss was not finite,
    or -1, and `broken` what of the student itself is not finite, or "".
    """

    model: Model
    seeds: Sequence[int]
    grid: Sequence[Setting]
    state: State | None = None
    curves: Curves = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=_no_seconds)
    diverged: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def end_epoch(self, name: str, at: At, exam: Exam) -> None:
        """Put the end of an epoch, of the students of that name, into the curves."""
        begin = time.perf_counter()
        self.diverged = at.diverged[name].tolist()
        self.broken = [""] * len(self.diverged)
        if not self.hopeless:
            marks = exam.measure(self.model, at.states[name])
            self.broken = marks.broken
            for key, values in (at.metrics[name] | marks.metrics).items():
                self.curves.setdefault(key, []).append(values.tolist())
        self.seconds["evaluation"] += time.perf_counter() - begin

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
