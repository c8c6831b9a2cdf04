"""The links within an ensemble: what is of one student stays of one student."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import assert_same
from torch import nn

from fkd import losses, optim
from fkd.data import Batch
from fkd.distillation import distill
from fkd.ensemble import ensemble, member
from fkd.execution import Layout, Plan, lay
from fkd.methods import Term
from fkd.model import functional

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ZEROS = torch.zeros(6, 2, dtype=torch.float64)
WEIGHTS = [0.25, 256.0]  # of the loss: one gradient passes, the other does not
LARGEST = 4.0
CLIPS: dict[str, tuple[optim.Transform, Any]] = {
    "norm": (optim.clip_by_norm(LARGEST), nn.utils.clip_grad_norm_),
    "value": (optim.clip_by_value(LARGEST), nn.utils.clip_grad_value_),
}


@pytest.mark.parametrize("layout", ["loop", "vmap"])
@pytest.mark.parametrize("name", CLIPS)
def test_each_member_is_clipped_by_itself(name: str, layout: Layout):
    ours, theirs = CLIPS[name]
    batch = Batch(X, {"x": ZEROS})
    method = {"x": Term(losses.squared_error, target="x")}
    net = functional(lambda: nn.Linear(3, 2).double())
    one = distill(net, method, optim.chain(ours, optim.sgd(0.125)), batch)
    state = ensemble(one).init([1, 2], {"x.weight": WEIGHTS})
    lay(one, Plan(layout, compile="none", graph=0))(state, batch)
    for k, weight in enumerate(WEIGHTS):
        torch.manual_seed(k + 1)
        model = nn.Linear(3, 2).double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.125)
        (weight * F.mse_loss(model(X), ZEROS)).backward()
        bare = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        theirs(model.parameters(), LARGEST)
        clipped = [p.grad for p in model.parameters() if p.grad is not None]
        same = [torch.allclose(a, b) for a, b in zip(bare, clipped, strict=True)]
        assert all(same) if k == 0 else not any(same)
        optimizer.step()
        expected = {name: value.detach() for name, value in model.named_parameters()}
        assert_same(member(state, k).params["student"], expected)
