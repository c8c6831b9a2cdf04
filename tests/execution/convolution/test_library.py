"""One student's convolution equals torch's, alone, under grad and vmap in any order, and compiled.

As in test_operators.py, which runs this file too where the interpreter is needed.
"""

import os
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

pytest.importorskip("triton", reason="Triton is not installed: its kernels cannot run")

from untuned import untuned

from fkd.execution.convolution import member_conv2d

CUDA = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if CUDA and not INTERPRETED else "cpu"
# Draws of -2 to 2 have products and sums that are exact in either.
DTYPE = torch.float64 if INTERPRETED else torch.float32

pytestmark = [
    pytest.mark.plain,
    # Triton 3.6's interpreter, which torch 2.11 brings, does so.
    pytest.mark.filterwarnings("ignore:Conversion of an array with ndim:DeprecationWarning"),
    pytest.mark.skipif(
        not CUDA and not INTERPRETED, reason="no GPU; test_operators.py runs it in the interpreter"
    ),
]


@pytest.fixture(autouse=True)
def one_way(monkeypatch):
    untuned(monkeypatch)


def whole_numbers(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, shape, generator=generator).to(DEVICE, DTYPE)


def ours(x, weight, bias, stride, padding):
    return member_conv2d(x, weight, bias, stride=stride, padding=padding)


def torchs(x, weight, bias, stride, padding):
    return F.conv2d(x, weight, bias, stride, padding)


def loss(conv, weight, bias, x):
    """Two layers, so that one asks for its input's gradient; its own is of whole numbers."""
    y = conv(x, weight, bias, 1, 1)
    y = conv(y, weight, None, 2, 0)
    weights = torch.arange(y.numel(), device=y.device).remainder(3).sub(1).reshape(y.shape)
    return (y * weights).sum()


WEIGHT = whole_numbers(3, 2, 2, 3, 3, seed=1)
BIAS = whole_numbers(3, 2, seed=2)
X = whole_numbers(3, 2, 2, 5, 4, seed=3)


def gradients(conv, axis, x):
    """Of each member's weight and bias, and of its batch."""

    def member(weight, bias, x):
        return grad(partial(loss, conv), (0, 1, 2))(weight, bias, x)

    return vmap(member, (0, 0, axis))(WEIGHT, BIAS, x)


@pytest.mark.parametrize("shared", [False, True])
def test_the_gradient_of_each_member_is_torchs(shared):
    axis, x = (None, X[0]) if shared else (0, X)
    for value, exact in zip(*(gradients(conv, axis, x) for conv in (ours, torchs)), strict=True):
        assert torch.equal(value, exact)


def test_the_gradient_of_all_members_together_is_torchs():
    def total(conv, weight, bias, x):
        return vmap(partial(loss, conv))(weight, bias, x).sum()

    for number in range(3):
        both = [grad(partial(total, conv), number)(WEIGHT, BIAS, X) for conv in (ours, torchs)]
        assert torch.equal(*both)


def test_members_may_lie_on_any_axis():
    def layer(conv, x, weight):
        return conv(x, weight, None, 1, 1)

    x, weight = X.movedim(0, 2), WEIGHT.movedim(0, -1)
    both = [vmap(partial(layer, conv), (2, -1))(x, weight) for conv in (ours, torchs)]
    assert torch.equal(*both)


def test_members_may_share_weights_and_differ_in_what_they_read():
    both = [
        vmap(grad(partial(loss, conv)), (None, None, 0))(WEIGHT[0], BIAS[0], X)
        for conv in (ours, torchs)
    ]
    assert torch.equal(*both)


def test_alone_it_is_torchs_and_differentiable():
    leaves = [t[0].clone().requires_grad_() for t in (WEIGHT, BIAS, X)]
    both = [torch.autograd.grad(loss(conv, *leaves), leaves) for conv in (ours, torchs)]
    for value, exact in zip(*both, strict=True):
        assert torch.equal(value, exact)


def test_the_compiler_takes_all_members_in_one_graph():
    whole = torch.compile(gradients, fullgraph=True, backend="aot_eager")
    for value, exact in zip(whole(ours, 0, X), gradients(torchs, 0, X), strict=True):
        assert torch.equal(value, exact)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"^member_conv2d: weight must be"):
        member_conv2d(X[0], WEIGHT[0, :, :1])
