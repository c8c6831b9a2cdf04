"""What independent oracles share: gradients of a NumPy formula, without derivatives of ours."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def differences(f: Callable[[np.ndarray], Any], x: np.ndarray | Tensor) -> Tensor:
    """The gradient of the sum of what `f` returns, by central differences in float64."""
    x = np.asarray(x, dtype=np.float64)
    slopes = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i], down[i] = x[i] + 1e-6, x[i] - 1e-6
        slopes[i] = np.sum(f(up) - f(down)) / 2e-6
    return torch.from_numpy(slopes)
