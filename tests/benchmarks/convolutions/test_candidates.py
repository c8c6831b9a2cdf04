"""Every way to convolve an ensemble gives a loop's numbers."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from untuned import untuned

from benchmarks.convolutions.candidates import CANDIDATES, LAYERS
from benchmarks.convolutions.race import Case, laid
from fkd.models import LightNN

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def offered(members, shared):
    case = Case(DEVICE, "first" if shared else "second", members, "fp32", 2)
    return [name for name in CANDIDATES if case.offers(name)]


def in_float64(members, shared):
    """Triton's kernels have no float64 on a GPU; tests/execution/convolution holds them."""
    return [name for name in offered(members, shared) if name != "triton"]


def looped(x, weight, bias):
    """The definition: each member's convolution by itself."""
    xs = x if x.ndim == 5 else [x] * len(weight)
    maps = [F.conv2d(xs[k], weight[k], bias[k], padding=1) for k in range(len(weight))]
    return torch.stack(maps)


def gradients(apply, leaves, weights):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    y = apply(*leaves)
    return y, *torch.autograd.grad((weights * y).sum(), leaves)


# On a GPU, of the candidate that forks streams.
@pytest.mark.filterwarnings("ignore:The AccumulateGrad node's stream does not match:UserWarning")
@pytest.mark.parametrize("shared", [True, False])
@given(
    members=st.sampled_from([1, 2, 4, 8]),
    sizes=st.tuples(*[st.integers(1, 4)] * 3, *[st.integers(1, 6)] * 2),
    seed=st.integers(0, 9),
)
def test_every_candidate_equals_the_loop(shared, members, sizes, seed):
    batch, inputs, outputs, height, width = sizes
    generator = torch.Generator().manual_seed(seed)
    x = [batch, inputs, height, width] if shared else [members, batch, inputs, height, width]
    leaves = [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE)
        for shape in (x, [members, outputs, inputs, 3, 3], [members, outputs])
    ]
    shape = members, batch, outputs, height, width
    weights = torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE)
    expected = gradients(looped, leaves, weights)
    for name in in_float64(members, shared):
        results = gradients(CANDIDATES[name].apply, leaves, weights)
        for value, other in zip(results, expected, strict=True):
            torch.testing.assert_close(value, other, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("shared", [True, False])
def test_every_block_equals_the_loops(shared):
    generator = torch.Generator().manual_seed(0)
    shape = [2, 3, 6, 4]
    leaves = [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE)
        for shape in (shape if shared else [8, *shape], [8, 4, 3, 3, 3], [8, 4])
    ]
    weights = torch.randn(8, 2, 4, 3, 2, generator=generator, dtype=torch.float64).to(DEVICE)

    def block(x, weight, bias):
        return torch.stack([F.max_pool2d(y.relu(), 2) for y in looped(x, weight, bias)])

    expected = gradients(block, leaves, weights)
    for name in in_float64(8, shared):
        results = gradients(CANDIDATES[name].block, leaves, weights)
        for value, other in zip(results, expected, strict=True):
            torch.testing.assert_close(value, other, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shared", [True, False])
def test_a_candidate_leaves_its_output_in_the_layout_that_it_takes(shared, dtype, monkeypatch):
    untuned(monkeypatch)
    sizes = {} if shared else {"k": 8}
    sizes |= {"b": 2, "c": 3, "h": 4, "w": 5}
    noise = torch.randn(8 * 2 * 3 * 4 * 5, dtype=dtype, device=DEVICE)
    weight = torch.randn(8, 6, 3, 3, 3, dtype=dtype, device=DEVICE)
    bias = torch.randn(8, 6, dtype=dtype, device=DEVICE)
    for name in offered(8, shared):
        layout = CANDIDATES[name].layout
        x = laid(noise, layout, sizes)
        maps = CANDIDATES[name].apply(x, weight, bias), CANDIDATES[name].block(x, weight, bias)
        assert [y.shape for y in maps] == [(8, 2, 6, 4, 5), (8, 2, 6, 2, 2)]
        for y in maps:
            in_memory = y.permute(["kbchw".index(axis) for axis in layout])
            assert in_memory.is_contiguous(), name


def test_what_is_offered():
    assert {"packed 4", "packed 4 nhwc"} <= set(offered(12, False))
    assert not any(name.startswith("packed 8") for name in offered(12, False))
    assert "shared wide" in offered(2, True) and "shared wide" not in offered(2, False)
    assert "streams" not in [
        name for name in CANDIDATES if Case("cpu", "second", 2, "fp32", 2).offers(name)
    ]


def test_the_layers_are_the_students():
    sizes, image = [], torch.zeros(1, 3, 32, 32)
    for module in LightNN().features:
        if isinstance(module, torch.nn.Conv2d):
            sizes.append((module.in_channels, module.out_channels, image.shape[-1]))
        image = module(image)
    for block in ("", " block"):
        assert [LAYERS[f"{name}{block}"][:3] for name in ("first", "second")] == sizes
