"""Which students are finite: their parameters, their buffers and what they say."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fkd.distillation import State
from fkd.model import Model, Tensors
from fkd.optim import by_path


def not_finite(
    model: Model, state: State, logits: Float[Tensor, "members examples ... classes"]
) -> list[str]:
    """For each member of an ensemble what of it is not finite: a tensor of its parameters and
    buffers by name, or `logits`; "" where all is.

    A loss cannot say it: an update may break a student whose last loss was finite, and overflow in
    evaluation one whose parameters are. Where a student's buffer is infinite from the start, as a
    mask of attention is, it is meant to be, and NaN alone counts.
    """
    tensors = (
        _numbers("parameter", state.params["student"])
        | _numbers("head's parameter", state.params["heads"])
        | _numbers("head's buffer", state.buffers["heads"])
    )
    bad = {name: _any(~leaf.isfinite()) for name, leaf in tensors.items()}
    buffers = _numbers("buffer", state.buffers["student"])
    wrong = {name: ~leaf.isfinite() for name, leaf in buffers.items()}
    if any(where.any() for where in wrong.values()):
        _, start = model.init(0)
        for name, leaf in _numbers("buffer", start).items():
            wrong[name] &= ~leaf.isinf().to(logits.device) | buffers[name].isnan()
    bad |= {name: _any(where) for name, where in wrong.items()}
    bad["logits"] = _any(~logits.isfinite())
    names = list(bad)
    members = torch.stack(list(bad.values()), dim=1)  # [members, tensors]
    found = zip(members.any(1).tolist(), members.int().argmax(1).tolist(), strict=True)
    return [names[first] if lost else "" for lost, first in found]


def _numbers(kind: str, tree: dict[str, Any]) -> Tensors:
    """Those leaves that can be infinite, by a name as `buffer norm.running_mean`."""
    return {
        f"{kind} {'.'.join(path)}": leaf
        for path, leaf in by_path(tree).items()
        if leaf.is_floating_point()
    }


def _any(where: Bool[Tensor, "members ..."]) -> Bool[Tensor, " members"]:
    return where.flatten(1).any(1) if where.ndim > 1 else where
