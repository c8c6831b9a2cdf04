"""The loop: the same steps as by hand, its curves, its calls, and a loss that is not finite."""

import math
from typing import Any

import pytest
import torch
from test_capture import pretend
from torch import nn

from fkd import data, methods, optim
from fkd._capture import Captured
from fkd.distillation import distill, step
from fkd.ensemble import Order, ensemble, member
from fkd.model import functional
from fkd.train import Students, Trained, train, train_together

IMAGES = torch.randint(256, (10, 3, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
TARGETS = {"labels": torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])}


def build() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.Dropout(0.2))


def rule(lr: float = 0.01):
    example = data.normalize(IMAGES[:4])
    labels = {"labels": TARGETS["labels"][:4]}
    return distill(functional(build), methods.supervised(), optim.adam(lr), example, labels)


@pytest.mark.parametrize("order", ["shared", "own"])
def test_training_is_the_steps_by_hand(order: Order):
    one = rule()
    trained = train(
        ensemble(one, order=order), [7, 8], IMAGES, TARGETS, epochs=2, batch_size=4, order=order
    )
    state = one.init(8)
    losses = []
    for epoch in range(2):
        for index in data.order(8 if order == "own" else 0, epoch, 10, 4):
            x, y = data.normalize(IMAGES[index]), {"labels": TARGETS["labels"][index]}
            state, metrics = step(one, state, x, y)
            losses.append(float(metrics["loss"]))
    for name, value in state.params["student"].items():
        torch.testing.assert_close(member(trained.state, 1).params["student"][name], value)
    means = [sum(losses[:3]) / 3, sum(losses[3:]) / 3]
    assert [epoch[1] for epoch in trained.curves["loss"]] == pytest.approx(means, rel=1e-5)
    assert sorted(trained.curves) == ["ce", "loss"]


def test_callers_are_told_of_steps_and_epochs():
    steps, states = [], []

    def on_epoch(state):
        states.append(state)
        return {"score": torch.tensor([1.0, 2.0]) * len(states)}

    trained = train(
        ensemble(rule()), [0, 1], IMAGES, TARGETS, epochs=3, batch_size=5,
        on_step=lambda: steps.append(1), on_epoch=on_epoch,
    )  # fmt: skip
    assert len(steps) == 6
    assert trained.curves["score"] == [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]
    assert states[-1] is trained.state
    assert all(value >= 0 for value in trained.seconds.values())


def test_a_loss_that_is_not_finite_stops_with_the_member_epoch_and_step():
    run = ensemble(rule())

    def spoil(gradient, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 5:  # the update after epoch 2, step 2 (of 3): the next loss is not finite
            bad = gradient.params["student"]["1.bias"].clone()
            bad[1] = float("nan")
            gradient.params["student"]["1.bias"] = bad
        return gradient

    message = r"member 1 \(seed 9\): the loss became nan in epoch 2, step 3 of 3"
    with pytest.raises(FloatingPointError, match=message):
        train(run, [4, 9], IMAGES, TARGETS, epochs=3, batch_size=4, reduce=spoil)


def _kd(lr: float, temperature: float):
    example, logits = data.normalize(IMAGES[:4]), torch.ones(4, 3)
    targets = {"labels": TARGETS["labels"][:4], "logits": logits}
    method = methods.kd(temperature=temperature)
    return distill(functional(build), method, optim.sgd(lr), example, targets)


@pytest.mark.parametrize("order", ["shared", "own"])
def test_a_member_of_a_sweep_is_the_student_alone_with_those_numbers(order: Order):
    teacher = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    how: dict[str, Any] = {"epochs": 2, "batch_size": 4, "order": order}
    data = (IMAGES, TARGETS | {"logits": teacher})
    hyper = {"lr": [0.1, 0.1, 0.3, 0.3], "kd.temperature": [1.0, 1.0, 4.0, 4.0]}
    together = train(ensemble(_kd(0.2, 2.0), order=order), [5, 6] * 2, *data, hyper=hyper, **how)
    for k, (lr, temperature) in enumerate([(0.1, 1.0), (0.3, 4.0)]):
        alone = train(ensemble(_kd(lr, temperature), order=order), [5, 6], *data, **how)
        for name, curve in alone.curves.items():
            for epoch, values in zip(together.curves[name], curve, strict=True):
                assert epoch[2 * k : 2 * k + 2] == pytest.approx(values, rel=1e-5)


def test_a_diverged_member_is_named_with_its_hyperparameters_or_kept():
    run, hyper = ensemble(_kd(0.1, 2.0)), {"lr": [0.1, 1e38], "kd.temperature": [2.0, 4.0]}
    targets = TARGETS | {"logits": torch.zeros(10, 3)}
    given = (run, [4, 4], IMAGES, targets)
    with pytest.raises(
        FloatingPointError, match=r"member 1 \(seed 4, lr 1e\+38, kd.temperature 4\)"
    ):
        train(*given, epochs=2, batch_size=5, hyper=hyper)
    kept = train(*given, epochs=2, batch_size=5, hyper=hyper, diverged="keep")
    alone = train(run, [4], IMAGES, targets, epochs=2, batch_size=5, hyper={"lr": [0.1]})
    assert not any(math.isfinite(epoch[1]) for epoch in kept.curves["loss"])
    for epoch, (value,) in zip(kept.curves["loss"], alone.curves["loss"], strict=True):
        assert epoch[0] == pytest.approx(value, rel=1e-5)


LOGITS = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))


