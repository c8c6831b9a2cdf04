"""Convolutions of an ensemble as operators of torch's: differentiable, opaque to the compiler."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd.execution.convolution import _launch
from fkd.execution.convolution._launch import DTYPES, INTERPRETED, Geometry


def ensemble_conv2d(
    x: Float[Tensor, "*members batch inputs height width"],
    weight: Float[Tensor, "k outputs inputs kernel kernel"],
    bias: Float[Tensor, "k outputs"] | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
) -> Float[Tensor, "k batch outputs h w"]:
    """`torch.nn.functional.conv2d` of each of k members, in one kernel.

    Member i's is `conv2d(x[i], weight[i], bias[i], stride, padding)`, or of all of x where x is
    [batch, inputs, height, width], one batch for all members. The dtype is bfloat16, float16 or
    float32, and sums are float32. Factors of float32 are rounded to TF32 where
    `torch.backends.cudnn.allow_tf32` lets them, and else keep 22 of their 24 bits. Channels lie
    last in memory in what is returned, and x that lies so is not copied. Gradients are the same bit
    for bit at each call. Raises ValueError for what does not fit, or is not on a GPU.
    """
    y, _ = _applied(x, weight, bias, stride, padding, pool=False)
    return y


def ensemble_conv2d_relu_pool(
    x: Float[Tensor, "*members batch inputs height width"],
    weight: Float[Tensor, "k outputs inputs kernel kernel"],
    bias: Float[Tensor, "k outputs"] | None = None,
    *,
    padding: int = 0,
) -> Float[Tensor, "k batch outputs h w"]:
    """`max_pool2d(relu(ensemble_conv2d(x, weight, bias, padding=padding)), 2)`, in one kernel.

    What is kept for the gradient is x and a byte for each number that is returned: the place of
    the maximum, the first of equals, found before it is rounded to x's dtype. What sees a nan is
    nan, and what sees an infinite number may be.
    """
    y, _ = _applied(x, weight, bias, 1, padding, pool=True)
    return y


def _applied(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, pool: bool
) -> tuple[Tensor, Tensor]:
    _fits(x, weight, bias, stride, padding, pool)
    y, place = _convolve(
        x.movedim(-3, -1).contiguous(),
        weight.contiguous(),
        None if bias is None else bias.contiguous(),
        stride,
        padding,
        pool,
    )
    return y.movedim(-1, 2), place


def _fits(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, pool: bool
) -> None:
    """Raise ValueError where a convolution cannot be."""
    where = "ensemble_conv2d_relu_pool" if pool else "ensemble_conv2d"
    if bias is None:
        _check.tensor(where, x=x, weight=weight)
    else:
        _check.tensor(where, x=x, weight=weight, bias=bias)
        _check.agree(where, "members outputs", bias=bias, weight=weight)
        _check.dimensions(where, "members outputs", bias=bias)
    _check.dimensions(where, "members outputs inputs kernel kernel", weight=weight)
    _check.whole(where, 1, stride=stride)
    _check.whole(where, padding=padding)
    if not (x.ndim == 4 or (x.ndim == 5 and len(x) == len(weight))):
        raise ValueError(
            f"{where}: x must be [batch inputs height width], or with the {len(weight)} members of "
            f"weight before them, but it is {tuple(x.shape)}"
        )
    if x.shape[-3] != weight.shape[2] or weight.shape[3] != weight.shape[4]:
        raise ValueError(
            f"{where}: weight must be [members outputs {x.shape[-3]} kernel kernel], with the "
            f"channels of x and as wide as high, but it is {tuple(weight.shape)}"
        )
    kernel, sizes = weight.shape[-1], x.shape[-2:]
    if min(sizes) + 2 * padding < kernel + pool or padding >= kernel:
        raise ValueError(
            f"{where}: a kernel of {kernel} and a padding of {padding}, which must be less, do not "
            f"fit on maps of {tuple(sizes)}"
        )
    if x.device.type != "cuda" and not INTERPRETED:
        raise ValueError(f"{where}: x must be on a GPU, but it is on {x.device}")
    dtypes = {t.dtype for t in (x, weight, bias) if t is not None}
    if len(dtypes) > 1 or not dtypes <= DTYPES.keys():
        raise ValueError(
            f"{where}: x, weight and bias must have one dtype of {', '.join(map(str, DTYPES))}, "
            f"but they have {', '.join(map(str, dtypes))}"
        )
    # Kernels count the numbers of a member in int32; the weights are laid out up to eight times.
    pixels = x.shape[-4] * (sizes[0] + 2 * padding) * (sizes[1] + 2 * padding)
    most = max(pixels * max(weight.shape[1:3]), 8 * weight.numel())
    if not x.numel() or not weight.numel() or most >= 2**31:
        raise ValueError(
            f"{where}: x and weight must hold numbers, and a member's maps and eight times the "
            f"weights fewer than 2^31 each, but they are {tuple(x.shape)} and {tuple(weight.shape)}"
        )


@torch.library.custom_op("fkd::convolve", mutates_args=())
def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, pool: bool
) -> tuple[Tensor, Tensor]:
    geometry = Geometry.of(x, weight, stride, padding)
    with torch.cuda.device_of(x):
        return _launch.forward(x, weight, bias, geometry, pool)


@_convolve.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, pool: bool
) -> tuple[Tensor, Tensor]:
    shape = Geometry.of(x, weight, stride, padding).target(pool)
    return x.new_empty(shape), x.new_empty(shape if pool else 0, dtype=torch.uint8)


@torch.library.custom_op("fkd::convolve_input_gradient", mutates_args=())
def _input_gradient(
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> Tensor:
    geometry = Geometry.of(x, weight, stride, padding)
    with torch.cuda.device_of(x):
        return _launch.input_gradient(gradient, place, weight, geometry, pool)


@_input_gradient.register_fake
def _(
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> Tensor:
    dtype = x.dtype if x.ndim == 5 else _launch.sum_dtype(x.dtype)
    return x.new_empty(len(weight), *x.shape[-4:], dtype=dtype)


@torch.library.custom_op("fkd::convolve_weight_gradient", mutates_args=())
def _weight_gradient(
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> tuple[Tensor, Tensor]:
    geometry = Geometry.of(x, weight, stride, padding)
    with torch.cuda.device_of(x):
        return _launch.weight_gradient(x, gradient, place, geometry, pool)


@_weight_gradient.register_fake
def _(
    gradient: Tensor,
    place: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: int,
    pool: bool,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(weight), weight.new_empty(weight.shape[:2])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, *ctx.sizes = inputs
    ctx.biased = bias is not None
    ctx.save_for_backward(x, weight, output[1])


def _gradients(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    x, weight, place = ctx.saved_tensors
    known = gradient.contiguous(), place, x, weight, *ctx.sizes
    of_x = of_weight = of_bias = None
    if ctx.needs_input_grad[0]:
        of_x = _input_gradient(*known)
        if x.ndim == 4:  # one batch for all members
            of_x = of_x.sum(0).to(x.dtype)
    if any(ctx.needs_input_grad[1:3]):
        of_weight, of_bias = _weight_gradient(*known)
    return of_x, of_weight, of_bias if ctx.biased else None, None, None, None


_convolve.register_autograd(_gradients, setup_context=_keep)
