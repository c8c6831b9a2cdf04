"""A module as pure functions is the module, and its random numbers are explicit."""

import random
import sys
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_map

from fkd.model import Key, functional, outputs_like, state_dict
from fkd.models import LightNN


class Normed(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)
        )


def _images() -> torch.Tensor:
    return torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def _key(seed: int = 0, step: int = 0) -> Key:
    return Key(torch.tensor(seed), torch.tensor(step))


def test_init_is_building_the_module_after_manual_seed():
    params, _ = functional(LightNN).init(42)
    torch.manual_seed(42)
    expected = dict(LightNN().named_parameters())
    assert list(params) == list(expected)
    assert all(torch.equal(params[name], expected[name]) for name in expected)
    assert params["features.0.weight"].norm().item() == pytest.approx(2.327361822128296, abs=1e-7)


def test_building_seeds_every_generator_and_leaves_them_alone():
    class Drawn(nn.Module):
        def __init__(self):
            super().__init__()
            numbers = [random.random(), np.random.rand(), torch.rand(()).item()]
            self.register_buffer("numbers", torch.tensor(numbers))

        def forward(self, x):
            return x + self.numbers

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    def draw() -> list[float]:
        return [random.random(), np.random.rand(), torch.rand(()).item()]

    seed()
    expected = draw()
    seed()
    model = functional(Drawn)
    first, again, other = (model.init(number)[1]["numbers"] for number in (0, 0, 2**32 - 1))
    model.apply({}, {"numbers": first}, torch.ones(3), train=True)
    assert draw() == expected
    assert torch.equal(first, again)
    assert not (first == other).any()


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


class Counting(nn.Module):
    """Re-assigns one buffer and writes another in place, in evaluation as well."""

    steps: torch.Tensor
    total: torch.Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("total", torch.zeros(()))

    def forward(self, x):
        self.steps = self.steps + 1
        self.total.add_(x.sum())
        return x * self.steps + self.total


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_buffers_come_back_as_new_tensors(train, dtype):
    model = functional(Counting, dtype)
    _, buffers = model.init(0)
    for step in (1, 2):
        before = {name: value.clone() for name, value in buffers.items()}
        _, after = model.apply({}, buffers, torch.ones(4), train=train)
        assert all(torch.equal(buffers[name], before[name]) for name in before)
        assert (after["steps"].item(), after["total"].item()) == (step, 4 * step)
        assert {value.dtype for value in after.values()} == {torch.int64, torch.float32}
        buffers = after


def test_a_frozen_parameter_that_the_module_moves_comes_back():
    class Moving(nn.Linear):
        def forward(self, input):
            self.weight.data.mul_(0.5)  # as a moving average of another network does
            return super().forward(input)

    model = functional(lambda: Moving(2, 2).requires_grad_(False))
    params, buffers = model.init(0)
    before = buffers["weight"].clone()
    _, after = model.apply(params, buffers, torch.ones(1, 2), train=True)
    assert torch.equal(buffers["weight"], before)
    assert torch.equal(after["weight"], before / 2)


def test_members_each_have_the_buffers_that_are_reassigned():
    model = functional(Counting)

    def steps(start: torch.Tensor) -> torch.Tensor:
        buffers = {"steps": start, "total": torch.zeros_like(start, dtype=torch.float32)}
        return model.apply({}, buffers, torch.ones(4), train=True)[1]["steps"]

    assert torch.func.vmap(steps)(torch.tensor([1, 5])).tolist() == [2, 6]


def test_a_module_that_was_there_before_is_left_as_it_is():
    net = Normed().train()
    net[4].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = functional(lambda: net)
    params, buffers = model.init(0)
    _, after = model.apply(params, buffers, _images(), train=True)
    for value in (*params.values(), *buffers.values(), *after.values()):
        value.zero_()
    outputs_like(model, _images(), train=False)
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)
    assert all(value.device.type == "cpu" for value in net.state_dict().values())
    assert [layer.training for layer in net] == [True, True, True, True, False]
    assert all(type(layer).__module__.startswith("torch.nn") for layer in net)


def test_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.out = nn.Linear(3, 3), nn.Linear(3, 3)
            self.out.weight = self.into.weight

        def forward(self, x):
            return self.out(self.into(x))

    model = functional(Tied)
    params, buffers = model.init(0)
    assert list(params) == ["into.weight", "into.bias", "out.bias"]
    params["into.weight"] = torch.eye(3) * 2
    params["into.bias"], params["out.bias"] = torch.zeros(3), torch.zeros(3)
    outputs, _ = model.apply(params, buffers, torch.ones(1, 3), train=True)
    assert outputs["logits"].tolist() == [[4.0, 4.0, 4.0]]


