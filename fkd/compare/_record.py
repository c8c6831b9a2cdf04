"""How students in training go: their curves, the seconds they take, and who diverged when."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fkd import evaluate
from fkd.compare.results import Curves
from fkd.compare.sweep import Setting, describe
from fkd.data import Source
from fkd.distillation import State
from fkd.model import Model
from fkd.optim import AverageState
from fkd.train import At


@dataclass(frozen=True)
class Exam:
    """Examples that students are measured on, their classes, and what the teacher says of them."""

    split: str
    source: Source
    labels: Tensor
    teacher: Tensor | None = None

    def measure(self, model: Model, state: State) -> dict[str, Tensor]:
        """One number a member by name: accuracy, and beside a teacher agreement and calibration."""
        logits = evaluate.predict_members(model, state, self.source)
        metrics = {f"{self.split}_accuracy": evaluate.accuracy(logits, self.labels)}
        if self.teacher is not None:
            metrics["teacher_agreement"] = evaluate.agreement(logits, self.teacher)
            metrics["calibration_error"] = evaluate.calibration_error(logits, self.labels)
        if isinstance(state.optimizer, AverageState):
            logits = evaluate.predict_members(model, state, self.source, average=True)
            metrics[f"{self.split}_accuracy_of_average"] = evaluate.accuracy(logits, self.labels)
        return metrics


def _no_seconds() -> dict[str, float]:
    return {"first_step": 0.0, "steps": 0.0, "evaluation": 0.0}


@dataclass
class Record:
    """One method's students: every seed of every setting of `grid`, one setting after the other.

    `state` is that of all members after the last step. `diverged` holds for each member the first
    step, counted from 0 over the run, whose loss was not finite, or -1.
    """

    model: Model
    seeds: Sequence[int]
    grid: Sequence[Setting]
    state: State | None = None
    curves: Curves = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=_no_seconds)
    diverged: list[int] = field(default_factory=list)

    def end_epoch(self, name: str, at: At, exam: Exam) -> None:
        """Put the end of an epoch, of the students of that name, into the curves."""
        begin = time.perf_counter()
        self.diverged = at.diverged[name].tolist()
        if not self.hopeless:
            metrics = at.metrics[name] | exam.measure(self.model, at.states[name])
            for key, values in metrics.items():
                self.curves.setdefault(key, []).append(values.tolist())
        self.seconds["evaluation"] += time.perf_counter() - begin

    @property
    def hopeless(self) -> bool:
        """Whether every setting has a member that diverged, so that none can be chosen."""
        count = len(self.seeds)
        by_setting = [self.diverged[k : k + count] for k in range(0, len(self.diverged), count)]
        return bool(by_setting) and all(max(steps) >= 0 for steps in by_setting)

    def why_diverged(self, steps_per_epoch: int) -> str:
        """Which member was the first to diverge, and when."""
        first, k = min((step, k) for k, step in enumerate(self.diverged) if step >= 0)
        setting = self.grid[k // len(self.seeds)]
        seed = f"seed {self.seeds[k % len(self.seeds)]}"
        who = f"{seed}, {describe(setting)}" if setting else seed
        return (
            f"member {k} ({who}): the loss became infinite or no number in epoch "
            f"{first // steps_per_epoch + 1}, step {first % steps_per_epoch + 1} of "
            f"{steps_per_epoch}; a lower learning rate may help"
        )


def timed(
    training: Iterable[At], records: Collection[Record], device: torch.device
) -> Iterator[At]:
    """Hand on the values of a training, and give each record an equal share of the time it took.

    What the caller does with a value is not counted.
    """
    phase = "first_step"
    begin = time.perf_counter()
    for at in training:
        if device.type == "cuda" and (phase == "first_step" or at.epoch_ended):
            torch.cuda.synchronize(device)  # a GPU runs behind Python
        taken = time.perf_counter() - begin
        for record in records:
            record.seconds[phase] += taken / len(records)
        phase = "steps"
        yield at
        begin = time.perf_counter()
