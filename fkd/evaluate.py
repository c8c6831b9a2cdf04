"""What a student is worth: its outputs, accuracy, agreement, calibration, and how sure we are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from fkd.data import normalize
from fkd.distillation import State, student_of
from fkd.ensemble import member, size
from fkd.model import Model, Tensors

Logits = Float[Tensor, "*members examples classes"]
Labels = Int[Tensor, " examples"]


@torch.no_grad()
def predict(
    model: Model,
    params: Tensors,
    buffers: Tensors,
    images: Tensor,
    *,
    names: Sequence[str] = ("logits",),
    batch_size: int | None = None,
) -> Tensors:
    """The named outputs for all uint8 images, in evaluation mode and without gradient.

    Each image goes through the model once.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for chunk in images.split(batch_size or _chunk(images)):
        outputs, _ = model.apply(params, buffers, normalize(chunk), train=False)
        for name in names:
            parts[name].append(outputs[name])
    return {name: torch.cat(part) for name, part in parts.items()}


@torch.no_grad()
def predict_members(
    model: Model, state: State, images: Tensor, *, batch_size: int | None = None
) -> Float[Tensor, "members examples classes"]:
    """The logits of every member of an ensemble, one after the other on a CPU, at once on a GPU."""
    params, buffers = student_of(state)
    if images.device.type == "cpu":
        each = []
        for k in range(size(state)):
            alone = member((params, buffers), k)
            each.append(predict(model, *alone, images, batch_size=batch_size)["logits"])
        return torch.stack(each)

    def logits(params: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
        return model.apply(params, buffers, x, train=False)[0]["logits"]

    together = torch.func.vmap(logits, in_dims=(0, 0, None))
    parts = [
        together(params, buffers, normalize(chunk))
        for chunk in images.split(batch_size or _chunk(images, size(state)))
    ]
    return torch.cat(parts, dim=1)


def _chunk(images: Tensor, members: int = 1) -> int:
    # On a CPU a chunk's activations should stay in its caches; a GPU wants to be filled, but the
    # hundreds of members of a sweep fill its memory.
    return 64 if images.device.type == "cpu" else min(2048, max(64, 2**15 // members))


def accuracy(logits: Logits, labels: Labels) -> Float[Tensor, "*members"]:
    """The share of examples, in [0, 1], whose largest logit is the label's.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    tensor(0.5000)
    """
    return (logits.argmax(-1) == labels).float().mean(-1)


def agreement(
    student: Logits, teacher: Float[Tensor, "examples classes"]
) -> Float[Tensor, "*members"]:
    """The share of examples, in [0, 1], where student and teacher name the same class.

    Stanton et al., "Does Knowledge Distillation Really Work?" (2021), equation 3.

    >>> agreement(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([[5.0, 1.0], [1.0, 0.0]]))
    tensor(0.5000)
    """
    return accuracy(student, teacher.argmax(-1))


def calibration_error(logits: Logits, labels: Labels, bins: int = 15) -> Float[Tensor, "*members"]:
    """The expected calibration error, in [0, 1]: |accuracy − confidence|, averaged over `bins`
    equal bins of confidence by how many examples they hold.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), section 2.

    >>> calibration_error(torch.tensor([[30.0, 0.0], [30.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.5000)
    """
    confidence, predicted = logits.softmax(-1).max(-1)
    surplus = (predicted == labels).float() - confidence
    # bin b holds the confidences in (b/bins, (b+1)/bins]
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    sums = torch.zeros(*surplus.shape[:-1], bins, device=logits.device).scatter_add(
        -1, place, surplus
    )
    return sums.abs().sum(-1) / logits.shape[-2]


class Interval(NamedTuple):
    """A mean, the deviation of the values (n − 1), and the bounds of the mean's interval.

    The last three are None for one value, from which no spread can be known.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None


class Paired(NamedTuple):
    """The mean difference of two paired samples, its interval, and the paired t-test's p-value.

    The last three are None for one pair; p is None too where all differences are the same.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean, for values that are independent and about normal.

    >>> [round(x, 4) for x in interval([1.0, 2.0, 3.0])]
    [2.0, 1.0, -0.4841, 4.4841]
    """
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return Interval(mean, None, None, None)
    deviation = float(x.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, len(x) - 1)) * deviation / len(x) ** 0.5
    return Interval(mean, deviation, mean - half, mean + half)


def paired(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Paired:
    """How `a` differs from `b`, pair by pair: the mean of a − b, its t interval, and p.

    >>> result = paired([2.0, 3.0, 5.0], [1.0, 2.0, 3.0])
    >>> round(result.difference, 4), round(result.p, 4)
    (1.3333, 0.0572)
    """
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    mean, deviation, low, high = interval(differences.tolist(), confidence)
    p = float(stats.ttest_rel(a, b).pvalue) if deviation else None
    return Paired(mean, low, high, p)