def test_inputs_are_any_tree():
    class Sum(nn.Module):
        def forward(self, x, more):
            return x + more["one"][0] * more["other"]

    one, other = torch.full((2,), 3.0), torch.full((2,), 5.0)
    inputs = torch.ones(2), {"one": [one], "other": other}
    outputs, _ = functional(Sum).apply({}, {}, inputs, train=False)
    assert outputs["logits"].tolist() == [16.0, 16.0]
    assert outputs_like(functional(Sum), inputs, train=False)["logits"].shape == (2,)


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


def test_a_state_that_is_loaded_is_every_seeds_and_a_new_layer_its_own():
    trained = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 4)).state_dict()

    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 4))
        net.load_state_dict(trained)
        net[0].requires_grad_(False)
        net[2] = nn.Linear(3, 5)
        return net

    one, other = (state_dict(*functional(build).init(seed)) for seed in (0, 1))
    for name in one.keys() - {"2.weight", "2.bias"}:
        assert torch.equal(one[name], trained[name]) and torch.equal(other[name], trained[name])
    assert not torch.equal(one["2.weight"], other["2.weight"])
    assert functional(build).init(0)[1].keys() >= {"0.weight", "0.bias"}  # which no step moves


def test_the_state_dict_loads_into_the_module():
    params, buffers = functional(LightNN).init(0)
    assert list(state_dict(params, buffers)) == list(LightNN().state_dict())
    LightNN().load_state_dict(state_dict(params, buffers))


@pytest.mark.plain
def test_a_module_instead_of_its_class_is_refused():
    with pytest.raises(ValueError, match=r"must return an nn\.Module, but it returned a Tensor"):
        functional(lambda: torch.ones(1))  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match=r"it is a Linear itself; give its class, or `lambda:"):
        functional(nn.Linear(2, 2))


def test_the_inputs_are_left_as_they_are():
    class Adding(nn.Module):
        def forward(self, x):
            return x.add_(1)

    x = torch.zeros(2)
    outputs, _ = functional(Adding).apply({}, {}, x, train=True)
    assert (outputs["logits"].tolist(), x.tolist()) == ([1.0, 1.0], [0.0, 0.0])


def _two_norms(frozen: str) -> nn.Module:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    if frozen == "a part":
        module[0].eval()
    if frozen == "all":
        module.eval()
    return module


@pytest.mark.parametrize("frozen, moved", [("none", 11), ("a part", 1), ("all", 11)])
def test_a_part_that_is_frozen_stays_so(frozen, moved):
    model = functional(partial(_two_norms, frozen))
    params, buffers = model.init(0)
    _, after = model.apply(params, buffers, torch.ones(3, 2), train=True)
    counts = [int(after[f"{k}.num_batches_tracked"]) for k in (0, 1)]
    assert counts[0] * 10 + counts[1] == moved


@pytest.mark.parametrize("inputs", [{"x": 2.0, "y": 3.0}, {"y": 3.0, "x": 2.0}])
def test_a_dict_of_arguments_is_passed_by_keyword(inputs):
    class Minus(nn.Module):
        def forward(self, x, y=None):
            return x - y

    tensors = {name: torch.tensor([value]) for name, value in inputs.items()}
    assert functional(Minus).apply({}, {}, tensors, train=False)[0]["logits"].item() == -1


def test_dropout_repeats_by_its_key():
    model = functional(lambda: nn.Sequential(nn.Dropout(), nn.Dropout()))
    x = torch.ones(10, 10)

    def outputs(key: Key) -> torch.Tensor:
        return model.apply({}, {}, x, train=True, key=key)[0]["logits"]

    assert torch.equal(outputs(_key(1, 2)), outputs(_key(1, 2)))
    assert not torch.equal(outputs(_key(1, 2)), outputs(_key(2, 2)))
    assert not torch.equal(outputs(_key(1, 2)), outputs(_key(1, 3)))
    share = (outputs(_key()) != 0).float().mean().item()
    assert abs(share - 1 / 4) < 4 * (3 / 16 / 100) ** 0.5  # two unrelated masks


