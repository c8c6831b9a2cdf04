"""The pooling that compiles well is the layer: values and gradients, ties, nan and all."""

import pytest
import torch
from torch import nn

from fkd import _pool
from fkd.model import functional


def _both(x: torch.Tensor, window, compiled: bool):
    layer = nn.MaxPool2d(window)
    tiled = _pool.TiledMaxPool2d(layer)
    run = torch.compile(tiled, fullgraph=True, dynamic=False) if compiled else tiled
    found = []
    for pool in (layer, run):
        leaf = x.detach().clone().requires_grad_()
        with _pool.alone():
            y = pool(leaf)
        weights = torch.arange(1.0, y.numel() + 1).reshape(y.shape).to(y.dtype)
        found.append((y, torch.autograd.grad((y * weights).sum(), leaf)[0]))
    return found


@pytest.mark.plain
@pytest.mark.parametrize("window", [2, 3, (1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_pooling_gives_the_layers_values_and_gradients(window, dtype):
    torch._dynamo.reset()
    x = torch.randn(2, 3, 6, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    # after a ReLU most windows hold equal zeros, of which the first takes the gradient
    (y, dy), (z, dz) = _both(x.relu(), window, compiled=True)
    assert torch.equal(y, z) and torch.equal(dy, dz)


def test_the_function_itself_gives_the_layers_values_and_gradients():
    x = torch.randint(-1, 2, (2, 3, 4, 6), generator=torch.Generator().manual_seed(0)).float()
    x[0, 0, 0, 1] = float("nan")
    x[0, 1, 2, 3] = float("-inf")
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, (z, _) = nn.MaxPool2d(2)(one), _pool._Pool.apply(other, 2, 2)
    torch.testing.assert_close(y, z, equal_nan=True, rtol=0, atol=0)
    weights = torch.arange(1.0, y.numel() + 1).reshape(y.shape)
    (dy,), (dz,) = torch.autograd.grad(y, one, weights), torch.autograd.grad(z, other, weights)
    assert torch.equal(dy, dz)


def test_only_windows_side_by_side_are_replaced():
    layers = [nn.MaxPool2d(2), nn.MaxPool2d(3, 2), nn.MaxPool2d(2, padding=1)]
    assert [_pool.is_tiled(layer) for layer in layers] == [True, False, False]
    net = functional(lambda: nn.Sequential(*layers, nn.Flatten()))
    x = torch.randn(1, 2, 16, 16)
    outputs, _ = net.apply({}, {}, x, train=False)
    assert torch.equal(outputs["logits"], nn.Sequential(*layers, nn.Flatten())(x))
