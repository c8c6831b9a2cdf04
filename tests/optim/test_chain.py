"""Masks and names: parts of a student that are trained by numbers of their own."""

import pytest
import torch
import torch.nn.functional as F
from small import assert_same
from torch import Tensor, nn

from fkd import losses, optim, schedules
from fkd.data import Batch
from fkd.distillation import distill, step
from fkd.ensemble import ensemble, member
from fkd.methods import Term
from fkd.model import functional

STEPS = 4
RATES = {"lr": [0.125, 0.25], "heads.lr": [0.5, 0.0625]}  # exact in float32


def _is_head(name: str, leaf: Tensor) -> bool:
    return name.startswith("heads.")


def _is_student(name: str, leaf: Tensor) -> bool:
    return name.startswith("student.")


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.stem = nn.Sequential(nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.PReLU(4))
        self.tokens = nn.Embedding(5, 4)
        self.layer = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2))
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)


def test_a_matrix_is_whatever_is_no_norms_and_no_bias_whatever_it_is_called():
    named = Norms().named_parameters()
    assert [name for name, leaf in named if optim.is_matrix(name, leaf)] == [
        "conv.weight",
        "tokens.weight",
        "layer.1.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    ]
    assert not optim.is_matrix("block.bias", torch.ones(1, 4, 1, 1))


def _batch() -> Batch:
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(6, n, generator=draw, dtype=torch.float64) for n in (3, 5))
    return Batch(x, {"logits": y})


def _regressor(student: tuple[int, ...], target: tuple[int, ...]) -> nn.Module:
    return nn.Linear(student[0], target[0]).double()


@pytest.mark.parametrize("scheduled", [False, True])
def test_heads_learn_by_numbers_of_their_own_swept_and_scheduled(scheduled):
    """As in torch.optim with a group of parameters for the heads."""
    batch = _batch()
    optimizer = optim.chain(
        optim.masked(optim.sgd(0.1, momentum=0.5), _is_student),
        optim.masked(optim.chain(optim.sgd(0.1), name="heads"), _is_head),
    )
    one = distill(
        functional(lambda: nn.Linear(3, 2).double()),
        {"x": Term(losses.squared_error, target="logits", head=_regressor)},
        optimizer,
        batch,
        schedules={"heads.lr": schedules.piecewise([2], 0.5)} if scheduled else None,
    )
    run = ensemble(one)
    start = run.init([1, 2], RATES)
    state = start
    for _ in range(STEPS):
        state, _ = step(run, state, batch)
    for k in range(2):
        model, head = nn.Linear(3, 2).double(), nn.Linear(2, 5).double()
        model.load_state_dict(member(start, k).params["student"])
        head.load_state_dict(member(start, k).params["heads"]["x"])
        student = {"params": model.parameters(), "momentum": 0.5}
        groups = [student | {"lr": RATES["lr"][k]}, {"params": head.parameters()}]
        theirs = torch.optim.SGD(groups, lr=RATES["heads.lr"][k])
        for number in range(STEPS):
            if scheduled and number == 2:
                theirs.param_groups[1]["lr"] /= 2
            theirs.zero_grad()
            F.mse_loss(head(model(batch.inputs)), batch.targets["logits"]).backward()
            theirs.step()
        for ours, module in (("student", model), ("heads", head)):
            params = member(state, k).params[ours]
            expected = {name: value.detach() for name, value in module.named_parameters()}
            assert_same(params if ours == "student" else params["x"], expected)


@pytest.mark.plain
def test_whether_it_is_a_matrix_is_asked_of_a_name_and_a_tensor():
    for name, leaf in ((3, torch.ones(2, 2)), ("weight", [[1.0]])):
        with pytest.raises(ValueError, match=r"is_matrix: (name|leaf) must be"):
            optim.is_matrix(name, leaf)  # type: ignore[arg-type]


@pytest.mark.plain
def test_the_state_of_another_optimizer_is_refused():
    params = {"weight": torch.ones(1)}
    one, other = optim.sgd(0.1), optim.adam()
    hyper = {name: torch.tensor(number) for name, number in one.hyper.items()}
    with pytest.raises(ValueError, match="chain: the state must hold one of each of 2 links"):
        one.update(params, other.init(params), params, hyper)
