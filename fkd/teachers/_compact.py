"""Outputs that take less room: logits cut to the largest few, and numbers of fewer bits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fkd import _check
from fkd.model import Tensors


class TopK(NamedTuple):
    """The k largest log-probabilities [..., k] and their classes [..., k], and the log of the mass
    of all other classes [...]."""

    values: Tensor
    indices: Tensor
    tail: Tensor


def top_k(logits: Float[Tensor, "*batch classes"], k: int) -> TopK:
    """The k largest log-probabilities, in float32 or wider, their classes, and the log of the rest.

    Raises ValueError for what are no logits, and for k below one or above the number of classes.

    >>> top_k(torch.tensor([0.1, 0.6, 0.2, 0.1]).log(), k=2).indices
    tensor([1, 2])
    """
    _check.dimensions("top_k", "... classes", logits=logits)
    _check.floating("top_k", logits=logits)
    _check.count("top_k", most=logits.shape[-1], k=k)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_probabilities = wide.log_softmax(-1)
    values, indices = log_probabilities.topk(k)
    # Of the others themselves: 1 − Σ of the largest would cancel where these are almost all.
    tail = log_probabilities.scatter(-1, indices, float("-inf")).logsumexp(-1)
    return TopK(values, indices, tail)


def spread(
    values: Float[Tensor, "*batch k"],
    indices: Int[Tensor, "*batch k"],
    tail: Float[Tensor, "*batch"],
    classes: int,
) -> Float[Tensor, "*batch classes"]:
    """The log-probabilities of all classes, the mass that `top_k` left out spread evenly.

    They are the teacher's own where k is at least `classes` − 1. Raises ValueError for shapes and
    dtypes that do not fit, for fewer classes than k, and for indices outside [0, classes).

    >>> halves = top_k(torch.tensor([0.1, 0.5, 0.3, 0.1]).log(), k=1)
    >>> spread(*halves, classes=4).exp()
    tensor([0.1667, 0.5000, 0.1667, 0.1667])
    """
    _check.same_shape("spread", values=values, indices=indices)
    _check.floating("spread", values=values, tail=tail)
    _check.integral("spread", indices=indices)
    if values.dtype != tail.dtype:
        raise ValueError(
            f"spread: values and tail must have one dtype, but they are {values.dtype} and "
            f"{tail.dtype}"
        )
    if not values.ndim or not values.shape[-1] or indices.dtype == torch.bool:
        raise ValueError(
            "spread: values and indices must be [..., k], the indices whole numbers, but they are "
            f"{tuple(values.shape)} and {indices.dtype}"
        )
    _check.same_shape("spread", tail=tail, a_value=values[..., 0])
    k = values.shape[-1]
    _check.count("spread", classes=classes)
    _check.between("spread", 1, classes, k=k)
    if indices.device.type == "cpu" and (ends := _check.extremes(indices)) is not None:
        for end in ends:
            _check.between("spread", 0, classes - 1, indices=int(end))
    even = (tail - math.log(max(classes - k, 1))).unsqueeze(-1)
    return even.expand(*tail.shape, classes).scatter(-1, indices.long(), values)


@dataclass(frozen=True)
class Form:
    """How an output reads: its dtype, and the number of classes of what lies as its top k."""

    dtype: torch.dtype
    classes: int | None = None


@dataclass(frozen=True)
class Expand:
    """Outputs that lie compact as they read: a source's `expand`, by the names of `forms`."""

    forms: Mapping[str, Form]

    def __call__(self, targets: Tensors) -> Tensors:
        targets = dict(targets)
        for name, form in self.forms.items():
            if form.classes is None:
                targets[name] = targets[name].to(form.dtype)
                continue
            if name in targets:
                raise ValueError(
                    f"Expand: there are two targets {name!r}, one of them as its top k; let "
                    "`cached` replace it, or give the other another name"
                )
            values, indices, tail = (targets.pop(part) for part in parts_of(name))
            wide = values.to(form.dtype), indices, tail.to(form.dtype)
            targets[name] = spread(*wide, form.classes)
        return targets


def parts_of(name: str) -> tuple[str, str, str]:
    """The names under which the top k of an output lie."""
    return f"{name}.values", f"{name}.indices", f"{name}.tail"


def is_cut(name: str) -> bool:
    """Whether `top_k` is of this output: `logits`, or a teacher's among several, `a.logits`."""
    return name.rpartition(".")[2] == "logits"


def compact(outputs: Tensors, k: int | None, storage: torch.dtype | None) -> Tensors:
    """Outputs as they lie: logits as their top k, and all numbers but classes in `storage`.

    Raises ValueError for numbers that `storage` cannot hold.
    """
    held: Tensors = {}
    for name, output in outputs.items():
        if k is None or not is_cut(name):
            held[name] = _narrow(name, output, storage)
            continue
        values, indices, tail = top_k(output, k)
        few = torch.int16 if output.shape[-1] <= 2**15 else torch.int32
        held |= zip(
            parts_of(name),
            (_narrow(name, values, storage), indices.to(few), _narrow(name, tail, storage)),
            strict=True,
        )
    return held


def forms_of(outputs: Tensors, k: int | None) -> dict[str, Form]:
    """How the outputs that `compact` takes are to read."""
    forms = {name: Form(output.dtype) for name, output in outputs.items()}
    for name in outputs if k is not None else ():
        if is_cut(name):
            wide = torch.promote_types(outputs[name].dtype, torch.float32)
            forms[name] = Form(wide, outputs[name].shape[-1])
    return forms


def _narrow(name: str, output: Tensor, storage: torch.dtype | None) -> Tensor:
    if storage is None or not output.is_floating_point():
        return output
    narrow = output.to(storage)
    if bool((narrow.isinf() & output.isfinite()).any()):
        largest = output[output.isfinite()].abs().max().item()
        raise ValueError(
            f"storage: {storage} holds no more than {torch.finfo(storage).max:g}, but output "
            f"{name!r} reaches {largest:g}; choose torch.bfloat16 or torch.float32"
        )
    return narrow
