"""Methods as data: what a student must match, under what loss, how heavily.

A method maps a term's name to a `Term`; `|` joins two methods. A term's numbers become leaves of
the state under its name: `kd.weight`, `kd.temperature`.
"""

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
    `joint`, it takes the targets too and returns all that the loss takes, as a dict by argument.

    The weight rises over the first `warmup` epochs as min(epoch / warmup, 1), counted from 1.

    Raises ValueError for a weight that is negative or not finite, or a negative warm-up.
    """

    loss: Callable[..., Tensor]
    student: str | tuple[str, ...] = "logits"
    target: str | tuple[str, ...] = "logits"
    weight: float = 1.0
    hyper: Mapping[str, float] = field(default_factory=dict)
    head: Head | None = None
    joint: bool = False
    warmup: int = 0

    def __post_init__(self) -> None:
        _check.not_negative("Term", weight=self.weight, warmup=self.warmup)

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
            return self.loss(**through((*students, *matched)), **hyper)
        return self.loss(through(students)["logits"], *matched, **hyper)


Method = dict[str, Term]


def supervised(weight: float = 1.0) -> Method:
    """Cross-entropy against the labels: no teacher.

    >>> list(supervised())
    ['ce']
    """
    return {"ce": Term(losses.cross_entropy, target="labels", weight=weight)}


def kd(weight: float = 0.25, temperature: float = 2.0, ce: float = 0.75) -> Method:
    """Soft targets beside the labels, at the tutorial's weights and temperature.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).

    >>> kd(temperature=4.0)["kd"].hyper
    {'temperature': 4.0}
    """
    _check.positive("kd", temperature=temperature)
    hyper = {"temperature": temperature}
    return {"kd": Term(losses.soft_cross_entropy, weight=weight, hyper=hyper)} | supervised(ce)


def cosine(weight: float = 0.25, ce: float = 0.75, layer: str = "hidden") -> Method:
    """The cosine between the hidden layers, which must be of one width, beside the labels.

    PyTorch's knowledge distillation tutorial, with its weights.

    >>> cosine()["cosine"].target
    'hidden'
    """
    term = Term(losses.cosine_distance, student=layer, target=layer, weight=weight)
    return {"cosine": term} | supervised(ce)


def hint(weight: float = 0.25, ce: float = 0.75, layer: str = "feature_map") -> Method:
    """Squared error of feature maps through a trainable convolution, beside the labels.

    Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), as in PyTorch's tutorial: one stage
    instead of two, a 3x3 convolution as the regressor, and the tutorial's weights.

    >>> hint()["hint"].head(torch.Size([16, 8, 8]), torch.Size([32, 8, 8]))
    Conv2d(16, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    term = Term(
        losses.squared_error, student=layer, target=layer, weight=weight, head=convolution_regressor
    )
    return {"hint": term} | supervised(ce)


def convolution_regressor(student: torch.Size, target: torch.Size) -> nn.Module:
    """A 3x3 convolution from the student's channels to the target's, at one resolution."""
    if len(student) != 3 or len(target) != 3:
        raise ValueError(
            "convolution_regressor: it joins feature maps [channels, height, width], but the "
            f"student's is {tuple(student)} and the target's is {tuple(target)}"
        )
    return nn.Conv2d(student[0], target[0], kernel_size=3, padding=1)


METHODS: dict[str, Callable[[], Method]] = {
    "ce": supervised,
    "kd": kd,
    "cosine": cosine,
    "hint": hint,
}
