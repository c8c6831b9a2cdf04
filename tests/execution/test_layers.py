"""The layers that compile well are torch's: values and gradients, ties, nan and all."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd.execution import _layers
from fkd.execution._layers import FasterLayers


def with_faster_layers(layer: nn.Module, x: Tensor) -> Tensor:
    with FasterLayers():
        return layer(x)


def both(layer: nn.Module, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Value and gradients, by x and parameters: the layer's, and compiled with faster layers."""
    torch._dynamo.reset()
    compiled = torch.compile(partial(with_faster_layers, layer), fullgraph=True, dynamic=False)
    results = []
    for run in (layer, compiled):
        leaf = x.detach().clone().requires_grad_()
        y = run(leaf)
        weights = torch.arange(1.0, y.numel() + 1).reshape(y.shape).to(y.dtype) / y.numel()
        gradients = torch.autograd.grad((y * weights).sum(), [leaf, *layer.parameters()])
        results.append([y, *gradients])
    return list(zip(*results, strict=True))


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.plain
@pytest.mark.parametrize("window", [2, (1, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_pooling_gives_the_layers_values_and_gradients(window, dtype):
    # after a ReLU most windows hold equal zeros, of which the first takes the gradient
    for expected, value in both(nn.MaxPool2d(window), normal(2, 3, 6, 12).to(dtype).relu()):
        assert torch.equal(expected, value)


@pytest.mark.plain
def test_a_window_whose_places_bfloat16_cannot_count_is_left_to_torch():
    # bfloat16 knows the whole numbers up to 256, and this window has 17 * 17 places
    x = normal(1, 1, 17, 17).to(torch.bfloat16)
    for expected, value in both(nn.MaxPool2d(17), x):
        assert torch.equal(expected, value)


@pytest.mark.plain
@pytest.mark.parametrize("bias", [True, False])
def test_compiled_convolution_gives_the_layers_values_and_gradients(bias):
    for expected, value in both(nn.Conv2d(3, 5, 3, padding=1, bias=bias), normal(4, 3, 8, 8)):
        torch.testing.assert_close(value, expected)
    layer = nn.Conv2d(3, 6, 3, stride=2, groups=3, padding_mode="reflect", padding=1)
    for expected, value in both(layer, normal(4, 3, 8, 8)):
        torch.testing.assert_close(value, expected)


@pytest.mark.plain
@pytest.mark.parametrize("bias", [True, False])
def test_a_compiled_linear_map_gives_the_layers_values_and_gradients(bias):
    with torch.profiler.profile(acc_events=True) as profile:
        for expected, value in both(nn.Linear(512, 128, bias=bias), normal(4, 512)):
            torch.testing.assert_close(value, expected)
    # the case is large enough to be the faster one's
    assert "fkd::linear" in {event.name for event in profile.events() or []}


def test_the_function_of_pooling_gives_the_layers_values_and_gradients():
    x = torch.randint(-1, 2, (2, 3, 4, 6), generator=torch.Generator().manual_seed(0)).float()
    x[0, 0, 0, 1] = float("nan")
    x[0, 1, 2, 3] = float("-inf")
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, z = F.max_pool2d(one, 2), _layers.max_pool2d(other, 2)
    torch.testing.assert_close(y, z, equal_nan=True, rtol=0, atol=0)
    weights = torch.arange(1.0, y.numel() + 1).reshape(y.shape)
    (dy,), (dz,) = torch.autograd.grad(y, one, weights), torch.autograd.grad(z, other, weights)
    assert torch.equal(dy, dz)


@pytest.mark.parametrize(
    "pool",
    [
        partial(_layers.max_pool2d, kernel_size=3, stride=2),
        partial(_layers.max_pool2d, kernel_size=2, padding=1),
        partial(_layers.max_pool2d, kernel_size=3, ceil_mode=True),
        partial(_layers.max_pool2d, kernel_size=2, dilation=2),
        partial(_layers.max_pool2d, kernel_size=2, return_indices=True),
    ],
)
def test_pooling_whose_windows_do_not_tile_the_map_is_left_to_torch(pool: Callable[..., Tensor]):
    x = normal(1, 2, 16, 16)
    assert isinstance(pool, partial)
    torch.testing.assert_close(pool(x), F.max_pool2d(x, **pool.keywords), rtol=0, atol=0)
