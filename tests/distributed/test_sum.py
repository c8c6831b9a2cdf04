"""The sum over ranks under every transform and in every layout, on two processes, against one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.utils._pytree import tree_leaves

from benchmarks._launched import launched
from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import State, distill
from fkd.distributed import started
from fkd.ensemble import ensemble
from fkd.execution import Layout, Plan, lay
from fkd.model import functional
from fkd.split import Split

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


def normal() -> nn.Module:
    layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 3)]
    return nn.Sequential(*layers).double()


def stepped(split: Split | None, plan: Plan) -> State:
    """Two members after three steps of a method that relates the examples of a batch."""
    targets = {"labels": torch.tensor([0, 1, 2, 0, 1]), "logits": X.cos()}
    batch = Batch(X, targets)
    one = distill(
        functional(normal), methods.pkt(layer="logits"), optim.sgd(0.1), batch, split=split
    )
    state, advance = ensemble(one).init([3, 5]), lay(one, plan)
    for _ in range(3):
        advance(state, batch)
    return state


def from_one_process(split: Split, layout: Layout) -> float:
    """How far the states of a split batch are from those of the whole."""
    expected = stepped(None, Plan("loop", compile="none", graph=0))
    state = stepped(split, Plan(layout, compile="none", graph=0))
    pairs = zip(tree_leaves(state), tree_leaves(expected), strict=True)
    return max((x.double() - y.double()).abs().max().item() for x, y in pairs)


def traced(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def on_a_rank() -> dict[str, float]:
    """How far each transform's gradient, and each layout's states, are from one process's."""
    expected = vmap(grad(lambda w: loss(torch.clone, 1, w, X)))(WEIGHTS)
    with started(data_ranks=2) as mesh:
        split = mesh.split
        assert split is not None
        own = split.own(X, len(X))

        def share(w: Tensor) -> Tensor:
            return loss(split.sum, split.parts, w, own)

        def of_all(weights: Tensor) -> Tensor:
            return vmap(share)(weights).sum()

        gradients = {
            "grad": torch.stack([grad(share)(w) for w in WEIGHTS]),
            "autograd": by_autograd(share),
            "vmap(grad)": vmap(grad(share))(WEIGHTS),
            "grad(vmap)": grad(of_all)(WEIGHTS),
            # What the compiler traces; what it makes of it is a flag of benchmarks/splits away.
            "grad, compiled": torch.stack([traced(grad(share))(w) for w in WEIGHTS]),
            "vmap(grad), compiled": traced(vmap(grad(share)))(WEIGHTS),
        }
        layouts = {layout: from_one_process(split, layout) for layout in ("loop", "vmap")}
        return layouts | {
            name: (split.sum(gradient) - expected).abs().max().item()
            for name, gradient in gradients.items()
        }


@pytest.mark.plain
@pytest.mark.slow
def test_two_ranks_are_one_process_under_every_transform_and_in_every_layout():
    one, other = launched(on_a_rank, 2)
    assert one.keys() == other.keys()
    for name in one:
        assert one[name] < 1e-12 and other[name] < 1e-12, name
