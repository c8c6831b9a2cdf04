"""Convolutions of an ensemble on a GPU, in Triton; only where Triton is, which torch brings.

Not imported with `fkd.execution`. Nothing of fkd takes them by itself: they are a candidate of
`benchmarks/convolutions`.
"""

from fkd.execution.convolution._operators import ensemble_conv2d, ensemble_conv2d_relu_pool

__all__ = ["ensemble_conv2d", "ensemble_conv2d_relu_pool"]
