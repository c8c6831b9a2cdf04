"""That a split batch is the whole one: the sum of the parts' shares, and a check at the door."""

from __future__ import annotations  # the compiler cannot trace an annotation being evaluated

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd.data import Batch
from fkd.distillation._loss import loss_of
from fkd.distillation._state import Gradient, Parts, State
from fkd.model import functional
from fkd.split import Split, together

FEW = 5  # examples that a split is tried on: in uneven parts, each enough for a relation
# Of the largest number: far above the rounding of float64, and of float32 within a module, and far
# below what a layer or a loss does that mixes examples.
NEAR = 1e-3


def reduce_over(split: Split, gradient: Gradient) -> Gradient:
    """The sum of the parts' shares; the buffers are alike on all of them."""
    params, metrics = split.reduce((gradient.params, gradient.metrics))
    return Gradient(params, gradient.buffers, metrics)


def check_split(parts: Parts, state: State, batch: Batch) -> None:
    """Raise where two parts of a batch are not, together, the whole of it.

    It is tried on the first examples, in float64 and on the CPU, with the parts in threads. A batch
    on the meta device, or of fewer than four examples, holds nothing to try it on, and passes.
    """
    leaves = tree_leaves((batch.inputs, batch.targets))
    if any(leaf.is_meta for leaf in leaves) or len(leaves[0]) < 4:
        return
    state, batch = tree_map(_exact, (state, tree_map(lambda leaf: leaf[:FEW], batch)))
    # A module cannot run in two threads at once, so each has its own.
    each = [_of_its_own(parts) for _ in range(2)]
    whole = _shares(each[:1], state, batch, None)
    both = together(2, partial(_shares, each, state, batch))
    for name, expected in whole.items():
        shares = [share[name] for share in both]
        # What is no share, as a buffer, is alike in both parts.
        value = shares[0] if name.startswith("buffer") else shares[0] + shares[1]
        scale = max(float(expected.abs().max()), 1e-6) if expected.numel() else 1.0
        if not (value - expected).abs().max().nan_to_num(torch.inf) <= NEAR * scale:
            raise ValueError(
                f"distill: this batch cannot be split: {name} of {len(tree_leaves(batch)[0])} "
                "examples in two parts is not that of the whole; a layer mixes the examples of a "
                "batch otherwise than BatchNorm does, or a term's loss does so although it says "
                "whole=False; leave split out, and deal members instead"
            )


def _of_its_own(parts: Parts) -> Parts:
    """The same with modules of its own, and the student in float32's code, which float64 takes."""
    heads = {name: functional(head.build) for name, head in parts.heads.items()}
    return replace(parts, student=functional(parts.student.build), heads=heads)


def _shares(
    each: Sequence[Parts], state: State, batch: Batch, split: Split | None
) -> dict[str, Tensor]:
    """By name: the loss, the gradient by each parameter, and the buffers after it."""
    parts = replace(each[0 if split is None else split.part], split=split)
    differentiate = torch.func.grad_and_value(partial(loss_of, parts), has_aux=True)
    gradients, (total, (buffers, _)) = differentiate(state.params, state, batch)
    named: dict[str, Tensor] = {"the loss": total}
    for kind, tree in (("the gradient by", gradients), ("buffer", buffers)):
        for name, tensors in {"": tree["student"], **tree["heads"]}.items():
            for key, value in tensors.items():
                named[f"{kind} {f'{name}.' if name else ''}{key}"] = value.double()
    return named


def _exact(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    leaf = leaf.detach().cpu()
    return leaf.double() if leaf.is_floating_point() else leaf
