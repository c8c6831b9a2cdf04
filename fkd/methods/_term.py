"""A term: one thing that a student must match, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fkd import _check, losses

Head = Callable[[Any, Any], nn.Module]  # from shapes: torch.Size, or a tuple of them


@dataclass(frozen=True)
class Term:
    """`weight` · mean of `loss(*student outputs, *targets, **hyper)` over the batch.

    `student` names one of the student's outputs or several, `target` one or several of the targets:
    `labels`, `index` (the examples' numbers in the data set), or outputs of the teacher.

    `head(student_shape, target_shape)`, given shapes without their batch axis (tuples of them where
    there are several names), builds a module that is trained with the student and dropped at the
    end. It takes the student's outputs and returns one tensor that stands in their place; with
    `joint`, it takes the targets too and returns all that the loss takes, as a dict by argument;
    after the targets it takes those hyperparameters, as scalars, that `head_hyper` names.

    The weight rises over the first `warmup` epochs as min(epoch / warmup, 1), counted from 1.

    Raises ValueError for a weight that is negative or not finite, a negative warm-up, or a
    `head_hyper` that is not among the hyperparameters.
    """

    loss: Callable[..., Tensor]
    student: str | tuple[str, ...] = "logits"
    target: str | tuple[str, ...] = "logits"
    weight: float = 1.0
    hyper: Mapping[str, float] = field(default_factory=dict)
    head: Head | None = None
    joint: bool = False
    head_hyper: tuple[str, ...] = ()
    warmup: int = 0

    def __post_init__(self) -> None:
        _check.not_negative("Term", weight=self.weight, warmup=self.warmup)
        for name in self.head_hyper:
            _check.known("Term", "head_hyper", name, self.hyper)

    @property
    def students(self) -> tuple[str, ...]:
        """The names of the student's outputs."""
        return (self.student,) if isinstance(self.student, str) else self.student

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def numbers(self) -> dict[str, float]:
        """The hyperparameters, the weight among them."""
        return {"weight": self.weight, **self.hyper}

    def values(
        self,
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        hyper: Mapping[str, Any],
        through: Callable[[tuple[Tensor, ...]], dict[str, Tensor]] | None,
    ) -> Tensor:
        """The loss of each example; `through` runs the head."""
        students = tuple(outputs[name] for name in self.students)
        matched = tuple(targets[name] for name in self.targets)
        if through is None:
            return self.loss(*students, *matched, **hyper)
        if self.joint:
            numbers = (torch.as_tensor(hyper[name]) for name in self.head_hyper)
            return self.loss(**through((*students, *matched, *numbers)), **hyper)
        return self.loss(through(students)["logits"], *matched, **hyper)


Method = dict[str, Term]


def supervised(weight: float = 1.0) -> Method:
    """Cross-entropy against the labels: no teacher.

    >>> list(supervised())
    ['ce']
    """
    return {"ce": Term(losses.cross_entropy, target="labels", weight=weight)}


def matched(
    name: str,
    loss: Callable[..., Tensor],
    weight: float,
    ce: float,
    layer: str,
    head: Head | None = None,
) -> Method:
    """A loss of one layer against the same layer of the teacher, beside the labels."""
    term = Term(loss, student=layer, target=layer, weight=weight, head=head)
    return {name: term} | supervised(ce)
