"""Methods as data: what a student must match, under what loss, how heavily.

A method maps a term's name to a `Term`; `|` joins two methods. A term's numbers become leaves of
the state under its name: `kd.weight`, `kd.temperature`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fkd import _check, losses

Head = Callable[[torch.Size, torch.Size], nn.Module]


@dataclass(frozen=True)
class Term:
    """`weight` · mean of `loss(head(student output), target, **hyper)` over the batch.

    `student` names one of the student's outputs, `target` one of the targets: `labels`, or an
    output of the teacher. `head(student_shape, target_shape)`, given the two shapes without their
    batch axis, builds a module that is trained with the student and dropped at the end. Raises
    ValueError for a weight that is negative or not finite.
    """

    loss: Callable[..., Tensor]
    student: str = "logits"
    target: str = "logits"
    weight: float = 1.0
    hyper: Mapping[str, float] = field(default_factory=dict)
    head: Head | None = None

    def __post_init__(self) -> None:
        _check.not_negative("Term", weight=self.weight)


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
