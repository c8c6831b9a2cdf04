"""Methods are data: the tutorial's and the papers' weights, and every one of them trains."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fkd import losses, methods, optim
from fkd.distillation import distill, step
from fkd.ensemble import ensemble
from fkd.methods import METHODS, Term, cosine, hint, kd, supervised
from fkd.model import functional
from fkd.models import DeepNN, LightNN


def _make(name: str) -> methods.Method:
    return METHODS[name](**({"examples": 64} if name == "crd" else {}))


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    images = torch.randn(6, 3, 32, 32)
    labels, index = torch.tensor([0, 1, 2, 0, 1, 2]), torch.arange(6)
    with torch.no_grad():
        taught = DeepNN(3).eval()(images)
    return images, {"labels": labels, "index": index, **taught}


@pytest.mark.parametrize("name", [name for name in METHODS if name != "simkd"])
def test_every_method_takes_steps_alike_in_either_layout(name, batch):
    images, targets = batch
    rule = distill(functional(lambda: LightNN(3)), _make(name), optim.sgd(1e-4), images, targets)
    found = []
    for layout in ("vmap", "loop"):
        run = ensemble(rule, layout=layout)
        state, _ = step(run, run.init([0, 1]), images, targets)
        _, metrics = step(run, state, images, targets)
        assert metrics["loss"].isfinite().all()
        found.append(metrics["loss"])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_all_parameters_of_a_method_are_trained(batch):
    images, targets = batch
    for name in METHODS:
        if name == "simkd":
            continue
        rule = distill(functional(lambda: LightNN(3)), _make(name), optim.sgd(), images, targets)
        gradient = rule.gradient(rule.init(0), images, targets)
        for term, head in gradient.params["heads"].items():
            for parameter, value in head.items():
                assert value.abs().max() > 0, f"{name}: {term}.{parameter} has no gradient"


@pytest.mark.parametrize("layout", ["vmap", "loop"])
def test_a_swept_temperature_of_crd_is_that_of_a_method_built_with_it(batch, layout):
    images, targets = batch

    def rule(temperature: float):
        method = methods.crd(examples=64, temperature=temperature)
        return distill(functional(lambda: LightNN(3)), method, optim.sgd(1e-4), images, targets)

    run = ensemble(rule(0.07), layout=layout)
    state = run.init([4, 4], {"crd.temperature": [0.2, 0.5]})
    alone = {value: rule(value) for value in (0.2, 0.5)}
    states = {value: one.init(4) for value, one in alone.items()}
    for _ in range(2):  # the second step reads what the first one kept
        state, metrics = step(run, state, images, targets)
        for k, (value, one) in enumerate(alone.items()):
            states[value], expected = step(one, states[value], images, targets)
            torch.testing.assert_close(metrics["crd"][k], expected["crd"], rtol=1e-4, atol=1e-5)
    kept = [one.buffers["heads"]["crd"]["scales"] for one in states.values()]
    torch.testing.assert_close(state.buffers["heads"]["crd"]["scales"], torch.stack(kept))


def test_crds_numbers_of_rows_cannot_be_swept(batch):
    images, targets = batch
    net = functional(lambda: LightNN(3))
    rule = distill(net, methods.crd(examples=64), optim.sgd(), images, targets)
    with pytest.raises(ValueError, match=r"'crd.share' is not known; choose from .*temperature"):
        rule.init(0, {"crd.share": 0.5})
    with pytest.raises(ValueError, match=r"term 'crd': crd: temperature must be above zero"):
        rule.init(0, {"crd.temperature": 0.0})
    with pytest.raises(ValueError, match=r"term 'crd': Memory: negatives must lie in \[1, 64\]"):
        distill(net, methods.crd(examples=64, negatives=0), optim.sgd(), images, targets)


def test_the_tutorials_weights_are_the_defaults():
    weights = {
        name: {term: t.weight for term, t in METHODS[name]().items()}
        for name in ("ce", "kd", "cosine", "hint")
    }
    assert weights == {
        "ce": {"ce": 1.0},
        "kd": {"kd": 0.25, "ce": 0.75},
        "cosine": {"cosine": 0.25, "ce": 0.75},
        "hint": {"hint": 0.25, "ce": 0.75},
    }
    assert kd()["kd"].hyper == {"temperature": 2.0}


def _total(method: methods.Method, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The distillation terms of a method of one layer."""
    terms = [t for name, t in method.items() if name != "ce"]
    values = [t.weight * t.loss(student, teacher, **t.hyper).mean() for t in terms]
    return torch.stack(values).sum()


def test_mlld_has_its_authors_weights():
    # 0.9 of each term at each temperature, times the share of a mask that lets half through
    student, teacher = torch.randn(2, 8, 5)
    expected = torch.tensor(0.0)
    for temperature in (2.0, 3.0, 4.0, 5.0, 6.0):
        q, p = (F.softmax(x / temperature, -1) for x in (student, teacher))
        kl = temperature**2 * F.kl_div(q.log(), p, reduction="batchmean")
        batch = (q @ q.T - p @ p.T).square().sum() / 8
        expected = expected + 0.9 * 0.5 * (kl + batch)
    method = {name: t for name, t in methods.mlld().items() if "class" not in name}
    torch.testing.assert_close(_total(method, student, teacher), expected)
    assert method["ce"].weight == 0.1


def test_cc_has_the_zoos_weight_of_the_mean_over_pairs():
    student, teacher = torch.randn(2, 6, 3)

    def kernel(x: torch.Tensor) -> torch.Tensor:
        cosine = F.normalize(x) @ F.normalize(x).T
        return math.exp(-0.8) * (1 + 0.8 * cosine + 0.8**2 / 2 * cosine**2)

    expected = 100 * F.mse_loss(kernel(student), kernel(teacher))
    torch.testing.assert_close(_total(methods.cc(), student, teacher), expected)


def test_logits_has_the_zoos_weight_of_the_mean_over_elements():
    student, teacher = torch.randn(2, 6, 3)
    found = _total(methods.logits(), student, teacher)
    torch.testing.assert_close(found, 0.1 * F.mse_loss(student, teacher))


def test_ickd_has_its_authors_weight_and_normalised_embedding():
    student, teacher = torch.randn(2, 4, 6, 3, 3)
    g_s, g_t = (F.normalize(x.flatten(2) @ x.flatten(2).mT, dim=2) for x in (student, teacher))
    found = _total(methods.ickd(), student, teacher)
    torch.testing.assert_close(found, 2.5 * (g_s - g_t).square().sum() / (6 * 4))
    head = methods.ickd()["ickd"].head
    assert head is not None
    built = head(torch.Size([3, 3, 3]), torch.Size([6, 3, 3]))
    assert isinstance(built, nn.Sequential)
    convolution, norm = built
    assert isinstance(convolution, nn.Conv2d) and convolution.bias is None
    assert isinstance(norm, nn.BatchNorm2d)


def test_methods_compose():
    both = kd() | hint(weight=0.1)
    assert list(both) == ["kd", "ce", "hint"]
    assert both["hint"].weight == 0.1


def test_layers_are_arguments():
    assert cosine(layer="x")["cosine"].student == "x"
    assert hint(layer="y")["hint"].target == "y"


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


def test_a_heads_hyperparameter_must_be_one_of_the_terms():
    with pytest.raises(ValueError, match="head_hyper 'heat' is not known; choose from temperature"):
        Term(losses.kl_divergence, hyper={"temperature": 1.0}, head_hyper=("heat",))
