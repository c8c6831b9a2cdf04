"""Captured steps: the same steps as one by one, on a graph that a CPU can stand in for."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from torch.utils._pytree import tree_leaves

from fkd.execution._capture import CannotCapture, Captured, Recorder, capture
from fkd.execution._run import runner


def pretend(first, function):
    """A graph's behaviour: nothing is called again by Python's hand but into the same tensors."""
    first()
    outputs = function()

    def replay():
        for old, new in zip(tree_leaves(outputs), tree_leaves(function()), strict=True):
            old.copy_(new)

    return outputs, replay


def run(record, device: str) -> None:
    data = torch.arange(1.0, 11.0, device=device)
    state = {"sum": torch.zeros((), device=device), "steps": torch.zeros((), device=device)}

    def body(feed):
        step, row = feed
        batch = data[row].sum()
        state["sum"].add_(batch)
        state["steps"].add_(1)
        return {"batch": batch, "so far": state["sum"].clone(), "step": step.clone()}

    captured = Captured(body, state, record)
    rows = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]], device=device)
    feeds = [(torch.tensor(number, device=device), row) for number, row in enumerate(rows)]
    # One graph before and after another, with whom it has its memory in common.
    parts = [captured(few) for few in (feeds[:2], feeds[2:3], feeds[3:])]
    expected = {"batch": [3, 7, 11, 15, 19], "so far": [3, 10, 21, 36, 55], "step": [0, 1, 2, 3, 4]}
    for name, values in expected.items():
        assert torch.cat([part[name] for part in parts]).tolist() == values
    assert state["steps"].item() == 5  # neither warm-up nor capture is left in the state
    assert sorted(captured.graphs) == [1, 2]  # one graph a number of feeds


def test_feeds_in_parts_of_any_length_are_the_steps_one_by_one():
    run(pretend, "cpu")


@pytest.mark.plain
@pytest.mark.parametrize(
    ("told", "kind", "message"),
    [
        (
            "CUDA error: operation not permitted when stream is capturing\nmore",
            CannotCapture,
            "^CUDA error: operation not permitted when stream is capturing$",
        ),
        ("CUDA out of memory", RuntimeError, "^CUDA out of memory$"),
    ],
)
def test_what_a_capture_cannot_take_is_told_from_other_errors(told, kind, message, monkeypatch):
    def waits():
        raise RuntimeError(told)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", lambda *arguments, **named: nullcontext())
    with pytest.raises(kind, match=message):
        capture(waits, None)


def cannot(first, function):
    """A capture that fails behind its warm-up, as of a step that waits for the device."""
    first()
    raise CannotCapture("no")


def run_by(record, body, state, graph, *, fall_back):
    """What `fkd.execution.runner` would return, with a graph that is recorded so."""
    return Captured(body, state, record, fall_back)


def counting(state):
    def body(feed):
        state.add_(feed)
        return state.clone()

    return body


def test_steps_that_no_graph_can_hold_go_on_one_by_one_from_where_they_stood():
    state, feeds = torch.zeros(()), [torch.tensor(number) for number in (1.0, 2.0, 4.0)]
    captured = Captured(counting(state), state, cannot, fall_back=True)
    with pytest.warns(UserWarning, match=r"for they wait .* one by one: no; Plan\(graph=0\) does"):
        assert captured(feeds).tolist() == [1.0, 3.0, 7.0]
    assert captured.gave_way
    assert captured(feeds[:1]).tolist() == [8.0]  # and no second warning


def test_steps_that_no_graph_can_hold_are_refused_where_a_graph_was_demanded():
    state = torch.zeros(())
    captured = Captured(counting(state), state, cannot)
    with pytest.raises(ValueError, match=r"^runner: .* for they wait .*: no; use Plan\(graph=0\)$"):
        captured([torch.tensor(1.0)])
    assert state == 0 and not captured.gave_way


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@gpu
def test_the_same_on_a_gpu():
    run(Recorder(), "cuda")


@gpu
def test_singular_vectors_wait_for_the_gpu_and_go_on_without_a_graph():
    feeds, state = (
        [torch.rand(2, 5, 3, device="cuda") for _ in range(3)],
        torch.zeros((), device="cuda"),
    )

    def body(feed):
        state.add_(1)
        return torch.linalg.svd(feed)[1]

    with pytest.raises(ValueError, match="no CUDA graph can hold the steps"):
        runner(body, state, 3)(feeds)
    with pytest.warns(UserWarning, match="go on one by one"):
        values = runner(body, state, 3, fall_back=True)(feeds)
    torch.testing.assert_close(values, torch.linalg.svdvals(torch.stack(feeds)))
    assert state.item() == 3


@gpu
def test_what_another_thread_does_spoils_no_capture():
    """As a loader's, which pins the memory of the batches to come."""
    pinned = []

    def body(feed):
        with ThreadPoolExecutor(1) as thread:
            pinned.append(thread.submit(torch.empty, 2**20, pin_memory=True).result())
        return feed.sum()

    feeds = [torch.arange(3.0, device="cuda"), torch.ones(3, device="cuda")]
    assert Captured(body, ())(feeds).tolist() == [3.0, 3.0]
