"""Students that are not finite are found: by a parameter, a buffer, a head or their logits."""

import pytest
import torch
from torch import Tensor, nn

from fkd.compare._job.finite import not_finite
from fkd.distillation import State
from fkd.ensemble import stack
from fkd.model import Model, functional


class Masked(nn.Module):
    """A network with a buffer that is infinite by intention, and one that counts."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(3, 2), nn.BatchNorm1d(2)
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.fc(x))


def three() -> tuple[Model, State]:
    """An ensemble of three, with a head of one of its terms."""
    model = functional(Masked)
    states = []
    for seed in range(3):
        params, buffers = model.init(seed)
        states.append(
            State(
                params={"student": params, "heads": {"hint": {"weight": torch.ones(2, 2)}}},
                buffers={"student": buffers, "heads": {"hint": {}}},
                optimizer=(),
                hyper={},
                key=torch.tensor(seed),
                step=torch.tensor(1),
            )
        )
    return model, stack(states)


def place(state: State, name: str) -> Tensor:
    kind, _, path = name.rpartition(" ")
    tree = state.params if kind.endswith("parameter") else state.buffers
    if not kind.startswith("head's"):
        return tree["student"][path]
    term, _, key = path.partition(".")
    return tree["heads"][term][key]


def test_an_ensemble_that_is_finite_has_nothing_to_tell():
    model, state = three()
    assert not_finite(model, state, torch.zeros(3, 4, 2)) == ["", "", ""]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize(
    "name",
    [
        "parameter fc.weight",
        "head's parameter hint.weight",
        "buffer norm.running_mean",
        "buffer norm.running_var",
    ],
)
def test_one_number_of_one_member_is_found_by_name(name, value):
    model, state = three()
    place(state, name)[1].view(-1)[-1] = value
    assert not_finite(model, state, torch.zeros(3, 4, 2)) == ["", name, ""]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_logits_that_are_not_finite_are_found_where_the_student_is(value):
    model, state = three()
    logits = torch.zeros(3, 4, 5, 2)
    logits[2, 3, 4, 1] = value
    assert not_finite(model, state, logits) == ["", "", "logits"]


def test_a_buffer_that_was_infinite_at_the_start_may_be_but_no_nan():
    model, state = three()
    mask = place(state, "buffer mask")
    mask[0, 0] = float("inf")  # was zero
    mask[2, 1] = float("nan")  # was -inf
    found = "buffer mask"
    assert not_finite(model, state, torch.zeros(3, 4, 2)) == [found, "", found]
