"""What independent oracles share: logits, their softmax in NumPy, and gradients of a NumPy formula
without derivatives of ours."""

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


def logit_pair() -> tuple[Tensor, Tensor]:
    """A student's and a teacher's logits, of seven examples and five classes."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = 3 * torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    return student, teacher


def softmax(x: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Σ p log(p / q) along the last axis, of probabilities above zero."""
    return (p * np.log(p / q)).sum(-1)


def assert_numpys(
    loss: Callable[[Tensor, Tensor], Tensor],
    formula: Callable[[np.ndarray, np.ndarray], np.ndarray],
    atol: float,
) -> None:
    """The loss of a student's and a teacher's logits is what NumPy's formula says, and its
    gradients to both are its differences, within `atol`."""
    student, teacher = logit_pair()
    expected = torch.from_numpy(formula(student.numpy(), teacher.numpy()))
    torch.testing.assert_close(loss(student, teacher), expected)
    both = torch.func.grad(lambda s, t: loss(s, t).sum(), argnums=(0, 1))(student, teacher)
    by_differences = (
        differences(lambda s: formula(s, teacher.numpy()), student),
        differences(lambda t: formula(student.numpy(), t), teacher),
    )
    torch.testing.assert_close(both, by_differences, atol=atol, rtol=1e-5)
