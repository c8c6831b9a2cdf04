"""Dropout and its kin, as torch.nn.functional has them, with the mask a hash.

Srivastava et al., "Dropout" (2014), section 4.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fkd import _random
from fkd._draws._stream import Shape, Stream

_ALPHA = 1.7580993408473766  # minus the least value of SELU: Klambauer et al. (2017), section 3


def dropout(
    stream: Stream, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    return _dropped(stream, input, input.shape, p, training, inplace)


def dropout_(stream: Stream, input: Tensor, p: float, train: bool) -> Tensor:
    return _dropped(stream, input, input.shape, p, train, True)


def feature_dropout(
    stream: Stream, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole channels: one draw for each [example, channel]."""
    return _dropped(stream, input, _channels(input), p, training, inplace)


def feature_dropout_(stream: Stream, input: Tensor, p: float, train: bool) -> Tensor:
    return _dropped(stream, input, _channels(input), p, train, True)


def dropout1d(
    stream: Stream, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """[channels, length] is one example."""
    shape = _channels(input) if input.ndim == 3 else (input.shape[0], 1)
    return _dropped(stream, input, shape, p, training, inplace)


def dropout3d(
    stream: Stream, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """[channels, depth, height, width] is one example."""
    shape = _channels(input) if input.ndim == 5 else (input.shape[0], 1, 1, 1)
    return _dropped(stream, input, shape, p, training, inplace)


def alpha_dropout(
    stream: Stream, input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    return _alpha_dropped(stream, input, input.shape, p, training, inplace)


def alpha_dropout_(stream: Stream, input: Tensor, p: float, train: bool) -> Tensor:
    return _alpha_dropped(stream, input, input.shape, p, train, True)


def feature_alpha_dropout(
    stream: Stream, input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    return _alpha_dropped(stream, input, _channels(input), p, training, inplace)


def feature_alpha_dropout_(stream: Stream, input: Tensor, p: float, train: bool) -> Tensor:
    return _alpha_dropped(stream, input, _channels(input), p, train, True)


def native_dropout(
    stream: Stream, input: Tensor, p: float, train: bool | None = True
) -> tuple[Tensor, Tensor]:
    """Dropout and its mask."""
    if not train or p == 0:
        return input, torch.ones_like(input, dtype=torch.bool)
    keep = _keep(stream, input.shape, p)
    if p == 1:
        return torch.zeros_like(input), torch.zeros_like(keep)
    return torch.where(keep, input / (1 - p), 0.0), keep


def rrelu(
    stream: Stream,
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Negative numbers times a slope drawn for each: Xu et al. (2015), section 2.4."""
    if not training:  # torch's own is this, but not under vmap
        return F.leaky_relu(input, (lower + upper) / 2, inplace)
    slope = lower + (upper - lower) * stream.unit(input.shape, input.dtype)
    return write(input, torch.where(input >= 0, input, input * slope), inplace)


def rrelu_(
    stream: Stream,
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
) -> Tensor:
    return rrelu(stream, input, lower, upper, training, True)


def write(old: Tensor, new: Tensor, inplace: bool = True) -> Tensor:
    """The new tensor, or the old one with the new one's numbers."""
    if not inplace:
        return new
    try:
        return old.copy_(new)
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        raise ValueError(
            f"a tensor {tuple(old.shape)} that all members share is to be filled in place with "
            "random numbers, which are each member's own; draw into a new tensor "
            "(torch.bernoulli, torch.randn, torch.empty(...).normal_()), or without inplace=True"
        ) from error


def _channels(x: Tensor) -> Shape:
    return x.shape[:2] + (1,) * (x.ndim - 2)


def _keep(stream: Stream, shape: Shape, p: float) -> Tensor:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return _random.once(stream.bits(shape) >= p * 2**32)


def _dropped(
    stream: Stream, x: Tensor, shape: Shape, p: float, training: bool, inplace: bool
) -> Tensor:
    if not training or p == 0:
        return x
    keep = _keep(stream, shape, p)
    if p == 1:
        return write(x, torch.zeros_like(x), inplace)
    return write(x, torch.where(keep, x / (1 - p), 0.0), inplace)


def _alpha_dropped(
    stream: Stream, x: Tensor, shape: Shape, p: float, training: bool, inplace: bool
) -> Tensor:
    """Mean and variance stay what they are: Klambauer et al. (2017), section 3."""
    if not training or p == 0:
        return x
    keep = _keep(stream, shape, p)
    if p == 1:
        return write(x, torch.zeros_like(x), inplace)
    scale = ((_ALPHA**2 * p + 1) * (1 - p)) ** -0.5
    shift = scale * _ALPHA * p
    return write(x, torch.where(keep, x * scale + shift, shift - scale * _ALPHA), inplace)
