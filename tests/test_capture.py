"""Captured steps: the same steps as one by one, on a graph that a CPU can stand in for."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from fkd._capture import Captured, record


def pretend(function):
    """A graph's behaviour: nothing is called again by Python's hand but into the same tensors."""
    outputs = function()

    def replay():
        for old, new in zip(tree_leaves(outputs), tree_leaves(function()), strict=True):
            old.copy_(new)

    return outputs, replay


def run(record, device: str) -> None:
    data = torch.arange(1.0, 11.0, device=device)
    state = {"sum": torch.zeros((), device=device), "steps": torch.zeros((), device=device)}

    def body(row):
        batch = data[row].sum()
        state["sum"].add_(batch)
        state["steps"].add_(1)
        return {"batch": batch, "so far": state["sum"].clone()}

    captured = Captured(body, state, record)
    rows = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]], device=device)
    found = [captured(part) for part in (rows[:2], rows[2:4], rows[4:])]
    for name, values in (("batch", [3, 7, 11, 15, 19]), ("so far", [3, 10, 21, 36, 55])):
        assert torch.cat([part[name] for part in found]).tolist() == values
    assert state["steps"].item() == 5  # neither warm-up nor capture is left in the state
    assert sorted(captured.graphs) == [1, 2]  # one graph a number of rows


def test_rows_in_parts_of_any_length_are_the_steps_one_by_one():
    run(pretend, "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_same_on_a_gpu():
    run(record, "cuda")
