"""The sum over ranks under every transform, on two processes, against one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from benchmarks._launched import launched
from fkd.distributed import started

WEIGHTS = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)  # of four members
X = torch.linspace(-2, 1, 15, dtype=torch.float64).reshape(5, 3)


def loss(sum: Callable[[Tensor], Tensor], parts: int, w: Tensor, x: Tensor) -> Tensor:
    """A part's share of something that needs the sum within the gradient."""
    total = sum((x @ w).exp().sum())
    return (total.square().log() + total.sin()) / parts


def by_autograd(function: Callable[[Tensor], Tensor]) -> Tensor:
    weights = WEIGHTS.clone().requires_grad_()
    total = torch.stack([function(w) for w in weights.unbind()]).sum()
    return torch.autograd.grad(total, weights)[0]


def on_a_rank() -> dict[str, float]:
    """How far each transform's gradient is from one process's."""
    expected = vmap(grad(lambda w: loss(torch.clone, 1, w, X)))(WEIGHTS)
    with started(data_ranks=2) as mesh:
        split = mesh.split
        assert split is not None
        own = split.own(X, len(X))

        def share(w: Tensor) -> Tensor:
            return loss(split.sum, split.parts, w, own)

        def of_all(weights: Tensor) -> Tensor:
            return vmap(share)(weights).sum()

        one = torch.compile(grad(share), fullgraph=True)
        gradients = {
            "grad": torch.stack([grad(share)(w) for w in WEIGHTS]),
            "autograd": by_autograd(share),
            "vmap(grad)": vmap(grad(share))(WEIGHTS),
            "grad(vmap)": grad(of_all)(WEIGHTS),
            "grad, compiled": torch.stack([one(w) for w in WEIGHTS]),
            "vmap(grad), compiled": torch.compile(vmap(grad(share)), fullgraph=True)(WEIGHTS),
        }
        return {
            name: (split.sum(gradient) - expected).abs().max().item()
            for name, gradient in gradients.items()
        }


@pytest.mark.plain
@pytest.mark.slow
def test_the_gradient_is_the_sum_under_every_transform():
    one, other = launched(on_a_rank, 2)
    assert one.keys() == other.keys()
    for name in one:
        assert one[name] < 1e-12 and other[name] < 1e-12, name
