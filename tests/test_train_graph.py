"""Training whose steps a CUDA graph holds, by what stands in for one on a CPU."""

from functools import partial

import pytest
from execution.test_capture import cannot, pretend, run_by
from small import assert_same
from test_train import EAGER, copy_of, last, pair, source

from fkd.execution import Plan
from fkd.train import train


def test_steps_in_a_graph_are_the_steps_one_by_one(monkeypatch):
    # three steps an epoch: a graph of two and a graph of one
    plain = copy_of(last(train(pair(), source(), epochs=2, plan=EAGER)))
    monkeypatch.setattr("fkd.train.runner", partial(run_by, pretend))
    monkeypatch.setattr(Plan, "settle", lambda *_: Plan("loop", None, "none", 2))
    stands = [(at.step, copy_of(at)) for at in train(pair(), source(), epochs=2)]
    assert [step for step, _ in stands] == [2, 3, 2, 3]
    assert_same(stands[-1][1].states, plain.states)
    assert_same(stands[-1][1].metrics, plain.metrics)


def test_steps_that_no_graph_can_hold_are_told_as_they_were_taken(monkeypatch):
    plain = copy_of(last(train(pair(), source(), epochs=1, plan=EAGER)))

    monkeypatch.setattr("fkd.train.runner", partial(run_by, cannot))
    monkeypatch.setattr(Plan, "settle", lambda *_: Plan("loop", None, "none", 2))
    with pytest.warns(UserWarning, match="go on one by one"):
        at = last(train(pair(), source(), epochs=1))
    assert at.plans == dict.fromkeys(pair(), Plan("loop", None, "none", 0))
    assert_same(at.states, plain.states)
