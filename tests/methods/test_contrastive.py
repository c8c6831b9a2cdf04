"""CRD: its memory has a row for each example, and its temperature can be swept."""

import pytest
import torch
from small import assert_same

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import Distillation, distill, step
from fkd.ensemble import ensemble
from fkd.methods import Context
from fkd.model import functional
from fkd.models import LightNN
from methods.test_methods import batch as batch

CONTEXT = Context(examples=64)


def rule(batch: Batch, temperature: float) -> Distillation:
    method = methods.crd(temperature=temperature)
    net = functional(lambda: LightNN(3).double())
    return distill(net, method, optim.sgd(1e-4), batch, context=CONTEXT)


def test_a_swept_temperature_is_that_of_a_method_built_with_it(batch):
    run = ensemble(rule(batch, 0.07))
    state = run.init([4, 4], {"crd.temperature": [0.2, 0.5]})
    alone = {value: rule(batch, value) for value in (0.2, 0.5)}
    states = {value: one.init(4) for value, one in alone.items()}
    for _ in range(2):  # the second step reads what the first one kept
        state, metrics = step(run, state, batch)
        for k, (value, one) in enumerate(alone.items()):
            states[value], expected = step(one, states[value], batch)
            assert_same(metrics["crd"][k], expected["crd"])
    scales = [one.buffers["heads"]["crd"]["scales"] for one in states.values()]
    assert_same(state.buffers["heads"]["crd"]["scales"], torch.stack(scales))


def test_the_numbers_of_rows_cannot_be_swept(batch):
    one = rule(batch, 0.07)
    with pytest.raises(ValueError, match=r"'crd.share' is not known; choose from .*temperature"):
        one.init(0, {"crd.share": 0.5})
    with pytest.raises(ValueError, match=r"term 'crd': crd: temperature must be above zero"):
        one.init(0, {"crd.temperature": 0.0})


def test_there_are_never_more_negatives_than_examples_and_never_none(batch):
    assert rule(batch, 0.07).init(0).buffers["heads"]["crd"]["student_bank"].shape[0] == 64
    net = functional(lambda: LightNN(3).double())
    with pytest.raises(ValueError, match="crd: negatives must be a whole number of at least 1"):
        methods.crd(negatives=0)
    with pytest.raises(ValueError, match=r"term 'crd': examples is needed of the context"):
        distill(net, methods.crd(), optim.sgd(), batch)
