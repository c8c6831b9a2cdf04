"""Layers that compute what torch's own do and compile to something faster, on a CPU, without vmap.

A function mode answers torch's calls, so that no module is changed. It belongs around what is
compiled for one student: the compiler cannot take an `autograd.Function` through vmap. Measured
with LightNN and kd on two cores: without these a compiled step takes a third longer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_ONEDNN = torch.backends.mkldnn.is_available()
Size = int | Sequence[int]


class FasterLayers(TorchFunctionMode):
    """Where it is active, convolution, linear maps and max pooling are those below."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.conv2d:
            return conv2d(*args, **(kwargs or {}))
        if func is F.linear:
            return linear(*args, **(kwargs or {}))
        if func is F.max_pool2d:
            return max_pool2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution, its bias added apart.

    oneDNN sums the bias's gradient in a pass of its own, which here goes in one loop with the rest;
    in bfloat16 that loop is the slower one.
    """
    if bias is None or input.dtype != torch.float32 or input.device.type != "cpu":
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    map = F.conv2d(input, weight, None, stride, padding, dilation, groups)
    return map + bias[:, None, None]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear map in oneDNN, which is twice as fast as MKL on processors that are not Intel's.

    In bfloat16 torch takes oneDNN by itself, and for a small matrix the call costs more than it
    saves.
    """
    large = input.ndim == 2 and weight.ndim == 2 and weight.numel() >= 2**16
    fits = input.dtype == torch.float32 and input.device.type == "cpu" and _ONEDNN
    if not (large and fits):
        return F.linear(input, weight, bias)
    product = _Linear.apply(input, weight)
    return product if bias is None else product + bias


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Max pooling, where the windows lie side by side.

    The compiler scatters its gradient into a map of zeros, alone and a number at a time, which
    takes a quarter of the student's step. Here each pixel reads its window's gradient instead, in
    one loop with what comes before and after.
    """
    window = _pair(kernel_size)
    step = window if stride is None or stride == [] else _pair(stride)
    plain = _pair(padding) == (0, 0) and _pair(dilation) == (1, 1) and not return_indices
    whole = input.shape[-2] % window[0] == 0 and input.shape[-1] % window[1] == 0
    # The place of a maximum is a number in the map's dtype: bfloat16 knows those up to 256 alone.
    small = window[0] * window[1] <= 256
    if plain and whole and small and window == step and input.device.type == "cpu":
        return _Pool.apply(input, *window)[0]
    rest: Any = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return F.max_pool2d(input, *rest)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        largest = F.max_pool2d(x, (height, width))
        # The place of the first of the largest, to whom the layer gives the whole gradient.
        place = torch.full_like(largest, height * width - 1)
        for number in reversed(range(height * width - 1)):
            pixel = x[..., number // width :: height, number % width :: width]
            here = (pixel == largest) | (pixel != pixel)  # the largest of a nan is nan
            place = torch.where(here, float(number), place)
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