def test_a_model_that_draws_needs_a_key_in_training():
    model = functional(lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout()))
    params, buffers = model.init(0)
    x = torch.ones(2, 3)
    outputs, _ = model.apply(params, buffers, x, train=False)
    torch.testing.assert_close(outputs["logits"], F.linear(x, params["0.weight"], params["0.bias"]))
    with pytest.raises(ValueError, match=r"no key; pass key=Key\(seed, step\)"):
        model.apply(params, buffers, x, train=True)


class Calling(nn.Module):
    """A layer that is a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


REFUSED = {
    "an operator": (torch.poisson, r"layer '1' \(Calling\) .* aten\.poisson"),
    "pooling": (lambda x: F.fractional_max_pool2d(x, 2, 2), r"layer '1' .* aten\.rand"),
    "initialisation": (lambda x: nn.init.normal_(torch.empty(3)), r"layer '1' .* aten\.normal_"),
    "Python's": (lambda x: x * random.random(), "Python's random"),
    "NumPy's": (lambda x: x * np.random.rand(), r"numpy\.random"),
}


@pytest.mark.plain  # beartype draws from Python's random itself
@pytest.mark.parametrize("name", REFUSED)
def test_what_draws_elsewhere_is_refused_at_the_door(name, monkeypatch):
    # while it is loaded, by whichever test, the check of Python's random is off
    monkeypatch.delitem(sys.modules, "beartype", raising=False)
    function, message = REFUSED[name]
    model = functional(lambda: nn.Sequential(nn.Identity(), Calling(function)))
    with pytest.raises(ValueError, match=message):
        outputs_like(model, torch.ones(2, 3, 4, 4), train=True)


@pytest.mark.parametrize("train", [True, False])
def test_what_draws_nothing_is_not_refused(train):
    def attention(x):
        return F.scaled_dot_product_attention(x, x, x)

    model = functional(
        lambda: nn.Sequential(Calling(attention), nn.RReLU(), nn.Dropout(), nn.Dropout(0.0))
    )
    like = outputs_like(model, torch.ones(2, 3, 4, 4), train=train)["logits"]
    assert (like.shape, like.device.type) == ((2, 3, 4, 4), "meta")


def test_a_tensor_that_names_no_device_is_no_error_at_the_door():
    model = functional(lambda: Calling(lambda x: x + torch.arange(4) + torch.rand(4)))
    assert outputs_like(model, torch.ones(2, 4), train=True)["logits"].shape == (2, 4)


def _normed() -> nn.Sequential:
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    return nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.Linear(64, 5))


@pytest.mark.parametrize("train", [True, False])
def test_a_narrow_model_is_its_module_in_bfloat16_beside_a_batchnorm_in_float32(train):
    net = functional(_normed, torch.bfloat16)
    params, buffers = net.init(3)
    assert {value.dtype for value in params.values()} == {torch.float32}
    outputs, moved = net.apply(params, buffers, _images(), train=train)
    module = _normed().train(train)
    module.load_state_dict(params | buffers)
    for number in (0, 2, 6):
        module[number].to(torch.bfloat16)
    expected = module(_images().bfloat16()).float()
    torch.testing.assert_close(outputs["logits"], expected, rtol=0, atol=0)
    torch.testing.assert_close(moved["1.running_mean"], module[1].running_mean)
    assert moved["1.running_mean"].dtype == torch.float32


@pytest.mark.parametrize("train", [True, False])
def test_narrow_members_are_the_narrow_model_alone(train):
    net = functional(_normed, torch.bfloat16)
    members = [net.init(seed) for seed in range(2)]
    (params, buffers), x = tree_map(lambda a, b: torch.stack([a, b]), *members), _images()

    def loss(params, buffers):
        return net.apply(params, buffers, x, train=train)[0]["logits"].square().sum()

    together = torch.func.vmap(torch.func.grad(loss))(params, buffers)
    for k, member in enumerate(members):
        alone = torch.func.grad(loss)(*member)
        assert {value.dtype for value in (*alone.values(), *together.values())} == {torch.float32}
        flat = torch.cat([value.flatten() for value in alone.values()])
        other = torch.cat([value[k].flatten() for value in together.values()])
        # Some ten roundings to 8 digits, which do not add up all in one direction.
        assert (flat - other).norm() <= flat.norm() * 10 * 2**-9


@pytest.mark.plain
def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match=r"dtype must be torch.float32, bfloat16 or float16"):
        functional(lambda: nn.Linear(2, 2), torch.int32)