def _pair(order: Order) -> dict[str, Students]:
    return {
        "kd": Students(ensemble(_kd(0.1, 2.0), order=order), [5, 6, 7]),
        "ce": Students(ensemble(rule(), order=order), [5, 6], {"lr": [0.01, 0.02]}),
    }


@pytest.mark.parametrize("order", ["shared", "own"])
def test_side_by_side_with_a_live_teacher_is_alone_with_its_outputs_looked_up(order: Order):
    how: dict[str, Any] = {"epochs": 2, "batch_size": 4, "order": order}
    weight = torch.randn(48, 3, generator=torch.Generator().manual_seed(2))
    seen = []

    def teacher(x: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(len(x))
        return {"logits": x.flatten(1) @ weight}

    together = train_together(_pair(order), IMAGES, TARGETS, teacher=teacher, **how)
    # three steps an epoch of one batch of four for all, or of one for each of the five
    assert seen == ([4] * 6 if order == "shared" else [12, 8] * 6)
    known = TARGETS | {"logits": data.normalize(IMAGES).flatten(1) @ weight}
    for name, one in _pair(order).items():
        found = together[name]
        assert isinstance(found, Trained)
        alone = train(one.ensemble, one.seeds, IMAGES, known, hyper=one.hyper, **how)
        for key, curve in alone.curves.items():
            torch.testing.assert_close(torch.tensor(found.curves[key]), torch.tensor(curve))


def test_steps_in_a_graph_are_the_steps_one_by_one(monkeypatch):
    how: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 4,
    }  # three steps an epoch: a graph of two and a graph of one
    given = (IMAGES, TARGETS | {"logits": LOGITS})
    plain = train_together(_pair("shared"), *given, **how)
    told = []
    monkeypatch.setattr(
        "fkd.train.runner", lambda body, states, *given: (Captured(body, states, pretend), 2)
    )
    graphs = train_together(_pair("shared"), *given, **how, on_step=lambda: told.append(1))
    assert len(told) == 6
    for one, other in zip(plain.values(), graphs.values(), strict=True):
        assert isinstance(one, Trained) and isinstance(other, Trained)
        assert one.curves == other.curves


def test_an_ensemble_that_diverges_does_not_stop_the_one_beside_it():
    pair = _pair("shared")
    pair["ce"] = Students(pair["ce"].ensemble, [5, 6], {"lr": [0.01, 1e38]})
    given = (IMAGES, TARGETS | {"logits": LOGITS})
    found = train_together(pair, *given, epochs=3, batch_size=5)
    assert isinstance(found["ce"], FloatingPointError)
    assert "member 1 (seed 6, lr 1e+38)" in str(found["ce"])
    alone = train(pair["kd"].ensemble, [5, 6, 7], *given, epochs=3, batch_size=5)
    assert isinstance(found["kd"], Trained)
    assert found["kd"].curves == alone.curves
