"""What losses share so that they stay finite: wider numbers, and rows of unit length."""

import torch
from einops import rearrange
from torch import Tensor

from fkd._check import Scalar

HALF = (torch.float16, torch.bfloat16)


def widen(x: Tensor) -> Tensor:
    """`x` in float32 if it is float16 or bfloat16, in which sums and squares overflow."""
    return x.float() if x.dtype in HALF else x


def rows(x: Tensor) -> Tensor:
    """[batch, ...] as [batch, features], in float32 or wider."""
    return rearrange(widen(x), "batch ... -> batch (...)")


def tempered(logits: Tensor, temperature: Scalar) -> Tensor:
    """logits / T. A logit of −inf stays one, and passes a gradient of zero on to T.

    A class of probability zero has it at every T, where the quotient's own rule says −inf · 0.
    """
    if not isinstance(temperature, Tensor):
        return logits / temperature
    absent = logits.isneginf()
    return (logits.masked_fill(absent, 0.0) / temperature).masked_fill(absent, float("-inf"))


def raised(log: Tensor, power: Scalar) -> Tensor:
    """log xᵞ of log x. Where x is zero it stays so, and passes a gradient of zero on to γ."""
    absent = log.isneginf()
    return (power * log.masked_fill(absent, 0.0)).masked_fill(absent, float("-inf"))


def not_negative(x: Tensor) -> Tensor:
    """`x` held at zero or more, for a number that rounding alone puts below.

    The gradient stays that of `x`: zero would be wrong beside a minimum.
    """
    return x - x.detach().clamp(max=0)


def unit(x: Tensor) -> Tensor:
    """Each vector along the last axis over its L2 norm.

    A vector of zeros stays one, with the gradient that it would have if its norm were one: there is
    no limit to take, for the true gradient grows as 1/|x| and depends on the way to zero.
    """
    # Dividing by the largest element first keeps squares from overflow; the result does not depend
    # on that divisor, so it is held constant.
    largest = x.detach().abs().amax(-1, keepdim=True)
    x = x / largest.masked_fill(largest == 0, 1.0)
    square = x.square().sum(-1, keepdim=True)
    return x / square.masked_fill(square == 0, 1.0).sqrt()


def product(x: Tensor, y: Tensor) -> Tensor:
    """x yᵀ over the last two axes, in the wider of their own dtypes under autocast too.

    Differences are taken of such matrices, and bfloat16 would leave nothing of them.
    """
    device = "cpu" if x.device.type == "meta" else x.device.type  # autocast knows no meta device
    dtype = torch.promote_types(x.dtype, y.dtype)
    with torch.autocast(device, enabled=False):
        return x.to(dtype) @ y.to(dtype).mT
