"""Which convolutions an ensemble's are, and that on a GPU its step is the same as without them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
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

    def block(x, weight, bias, *, padding):
        seen.append("block")
        return F.max_pool2d(F.conv2d(x, weight, bias, padding=padding).relu(), 2)

    convolution = pytest.importorskip("fkd.execution.convolution")
    monkeypatch.setattr(convolution, "member_conv2d", noted)
    monkeypatch.setattr(convolution, "member_conv2d_relu_pool", block)
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


def test_without_kernels_a_convolution_stays_torchs(calls):
    weight = layer(3, 3, 3, 3)
    with EnsembleLayers(kernels=False):
        y = F.conv2d(X, weight)
    assert not calls
    assert torch.equal(y, F.conv2d(X, weight))


def first(x, weight):
    return F.max_pool2d(F.relu(F.conv2d(x, weight)), 2)


def by_layers(x, weight):
    return nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, 2))(F.conv2d(x, weight))


def pooled_first(x, weight):
    """As the tutorial's networks have it, for the map before ReLU is one that methods match."""
    return F.relu(F.max_pool2d(F.conv2d(x, weight), 2))


def pooled_by_three(x, weight):
    return F.max_pool2d(F.relu(F.conv2d(x, weight)), 3)


def padded(x, weight):
    return F.max_pool2d(F.relu(F.conv2d(x, weight)), 2, padding=1)


def pooled_by_three_first(x, weight):
    return F.relu(F.max_pool2d(F.conv2d(x, weight), 3))


def halved(x, weight):
    return F.max_pool2d(F.relu(F.conv2d(x, weight, stride=2)), 2)


def moved(x, weight):
    return F.max_pool2d(F.relu(F.conv2d(x, weight)) - 1, 2)


def of_another(x, weight):
    y = F.relu(F.conv2d(x, weight))
    return F.max_pool2d(F.relu(F.conv2d(x, -weight)) + F.max_pool2d(y, 1), 2)


def of_an_earlier(x, weight):
    y = F.relu(F.conv2d(x, weight))
    F.conv2d(x, -weight)
    return F.max_pool2d(y, 2)


def added_to(x, weight):
    y = F.conv2d(x, weight)
    y += 3
    return F.max_pool2d(F.relu(y), 2)


def rectified_and_added_to(x, weight):
    y = F.relu(F.conv2d(x, weight))
    y -= 1
    return F.max_pool2d(y, 2)


def pooled_and_added_to(x, weight):
    y = F.max_pool2d(F.conv2d(x, weight), 2)
    y -= 1
    return F.relu(y)


def pooled_and_written_over(x, weight):
    y = F.max_pool2d(F.conv2d(x, weight), 2)
    return y + F.relu(y, inplace=True)


def pooled_twice(x, weight):
    y = F.max_pool2d(F.conv2d(x, weight), 2)
    return F.max_pool2d(F.relu(F.max_pool2d(y, 2)), 1)


def rectified_twice(x, weight):
    return F.max_pool2d(F.relu(F.relu(F.conv2d(x, weight))), 2)


@pytest.mark.parametrize("net", [first, by_layers, pooled_first])
def test_convolution_relu_and_maximum_are_one_under_the_compiler(net, calls):
    weight = layer(4, 3, 3, 3)
    with EnsembleLayers():
        apart = net(X, weight)
        assert "block" not in calls
        whole = torch.compile(net, fullgraph=True, backend="eager")(X, weight)
    assert calls[-1] == "block"
    assert torch.equal(apart, net(X, weight)) and torch.equal(whole, apart)


@pytest.mark.parametrize(
    "net",
    [
        pooled_by_three,
        padded,
        halved,
        moved,
        of_another,
        of_an_earlier,
        added_to,
        rectified_and_added_to,
        pooled_by_three_first,
        pooled_and_added_to,
        pooled_and_written_over,
        pooled_twice,
        rectified_twice,
    ],
)
def test_what_is_not_that_is_left_as_it_is(net, calls):
    weight = layer(4, 3, 3, 3)
    with EnsembleLayers():
        whole = torch.compile(net, fullgraph=True, backend="eager")(X, weight)
    assert "block" not in calls
    assert torch.equal(whole, net(X, weight))


def test_batch_norm_is_torchs_in_training_and_after(calls):
    norm, other = nn.BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    x = X.double()
    for _ in range(2):
        with EnsembleLayers():
            y = norm(x)
        torch.testing.assert_close(y, other(x), rtol=1e-12, atol=1e-12)
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(buffer, other.get_buffer(name), rtol=1e-12, atol=1e-12)
    with EnsembleLayers():
        assert torch.equal(norm.eval()(x), norm(x))
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            nn.BatchNorm1d(3)(torch.ones(1, 3))


def test_batch_norm_in_bfloat16_reckons_in_float32(calls):
    x = X.bfloat16()
    with EnsembleLayers():
        y = F.batch_norm(x, None, None, training=True)
    exact = F.batch_norm(x.double(), None, None, training=True)
    assert y.dtype == torch.bfloat16
    assert ((y.double() - exact).abs() <= 2**-8 * exact.abs() + 1e-6).all()


def test_the_average_of_a_whole_map_is_torchs(calls):
    sizes = 1, (1, 1), 2, (1, 2)
    averages = {size: F.adaptive_avg_pool2d(X.double(), size) for size in sizes}
    with EnsembleLayers():
        for size in sizes:
            torch.testing.assert_close(
                F.adaptive_avg_pool2d(X.double(), size), averages[size], rtol=1e-14, atol=1e-14
            )


@gpu
def test_on_a_gpu_the_gradients_of_members_are_exact():
    x, weights = X.cuda(), torch.stack([layer(4, 3, 3, 3), 1 - layer(4, 3, 3, 3)]).cuda()

    def total(weight):
        return F.conv2d(x, weight, padding=1).relu().sum()

    exact = vmap(grad(total))(weights)
    with EnsembleLayers():
        assert torch.equal(vmap(grad(total))(weights), exact)


@gpu
@pytest.mark.parametrize("net", [first, pooled_first])
def test_on_a_gpu_a_block_and_its_gradient_are_exact_under_the_compiler(net):
    x, weights = X.cuda(), torch.stack([layer(4, 3, 3, 3), 1 - layer(4, 3, 3, 3)]).cuda()

    def total(weight):
        y = net(x, weight)
        return (y * torch.arange(y.numel(), device=y.device).reshape(y.shape).remainder(3)).sum()

    def step(weights):
        with EnsembleLayers():
            return vmap(grad(total))(weights)

    exact = vmap(grad(total))(weights)
    assert torch.equal(torch.compile(step, fullgraph=True)(weights), exact)
