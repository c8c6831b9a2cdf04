"""Convolutions of an ensemble, and of one student, which under vmap is the ensemble's."""

from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd.execution.convolution._launch import DTYPES, INTERPRETED
from fkd.execution.convolution._library import convolve


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
    _fits("ensemble_conv2d", x, weight, bias, stride, padding, pool=False)
    return _applied(x, weight, bias, stride, padding, pool=False)


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
    _fits("ensemble_conv2d_relu_pool", x, weight, bias, 1, padding, pool=True)
    return _applied(x, weight, bias, 1, padding, pool=True)


def member_conv2d(
    x: Float[Tensor, "batch inputs height width"],
    weight: Float[Tensor, "outputs inputs kernel kernel"],
    bias: Float[Tensor, " outputs"] | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
) -> Float[Tensor, "batch outputs h w"]:
    """`torch.nn.functional.conv2d` of one student; under vmap, `ensemble_conv2d` of all.

    Raises ValueError as that does.
    """
    members = [None if t is None else t[None] for t in (x, weight, bias)]
    _fits("member_conv2d", *members, stride, padding, pool=False)  # type: ignore[arg-type]
    return _applied(x, weight, bias, stride, padding, pool=False)


def _applied(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, pool: bool
) -> Tensor:
    own = None if bias is None else bias.contiguous()
    last = x.movedim(-3, -1).contiguous()
    y, _ = convolve(last, weight.contiguous(), own, stride, padding, pool)
    return y.movedim(-1, -3)


def _fits(
    where: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    pool: bool,
) -> None:
    """Raise ValueError where a convolution cannot be."""
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
    dtypes = [t.dtype for t in (x, weight, bias) if t is not None]
    if any(dtype not in DTYPES or dtype != x.dtype for dtype in dtypes):
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
