"""Which convolutions an ensemble's are, and that on a GPU its step is the same as without them."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap
from untuned import untuned

from fkd.execution import _ensemble_layers
from fkd.execution._ensemble_layers import EnsembleLayers

pytestmark = pytest.mark.plain
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(autouse=True)
def one_way(monkeypatch):
    untuned(monkeypatch)


@pytest.fixture
def calls(monkeypatch):
    """What would go to Triton, on whatever device."""
    seen = []

    def noted(x, weight, bias, *, stride, padding):
        seen.append((stride, padding))
        return F.conv2d(x, weight, bias, stride, padding)

    convolution = pytest.importorskip("fkd.execution.convolution")
    monkeypatch.setattr(convolution, "member_conv2d", noted)
    monkeypatch.setattr(_ensemble_layers, "DEVICE", "cpu")
    return seen


X = torch.arange(2.0 * 3 * 6 * 6).reshape(2, 3, 6, 6) % 5 - 2


def layer(*shape):
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape) % 3 - 1


@pytest.mark.parametrize(
    ("weight", "options", "seen"),
    [
        ((4, 3, 3, 3), {}, [(1, 0)]),
        ((4, 3, 3, 3), {"stride": 2, "padding": 1}, [(2, 1)]),
        ((4, 3, 3, 3), {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1)}, [(2, 1)]),
        ((4, 3, 1, 1), {"stride": 2}, [(2, 0)]),
        ((4, 3, 3, 3), {"stride": (1, 2)}, []),
        ((4, 3, 3, 3), {"padding": "same"}, []),
        ((4, 3, 3, 3), {"dilation": 2}, []),
        ((4, 3, 3, 2), {}, []),
        ((4, 3, 1, 1), {"padding": 1}, []),
        ((3, 1, 3, 3), {"groups": 3}, []),
        ((65, 3, 3, 3), {}, []),
    ],
)
def test_what_the_kernel_takes_goes_to_it_and_all_else_to_torch(weight, options, seen, calls):
    weight = layer(*weight)
    with EnsembleLayers():
        y = F.conv2d(X, weight, **options)
    assert calls == seen
    assert torch.equal(y, F.conv2d(X, weight, **options))


@pytest.mark.parametrize("x", [X.double(), X[0], X[:0]])
def test_other_numbers_than_the_kernels_and_none_at_all_go_to_torch(x, calls):
    weight = layer(4, 3, 3, 3).to(x.dtype)
    with EnsembleLayers():
        y = F.conv2d(x, weight)
    assert not calls
    assert torch.equal(y, F.conv2d(x, weight))


def test_on_a_cpu_all_goes_to_torch():
    weight = layer(4, 3, 3, 3)
    with EnsembleLayers():
        assert torch.equal(F.conv2d(X, weight), F.conv2d(X, weight))


@gpu
def test_on_a_gpu_the_gradients_of_members_are_exact():
    x, weights = X.cuda(), torch.stack([layer(4, 3, 3, 3), 1 - layer(4, 3, 3, 3)]).cuda()

    def total(weight):
        return F.conv2d(x, weight, padding=1).relu().sum()

    exact = vmap(grad(total))(weights)
    with EnsembleLayers():
        assert torch.equal(vmap(grad(total))(weights), exact)
