"""Half precision is widened before a loss is computed, for sums and squares overflow in it."""

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def widen(x: Tensor) -> Tensor:
    """`x` in float32 if it is float16 or bfloat16, else `x` itself."""
    return x.float() if x.dtype in HALF else x
