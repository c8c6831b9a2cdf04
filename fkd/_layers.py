"""Layers that compute what torch's own do and compile to something faster, on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ALONE = False  # whether what is being compiled runs without vmap
_ONEDNN = torch.backends.mkldnn.is_available()


@contextmanager
def alone() -> Iterator[None]:
    """Say that what is called here runs without vmap, which the compiler cannot take an
    `autograd.Function` through."""
    global _ALONE
    before, _ALONE = _ALONE, True
    try:
        yield
    finally:
        _ALONE = before


def replace(module: nn.Module) -> nn.Module:
    """Let the module's layers be those below, with the same parameters under the same names."""
    for layer in module.modules():
        layer.__class__ = _FASTER.get(type(layer), type(layer))
    return module


def _compiled_alone(x: Tensor) -> bool:
    # Elsewhere than on a CPU nothing of this was measured.
    return _ALONE and x.device.type == "cpu" and torch.compiler.is_compiling()


class MaxPool2d(nn.MaxPool2d):
    """Max pooling, where the windows lie side by side.

    The compiler scatters its gradient into a map of zeros, alone and a number at a time, which
    takes a quarter of the student's step. Here each pixel reads its window's gradient instead, in
    one loop with what comes before and after.
    """

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # as torch has it
        window, stride = _pair(self.kernel_size), _pair(self.stride)
        plain = _pair(self.padding) == (0, 0) and _pair(self.dilation) == (1, 1)
        whole = input.shape[-2] % window[0] == 0 and input.shape[-1] % window[1] == 0
        tiled = window == stride and plain and whole and not self.return_indices
        if tiled and _compiled_alone(input):
            return _Pool.apply(input, *window)[0]
        return super().forward(input)


class Conv2d(nn.Conv2d):
    """Convolution, its bias added apart.

    oneDNN sums the bias's gradient in a pass of its own, which here goes in one loop with the rest;
    in bfloat16 that loop is the slower one.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.bias is None or input.dtype != torch.float32 or not _compiled_alone(input):
            return super().forward(input)
        return self._conv_forward(input, self.weight, None) + self.bias[:, None, None]


class Linear(nn.Linear):
    """A linear map in oneDNN, which is twice as fast as MKL on processors that are not Intel's.

    In bfloat16 torch takes oneDNN by itself, and for a small matrix the call costs more than it
    saves.
    """

    def forward(self, input: Tensor) -> Tensor:
        large = input.ndim == 2 and self.weight.numel() >= 2**16
        if large and input.dtype == torch.float32 and _ONEDNN and _compiled_alone(input):
            product = _Linear.apply(input, self.weight)
            return product if self.bias is None else product + self.bias
        return super().forward(input)


_FASTER = {nn.MaxPool2d: MaxPool2d, nn.Conv2d: Conv2d, nn.Linear: Linear}


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        largest = F.max_pool2d(x, (height, width))
        # The place of the first of the largest, to whom the layer gives the whole gradient.
        place = torch.full_like(largest, height * width - 1)
        for number in reversed(range(height * width - 1)):
            pixel = x[..., number // width :: height, number % width :: width]
            found = (pixel == largest) | (pixel != pixel)  # the largest of a nan is nan
            place = torch.where(found, float(number), place)
        return largest, place

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.window = inputs[1:]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (place,), (height, width) = ctx.saved_tensors, ctx.window
        rows = torch.arange(height * place.shape[-2], device=place.device) % height
        columns = torch.arange(width * place.shape[-1], device=place.device) % width
        mine = _spread(place, height, width) == rows[:, None] * width + columns
        return torch.where(mine, _spread(gradients[0], height, width), 0), None, None


def _spread(x: Tensor, height: int, width: int) -> Tensor:
    """Each window's number at each of its pixels."""
    return F.interpolate(x, scale_factor=(float(height), float(width)), mode="nearest-exact")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return _onednn(x, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (x, weight), (dy,) = ctx.saved_tensors, gradients
        return _onednn(dy, weight.t()), _onednn(dy.t(), x.t())


# The compiler takes oneDNN's own operator for weights that never change only; this one is opaque.
torch.library.define("fkd::linear", "(Tensor x, Tensor weight) -> Tensor")


@torch.library.impl("fkd::linear", "cpu")
def _linear(x: Tensor, weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


@torch.library.register_fake("fkd::linear")
def _linear_like(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(len(x), len(weight))


def _onednn(x: Tensor, weight: Tensor) -> Tensor:
    """x · weightᵀ."""
    return torch.ops.fkd.linear(x, weight)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
