"""A module as pure functions is the module, and its random numbers are explicit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fkd.model import Dropout, functional, outputs_like, state_dict
from fkd.models import LightNN


class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)
        )


def _images() -> torch.Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_init_is_building_the_module_after_manual_seed():
    params, _ = functional(LightNN).init(42)
    torch.manual_seed(42)
    expected = dict(LightNN().named_parameters())
    assert list(params) == list(expected)
    assert all(torch.equal(params[name], expected[name]) for name in expected)
    assert params["features.0.weight"].norm().item() == pytest.approx(2.327361822128296, abs=1e-7)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    model = functional(LightNN)
    params, buffers = model.init(0)
    model.apply(params, buffers, torch.zeros(2, 3, 32, 32), train=True)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("train", [True, False])
def test_apply_is_the_module_with_its_running_statistics(train):
    model = functional(Normed)
    params, buffers = model.init(3)
    torch.manual_seed(3)
    module = Normed().train(train)
    for _ in range(3):
        outputs, buffers = model.apply(params, buffers, _images(), train=train)
        torch.testing.assert_close(outputs["logits"], module(_images()))
    for name, value in module.named_buffers():
        torch.testing.assert_close(buffers[name], value)


def test_buffers_come_back_as_new_tensors():
    model = functional(Normed)
    params, buffers = model.init(0)
    before = {name: value.clone() for name, value in buffers.items()}
    model.apply(params, buffers, _images(), train=True)
    assert all(torch.equal(buffers[name], before[name]) for name in before)


def test_a_parameter_that_was_not_passed_is_an_error():
    model = functional(Normed)
    params, buffers = model.init(0)
    del params["4.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*4\.weight"):
        model.apply(params, buffers, _images(), train=True)


def test_frozen_parameters_are_buffers():
    def build():
        module = Normed()
        module[0].requires_grad_(False)
        return module

    params, buffers = functional(build).init(0)
    assert "0.weight" in buffers and "0.weight" not in params
    assert "4.weight" in params


def test_the_state_dict_loads_into_the_module():
    params, buffers = functional(LightNN).init(0)
    assert list(state_dict(params, buffers)) == list(LightNN().state_dict())
    LightNN().load_state_dict(state_dict(params, buffers))


def test_what_is_returned_goes_by_name():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    model = functional(Pair)
    with pytest.raises(ValueError, match=r"must return a tensor .* but it returned a tuple"):
        model.apply({}, {}, torch.ones(1), train=False)


@pytest.mark.plain
def test_a_module_instead_of_its_class_is_refused():
    with pytest.raises(ValueError, match=r"must return an nn\.Module, but it returned a Tensor"):
        functional(lambda: torch.ones(1))  # type: ignore[arg-type, return-value]


def _masks(layer: nn.Module, x: torch.Tensor, seed: int, steps: int) -> list[torch.Tensor]:
    model = functional(lambda: layer)
    params, buffers = model.init(seed)
    found = []
    for _ in range(steps):
        outputs, buffers = model.apply(params, buffers, x, train=True)
        found.append(outputs["logits"])
    return found


def test_dropout_keeps_a_share_and_scales_it():
    (out,) = _masks(nn.Dropout(0.3), torch.ones(400, 100), seed=0, steps=1)
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / 0.7))
    assert abs(len(kept) / out.numel() - 0.7) < 4 * (0.21 / out.numel()) ** 0.5


def test_dropout_differs_between_steps_and_seeds_and_repeats_by_seed():
    x = torch.ones(10, 10)
    first, second = _masks(nn.Dropout(), x, seed=0, steps=2)
    (again,) = _masks(nn.Dropout(), x, seed=0, steps=1)
    (other,) = _masks(nn.Dropout(), x, seed=1, steps=1)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_two_dropout_layers_draw_different_masks():
    model = functional(lambda: nn.Sequential(nn.Dropout(), nn.Dropout()))
    _, buffers = model.init(0)
    assert not torch.equal(buffers["0.dropout_key"], buffers["1.dropout_key"])


def test_dropout2d_drops_whole_channels():
    (out,) = _masks(nn.Dropout2d(), torch.ones(20, 30, 4, 4), seed=0, steps=1)
    means = out.mean((2, 3))
    assert set(means.flatten().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_all(p):
    layer = Dropout(p).train()
    assert torch.equal(layer(torch.ones(3, 3)), torch.full((3, 3), 1 - p))


def test_dropout_does_nothing_in_evaluation():
    model = functional(lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout()))
    params, buffers = model.init(0)
    x = torch.ones(2, 3)
    outputs, after = model.apply(params, buffers, x, train=False)
    torch.testing.assert_close(outputs["logits"], F.linear(x, params["0.weight"], params["0.bias"]))
    assert after["1.dropout_count"] == 0


def test_random_layers_without_an_explicit_form_are_refused():
    with pytest.raises(ValueError, match="layer '1' is a AlphaDropout"):
        functional(lambda: nn.Sequential(nn.Linear(2, 2), nn.AlphaDropout()))


def test_random_numbers_in_forward_are_refused():
    class Noisy(nn.Module):
        def forward(self, x):
            return F.dropout(x, training=self.training)

    model = functional(Noisy)
    with pytest.raises(ValueError, match="draws random numbers from torch's global generator"):
        outputs_like(model, torch.ones(2, 2), train=True)
    assert outputs_like(model, torch.ones(2, 2), train=False)["logits"].device.type == "meta"


def _normed() -> nn.Sequential:
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    return nn.Sequential(*layers)


def test_a_narrow_model_is_its_module_in_bfloat16_beside_a_batchnorm_in_float32():
    net = functional(_normed, torch.bfloat16)
    params, buffers = net.init(3)
    assert {value.dtype for value in params.values()} == {torch.float32}
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    outputs, moved = net.apply(params, buffers, x, train=True)
    module = _normed()
    module.load_state_dict(params | buffers)
    for number in (0, 4):
        module[number].to(torch.bfloat16)
    torch.testing.assert_close(outputs["logits"], module(x.bfloat16()).float(), rtol=0, atol=0)
    torch.testing.assert_close(moved["1.running_mean"], module[1].running_mean)
    assert moved["1.running_mean"].dtype == torch.float32
    gradient = torch.func.grad(
        lambda p: net.apply(p, buffers, x, train=True)[0]["logits"].square().sum()
    )(params)
    assert {value.dtype for value in gradient.values()} == {torch.float32}


@pytest.mark.plain
def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match=r"dtype must be torch.float32, bfloat16 or float16"):
        functional(lambda: nn.Linear(2, 2), torch.int32)
