"""Methods are data with the tutorial's weights."""

import pytest
import torch

from fkd import losses
from fkd.methods import METHODS, Term, convolution_regressor, cosine, hint, kd, supervised


def test_the_tutorials_weights_are_the_defaults():
    weights = {
        name: {term: t.weight for term, t in make().items()} for name, make in METHODS.items()
    }
    assert weights == {
        "ce": {"ce": 1.0},
        "kd": {"kd": 0.25, "ce": 0.75},
        "cosine": {"cosine": 0.25, "ce": 0.75},
        "hint": {"hint": 0.25, "ce": 0.75},
    }
    assert kd()["kd"].hyper == {"temperature": 2.0}


def test_methods_compose():
    both = kd() | hint(weight=0.1)
    assert list(both) == ["kd", "ce", "hint"]
    assert both["hint"].weight == 0.1


def test_layers_are_arguments():
    assert cosine(layer="x")["cosine"].student == "x"
    assert hint(layer="y")["hint"].target == "y"


def test_the_regressor_is_a_trainable_convolution():
    module = convolution_regressor(torch.Size([16, 8, 8]), torch.Size([32, 8, 8]))
    assert module(torch.zeros(2, 16, 8, 8)).shape == (2, 32, 8, 8)
    with pytest.raises(ValueError, match=r"the student's is \(1024,\)"):
        convolution_regressor(torch.Size([1024]), torch.Size([32, 8, 8]))


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="weight must be zero or more and finite"):
        supervised(weight)
    with pytest.raises(ValueError, match="weight must be zero or more and finite"):
        Term(losses.kl_divergence, weight=weight)


@pytest.mark.parametrize("temperature", [0.0, -2.0, float("nan")])
def test_bad_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match="kd: temperature must be above zero"):
        kd(temperature=temperature)
