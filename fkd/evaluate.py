"""What a student is worth: its outputs, accuracy, agreement and calibration."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import vmap

from fkd import _check
from fkd.data import Resident, Source
from fkd.distillation import State, average_of, student_of
from fkd.ensemble import member, size
from fkd.model import Model, Tensors

Logits = Float[Tensor, "*members examples classes"]
Labels = Int[Tensor, " examples"]


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
    average: bool = False,
    batch_size: int | None = None,
) -> Float[Tensor, "members examples classes"]:
    """The logits of every member of an ensemble, one after the other on a CPU, at once on a GPU
    where vmap can run them.

    Each example is read once for all members. With `average` it is the running average of their
    parameters that is asked, of `fkd.optim.averaged`, and not the last ones. Raises ValueError
    where the optimizer keeps none.
    """
    members = size(state)
    students = average_of(state) if average else student_of(state)
    together = vmap(_logits, in_dims=(None, 0, None))
    at_once = source.device.type != "cpu"
    parts = []
    for batch in source.in_order(batch_size or _chunk(source, members)):
        if at_once:
            try:
                parts.append(together(model, students, batch.inputs))
                continue
            except RuntimeError:  # what vmap cannot run, or has no memory for
                at_once = False
        each = [_logits(model, member(students, k), batch.inputs) for k in range(members)]
        parts.append(torch.stack(each))
    return torch.cat(parts, dim=1)


def _logits(model: Model, student: tuple[Tensors, Tensors], inputs: Any) -> Tensor:
    params, buffers = student
    outputs, _ = model.apply(params, buffers, inputs, train=False)
    return outputs["logits"]


def _chunk(source: Source, members: int = 1) -> int:
    # On a CPU a chunk's activations should stay in its caches; a GPU wants to be filled, but the
    # hundreds of members of a sweep fill its memory.
    cpu = source.device.type == "cpu"
    number = 64 if cpu else min(2048, max(64, 2**15 // members))
    # What is streamed lies in memory several times, for a loader reads ahead.
    return number if isinstance(source, Resident) else min(number, source.batch_size)


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
