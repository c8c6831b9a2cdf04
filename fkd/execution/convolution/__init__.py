"""Convolutions of an ensemble on a GPU, in Triton; only where Triton is, which torch brings.

Not imported with `fkd.execution`, whose `EnsembleLayers` take `member_conv2d` where it is faster.
"""

from fkd.execution.convolution._operators import (
    ensemble_conv2d,
    ensemble_conv2d_relu_pool,
    member_conv2d,
)

__all__ = ["ensemble_conv2d", "ensemble_conv2d_relu_pool", "member_conv2d"]
