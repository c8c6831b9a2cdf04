"""The layers that compile well are torch's: values and gradients, ties, nan and all."""

import copy

import pytest
import torch
from torch import nn

from fkd import _layers
from fkd.model import functional


def _both(layer: nn.Module, x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Value and gradients, by x and parameters: the layer's and its compiled replacement's."""
    torch._dynamo.reset()
    faster = _layers.replace(copy.deepcopy(layer))
    compiled = torch.compile(faster, fullgraph=True, dynamic=False)
    found = []
    for run, params in ((layer, layer.parameters()), (compiled, faster.parameters())):
        leaf = x.detach().clone().requires_grad_()
        with _layers.alone():
            y = run(leaf)
        weights = torch.arange(1.0, y.numel() + 1).reshape(y.shape).to(y.dtype) / y.numel()
        found.append([y, *torch.autograd.grad((y * weights).sum(), [leaf, *params])])
    return list(zip(*found, strict=True))


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.plain
@pytest.mark.parametrize("window", [2, 3, (1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_pooling_gives_the_layers_values_and_gradients(window, dtype):
    # after a ReLU most windows hold equal zeros, of which the first takes the gradient
    for wanted, got in _both(nn.MaxPool2d(window), _normal(2, 3, 6, 12).to(dtype).relu()):
        assert torch.equal(wanted, got)


@pytest.mark.plain
@pytest.mark.parametrize("bias", [True, False])
def test_compiled_convolution_gives_the_layers_values_and_gradients(bias):
    layers = [nn.Conv2d(3, 5, 3, padding=1, bias=bias)]
    layers.append(nn.Conv2d(3, 6, 3, stride=2, groups=3, padding_mode="reflect", padding=1))
    for layer in layers:
        for wanted, got in _both(layer, _normal(4, 3, 8, 8)):
            torch.testing.assert_close(got, wanted)


@pytest.mark.plain
@pytest.mark.parametrize("bias", [True, False])
def test_a_compiled_linear_map_gives_the_layers_values_and_gradients(bias):
    with torch.profiler.profile(acc_events=True) as profile:
        for wanted, got in _both(nn.Linear(512, 128, bias=bias), _normal(4, 512)):
            torch.testing.assert_close(got, wanted)
    # the case is large enough to be the replacement's
    assert "fkd::linear" in {event.name for event in profile.events() or []}


def test_the_function_of_pooling_gives_the_layers_values_and_gradients():
    x = torch.randint(-1, 2, (2, 3, 4, 6), generator=torch.Generator().manual_seed(0)).float()
    x[0, 0, 0, 1] = float("nan")
    x[0, 1, 2, 3] = float("-inf")
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, (z, _) = nn.MaxPool2d(2)(one), _layers._Pool.apply(other, 2, 2)
    torch.testing.assert_close(y, z, equal_nan=True, rtol=0, atol=0)
    weights = torch.arange(1.0, y.numel() + 1).reshape(y.shape)
    (dy,), (dz,) = torch.autograd.grad(y, one, weights), torch.autograd.grad(z, other, weights)
    assert torch.equal(dy, dz)


@pytest.mark.plain
@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(3, 2), nn.MaxPool2d(2, padding=1), nn.MaxPool2d(3, ceil_mode=True)]
)
def test_pooling_whose_windows_do_not_tile_the_map_is_left_to_torch(pool):
    for wanted, got in _both(pool, _normal(1, 2, 16, 16)):
        torch.testing.assert_close(got, wanted)


def test_a_functional_model_keeps_the_names_and_numbers_of_its_layers():
    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))

    net = functional(build)
    params, buffers = net.init(0)
    torch.manual_seed(0)
    module = build()
    assert list(params) == [name for name, _ in module.named_parameters()]
    x = _normal(2, 3, 8, 8)
    outputs, _ = net.apply(params, buffers, x, train=True)
    assert torch.equal(outputs["logits"], module(x))


def test_a_layer_of_the_users_own_class_is_left_alone():
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    layer = Doubled(3, 2)
    assert type(_layers.replace(layer)) is Doubled
