"""Max pooling whose gradient compiles well; its values and gradients are the layer's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ALONE = False  # whether what is being compiled runs without vmap


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


def is_tiled(layer: nn.MaxPool2d) -> bool:
    """Whether the layer's windows lie side by side, so that each pixel is in one at most."""
    window, stride = _pair(layer.kernel_size), _pair(layer.stride)
    plain = _pair(layer.padding) == (0, 0) and _pair(layer.dilation) == (1, 1)
    return window == stride and plain and not layer.return_indices and not layer.ceil_mode


class TiledMaxPool2d(nn.Module):
    """`nn.MaxPool2d` with windows side by side.

    The compiler scatters the gradient of pooling into a map of zeros, alone and a number at a
    time, which on a CPU takes a quarter of the student's step. Here each pixel reads its window's
    gradient instead, in one loop with what comes before and after.
    """

    def __init__(self, layer: nn.MaxPool2d):
        super().__init__()
        self.window = _pair(layer.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.window
        whole = x.shape[-2] % height == 0 and x.shape[-1] % width == 0
        on_cpu = x.device.type == "cpu"  # where this was measured
        if not (_ALONE and on_cpu and whole and torch.compiler.is_compiling()):
            return F.max_pool2d(x, self.window)
        return _Pool.apply(x, height, width)[0]


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


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
