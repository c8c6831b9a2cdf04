"""What a student is worth: its outputs, accuracy, agreement and calibration.

The scores take logits [*members, examples, ..., classes] and have one number a member. Labels are
whole numbers [examples, ...], or soft [examples, ..., classes], whose largest is the label. What
does not count is left out: positions where `mask`, boolean [examples, ...], is False, and labels of
−100, which PyTorch's losses ignore. Where nothing is left a score is NaN. Logits among which one is
NaN name no class, so they are wrong. Raises ValueError for shapes that do not fit.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.func import vmap

from fkd import _check
from fkd.data import Resident, Source
from fkd.distillation import State, student_of
from fkd.ensemble import member, size
from fkd.model import Model, Tensors

Logits = Float[Tensor, "... classes"]
Labels = Int[Tensor, "..."] | Float[Tensor, "... classes"]
Mask = Bool[Tensor, "..."] | None
Scores = Float[Tensor, "..."]  # [*members]

IGNORED = -100


@torch.no_grad()
def predict(
    model: Model,
    params: Tensors,
    buffers: Tensors,
    source: Source,
    *,
    names: Sequence[str] = ("logits",),
    batch_size: int | None = None,
) -> Tensors:
    """The named outputs for all examples of a source, in order, in evaluation mode and without
    gradient, on the source's device.

    Each example goes through the model once, `batch_size` at a time: by default 64 on a CPU, up to
    2,048 on a GPU, and of a source that is not resident no more than its own batch size.
    Raises ValueError for an output that the model has not.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for batch in source.in_order(batch_size or _chunk(source)):
        outputs, _ = model.apply(params, buffers, batch.inputs, train=False)
        for name in names:
            _check.known("predict", "output", name, outputs)
            parts[name].append(outputs[name])
    return {name: torch.cat(part) for name, part in parts.items()}


@torch.no_grad()
def predict_members(
    model: Model,
    state: State,
    source: Source,
    *,
    name: str = "logits",
    batch_size: int | None = None,
) -> Float[Tensor, "members examples ..."]:
    """The named output of every member of an ensemble, one after the other on a CPU, at once on a
    GPU.

    Each example is read once for all members. Raises ValueError for an output that the model has
    not.
    """
    members = size(state)
    students = student_of(state)
    one = partial(_output, name)
    together = vmap(one, in_dims=(None, 0, None))
    parts = []
    for batch in source.in_order(batch_size or _chunk(source, members)):
        if source.device.type == "cpu":
            each = [one(model, member(students, k), batch.inputs) for k in range(members)]
            parts.append(torch.stack(each))
        else:
            parts.append(together(model, students, batch.inputs))
    return torch.cat(parts, dim=1)


def _output(name: str, model: Model, student: tuple[Tensors, Tensors], inputs: Any) -> Tensor:
    params, buffers = student
    outputs, _ = model.apply(params, buffers, inputs, train=False)
    _check.known("predict_members", "output", name, outputs)
    return outputs[name]


def _chunk(source: Source, members: int = 1) -> int:
    # On a CPU a chunk's activations should stay in its caches; a GPU wants to be filled, but the
    # hundreds of members of a sweep fill its memory.
    cpu = source.device.type == "cpu"
    number = 64 if cpu else min(2048, max(64, 2**15 // members))
    # What is streamed lies in memory several times, for a loader reads ahead.
    return number if isinstance(source, Resident) else min(number, source.batch_size)


def accuracy(logits: Logits, labels: Labels, mask: Mask = None) -> Scores:
    """The share of examples or positions, in [0, 1], whose largest logit is the label's.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    tensor(0.5000)
    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, -100]))
    tensor(1.)
    """
    right, kept = _scored("accuracy", logits, labels, mask)
    return right.sum(-1) / kept.sum()


def agreement(student: Logits, teacher: Logits, mask: Mask = None) -> Scores:
    """The share of examples or positions, in [0, 1], where student and teacher name the same class.

    The teacher's logits are [examples, ..., classes].

    Stanton et al., "Does Knowledge Distillation Really Work?" (2021), equation 3.

    >>> agreement(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([[5.0, 1.0], [1.0, 0.0]]))
    tensor(0.5000)
    """
    right, kept = _scored("agreement", student, teacher, mask)
    return right.sum(-1) / kept.sum()


def calibration_error(logits: Logits, labels: Labels, bins: int = 15, mask: Mask = None) -> Scores:
    """The expected calibration error, in [0, 1]: |accuracy − confidence|, averaged over `bins`
    equal bins of confidence by how many examples or positions they hold.

    It is NaN where logits that count are, which have no confidence.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), section 2.

    >>> calibration_error(torch.tensor([[30.0, 0.0], [30.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.5000)
    """
    right, kept = _scored("calibration_error", logits, labels, mask)
    confidence = logits.float().softmax(-1).amax(-1).reshape(right.shape)
    surplus = (right.float() - confidence).masked_fill(~kept, 0.0)
    # bin b holds the confidences in (b/bins, (b+1)/bins]
    place = ((confidence.nan_to_num() * bins).ceil().long() - 1).clamp(0, bins - 1)
    sums = torch.zeros(*surplus.shape[:-1], bins, device=logits.device)
    return sums.scatter_add(-1, place, surplus).abs().sum(-1) / kept.sum()


def _scored(where: str, logits: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    """Where the answer is right and counts [*members, positions], and what counts [positions]."""
    soft = labels.is_floating_point()
    shape = logits.shape if soft else logits.shape[:-1]
    if labels.ndim <= soft or shape[-labels.ndim :] != labels.shape:
        raise ValueError(
            f"{where}: of logits [*members, examples, ..., classes] labels must be whole numbers "
            "[examples, ...], and soft labels or a teacher's logits [examples, ..., classes], but "
            f"they are {tuple(logits.shape)} and {tuple(labels.shape)} of {labels.dtype}"
        )
    numbers = _answers(labels) if soft else labels
    kept = numbers != IGNORED
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape != numbers.shape:
            raise ValueError(
                f"{where}: mask must be boolean {tuple(numbers.shape)}, one for each position, but "
                f"it is {tuple(mask.shape)} of {mask.dtype}"
            )
        kept = kept & mask
    answers = _answers(logits)
    right = (answers == numbers) & (answers >= 0) & kept
    return right.flatten(-numbers.ndim), kept.flatten()


def _answers(logits: Tensor) -> Tensor:
    """The class of the largest number; −1 where one is NaN, which argmax takes for the largest."""
    return logits.argmax(-1).masked_fill(logits.isnan().any(-1), -1)
