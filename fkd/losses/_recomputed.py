"""Recomputation: a function whose backward keeps its inputs alone, for those that are large inside.

Unlike `torch.utils.checkpoint` it runs under torch.func, whose gradients are themselves recorded:
the backward is recomputed too, so that no order of derivative keeps more.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Tensor]


def recomputed(function: Function, *tensors: Tensor) -> Tensor:
    """function(*tensors), which must be pure: all that is differentiated is among `tensors`.

    It has no forward mode. Compiled it is a plain call: torch.compile chooses by itself what to
    recompute, and refuses a Function under vmap(grad).
    """
    if torch.compiler.is_compiling():
        return function(*tensors)
    value: Any = _Recomputed.apply(function, *tensors)
    return value


class _Recomputed(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(function: Function, *tensors: Tensor) -> Tensor:
        return function(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.function, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(
            recomputed(partial(_pulled, ctx.function, index), *gradients, *ctx.saved_tensors)
            if wanted
            else None
            for index, wanted in enumerate(ctx.needs_input_grad[1:])
        )


def _pulled(function: Function, index: int, gradient: Tensor, *tensors: Tensor) -> Tensor:
    """What the gradient of function(*tensors) becomes at the tensor of that index."""

    def of_one(tensor: Tensor) -> Tensor:
        return function(*tensors[:index], tensor, *tensors[index + 1 :])

    return torch.func.vjp(of_one, tensors[index])[1](gradient)[0]
