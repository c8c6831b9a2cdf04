"""The Triton convolution equals vmap's, on a GPU or in Triton's interpreter.

The interpreter is chosen before Triton is imported, so without a GPU one test runs all the others
in a Python of its own. On a GPU each shape costs a compilation, so few of them are tried there.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

pytest.importorskip("triton", reason="Triton is not installed: its kernels cannot run")

import triton
from untuned import untuned

from fkd.execution.convolution import ensemble_conv2d, ensemble_conv2d_relu_pool
from fkd.execution.convolution._kernels import convolve, correlate

pytestmark = [
    pytest.mark.plain,
    # Triton 3.6's interpreter, which torch 2.11 brings, does so.
    pytest.mark.filterwarnings("ignore:Conversion of an array with ndim:DeprecationWarning"),
]
CUDA = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if CUDA and not INTERPRETED else "cpu"
HERE = CUDA or INTERPRETED

runs = pytest.mark.skipif(not HERE, reason="no GPU; the interpreter runs it in a Python of its own")
interpreted = pytest.mark.skipif(not INTERPRETED, reason="the interpreter runs it, with no GPU")
DTYPES = [torch.bfloat16, torch.float32] + [torch.float16] * INTERPRETED
# members, batch, in, out, height, width, kernel, stride, padding
SHAPES = {
    "the first layer's": (2, 2, 3, 16, 8, 8, 3, 1, 1),
    "the second layer's": (2, 1, 16, 16, 4, 4, 3, 1, 1),
    "odd": (3, 2, 5, 7, 5, 7, 3, 1, 1),
    "more than a block": (1, 1, 9, 65, 3, 3, 3, 1, 1),
    "no padding": (2, 2, 4, 6, 6, 5, 3, 1, 0),
    "one by one": (2, 2, 17, 5, 4, 3, 1, 1, 0),
    "five by five": (1, 1, 2, 3, 6, 6, 5, 1, 2),
    "one member": (1, 1, 1, 1, 2, 2, 3, 1, 1),
    "many splits": (1, 2, 2, 2, 24, 16, 3, 1, 1),
}
STRIDES = {
    "halved": (2, 2, 4, 6, 8, 8, 3, 2, 1),
    "halved, odd": (2, 2, 3, 2, 7, 5, 3, 2, 1),
    "one by one, halved": (2, 2, 6, 5, 6, 7, 1, 2, 0),
    "past the kernel": (1, 2, 3, 2, 9, 9, 2, 3, 0),
}
SIZES = SHAPES | STRIDES | {"at size": (2, 16, 16, 16, 16, 16, 3, 1, 1)}
CASES = [(shape, pool) for shape in SHAPES for pool in (False, True)]
CASES += [(shape, False) for shape in STRIDES]
if not INTERPRETED:
    CASES = [("the first layer's", True), ("the second layer's", False), ("halved, odd", False)]
NAMES = ("y", "x", "weight", "bias")


# Triton's interpreter of that version takes the number of a tensor as NumPy no longer gives it.
BROKEN = triton.__version__ < "3.7" and numpy.__version__ >= "2.4"


@pytest.fixture(autouse=True)
def one_way(monkeypatch):
    untuned(monkeypatch)


@pytest.mark.slow
@pytest.mark.skipif(HERE, reason="they run as they are")
@pytest.mark.skipif(BROKEN, reason="Triton's interpreter is broken in this version with this NumPy")
def test_all_of_these_in_the_interpreter():
    here = str(Path(__file__).parent)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", here]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.skipif(HERE, reason="a GPU, or its interpreter, is here")
def test_on_a_cpu_it_is_refused():
    with pytest.raises(ValueError, match=r"^ensemble_conv2d: x must be on a GPU, but it is on cpu"):
        ensemble_conv2d(torch.zeros(2, 3, 5, 5), torch.zeros(2, 6, 3, 3, 3))


def vmapped(x, weight, bias, stride, padding, pool):
    """torch's own batching rule."""

    def member(x, weight, bias):
        y = F.conv2d(x, weight, bias, stride, padding)
        return F.max_pool2d(y.relu(), 2) if pool else y

    axes = (0 if x.ndim == 5 else None, 0, None if bias is None else 0)
    return vmap(member, axes)(x, weight, bias)


def ours(x, weight, bias, stride, padding, pool):
    if pool:
        return ensemble_conv2d_relu_pool(x, weight, bias, padding=padding)
    return ensemble_conv2d(x, weight, bias, stride=stride, padding=padding)


def drawn(shape, shared, pool, draw):
    """x, weight, bias and the gradient of y; stride, padding and pool."""
    members, batch, inputs, outputs, height, width, kernel, stride, padding = SIZES[shape]
    x, weight = [batch, inputs, height, width], [members, outputs, inputs, kernel, kernel]
    sides = [
        ((size + 2 * padding - kernel) // stride + 1) // (1 + pool) for size in (height, width)
    ]
    shapes = x if shared else [members, *x], weight, weight[:2], [members, batch, outputs, *sides]
    return [draw(shape).to(DEVICE) for shape in shapes], (stride, padding, pool)


def integers():
    """Draws of -2 to 2: their products and the sums of these are exact in float32."""
    generator = torch.Generator().manual_seed(0)
    return lambda shape: torch.randint(-2, 3, shape, generator=generator).double()


def normals():
    generator = torch.Generator().manual_seed(0)
    return lambda shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def with_gradients(apply, numbers, options):
    """y, and the gradients of x, weight and bias."""
    *leaves, gradient = numbers
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    y = apply(*leaves, *options)
    return y, *torch.autograd.grad(y, leaves, gradient)


@runs
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("shape", "pool"), CASES)
def test_whole_numbers_are_exact_and_of_equals_the_first_is_the_largest(shape, pool, shared):
    numbers, options = drawn(shape, shared, pool, integers())
    expected = with_gradients(vmapped, numbers, options)
    # Where a number goes is one for all dtypes: in the slow interpreter one shape has them all.
    for dtype in DTYPES[:1] if INTERPRETED and shape != "odd" else DTYPES:
        results = with_gradients(ours, [x.to(dtype) for x in numbers], options)
        for name, value, exact in zip(NAMES, results, expected, strict=True):
            assert torch.equal(value, exact.to(dtype)), (name, dtype)


# Where a number goes is held above, in every shape: here one of each way to the sums will do, and
# what one member shares with nobody is its own.
REALS = ("odd", "more than a block", "many splits", "halved, odd")
SUMS = [
    (shape, pool, shared)
    for shape, pool in CASES
    if shape in REALS
    for shared in ([False, True] if SIZES[shape][0] > 1 else [False])
]


@interpreted
@pytest.mark.parametrize(("shape", "pool", "shared"), SUMS)
def test_it_is_vmaps_in_float64(shape, pool, shared):
    numbers, options = drawn(shape, shared, pool, normals())
    expected = with_gradients(vmapped, numbers, options)
    for value, exact in zip(with_gradients(ours, numbers, options), expected, strict=True):
        torch.testing.assert_close(value, exact, rtol=1e-12, atol=1e-12)


@runs
@pytest.mark.parametrize("dtype", DTYPES)
def test_reals_are_within_what_the_arithmetic_allows(dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    numbers, options = drawn("the second layer's", False, False, normals())
    numbers = [x.to(dtype) for x in numbers]
    exact = with_gradients(vmapped, [x.double() for x in numbers], options)
    # The sum of the terms' sizes: all four results are linear in each of the numbers.
    sizes = with_gradients(vmapped, [x.double().abs() for x in numbers], options)
    terms = 9 * 16 + 1  # at most, of any of the sums
    # Rounding of each product and partial sum. A GPU's products are of 22 bits, its sums truncated.
    unit = 2**-24 if INTERPRETED else 2**-21
    eps = torch.finfo(dtype).eps / (1 if INTERPRETED else 2)  # the interpreter truncates bfloat16
    results = with_gradients(ours, numbers, options)
    for name, value, true, size in zip(NAMES, results, exact, sizes, strict=True):
        bound = (terms + 2) * unit * size + eps * true.abs()
        assert ((value - true).abs() <= bound).all(), name


@interpreted
@pytest.mark.parametrize("pool", [False, True])
def test_a_nan_is_told_where_it_is_seen_and_nowhere_else(pool):
    (x, weight, bias, gradient), options = drawn("odd", False, pool, integers())
    numbers = [t.float() for t in (x, weight, bias, gradient)]
    before = with_gradients(ours, numbers, options)
    numbers[0][1, 0, 2, 1, 3] = torch.nan
    after = with_gradients(ours, numbers, options)
    seen = with_gradients(vmapped, numbers, options)[0].isnan()
    assert seen.any() and torch.equal(after[0].isnan(), seen)
    for value, other in zip(after, before, strict=True):  # and members 0 and 2 know nothing of it
        assert torch.equal(value[[0, 2]], other[[0, 2]])


@interpreted
@pytest.mark.parametrize("pool", [False, True])
def test_without_bias(pool):
    (x, weight, _, gradient), options = drawn("odd", False, pool, integers())
    x, weight = x.float().requires_grad_(), weight.float().requires_grad_()
    results = [
        (y, *torch.autograd.grad(y, (x, weight), gradient.float()))
        for y in (apply(x, weight, None, *options) for apply in (ours, vmapped))
    ]
    for value, exact in zip(*results, strict=True):
        assert torch.equal(value, exact)


@interpreted
def test_channels_lie_last_in_what_is_returned():
    (x, weight, bias, _), options = drawn("odd", False, False, integers())
    y = ours(x.float(), weight.float(), bias.float(), *options)
    assert y.movedim(2, -1).is_contiguous()
    nhwc = x.float().movedim(2, -1).contiguous().movedim(-1, 2)
    assert torch.equal(ours(nhwc, weight.float(), bias.float(), *options), y)


@interpreted
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # of torch's own check
@pytest.mark.parametrize(("shared", "pool"), [(False, True), (True, False)])
def test_the_compiler_is_told_the_truth_about_shapes_and_gradients(shared, pool):
    numbers, options = drawn("odd", shared, pool, normals())
    x, weight, bias, _ = [x.float() for x in numbers]
    leaves = [x.movedim(-3, -1).contiguous(), weight, bias]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    torch.library.opcheck(torch.ops.fkd.convolve.default, (*leaves, *options))


@pytest.mark.skipif(DEVICE == "cpu", reason="no GPU, whose programs run in any order")
@pytest.mark.parametrize(
    ("kernel", "ways"), [(kernel, kernel.configs) for kernel in (convolve, correlate)]
)
def test_every_way_and_every_time_is_the_same_bit_for_bit(kernel, ways, monkeypatch):
    numbers, options = drawn("at size", False, True, normals())
    numbers = [x.bfloat16() for x in numbers]
    results = []
    for way in [way for way in ways if way.kwargs.get("DEPTH", 64) >= 64 for _ in range(2)]:
        monkeypatch.setattr(kernel, "configs", [way])
        results.append(with_gradients(ours, numbers, options))
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@runs
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"x": (3, 2, 4, 5, 5)}, r"x must be \[batch inputs height width\], or with the 2 members"),
        ({"x": (2, 5, 5)}, r"x must be \[batch inputs height width\]"),
        ({"x": (2, 2, 3, 5, 5)}, r"weight must be \[members outputs 3 kernel kernel\]"),
        ({"weight": (2, 6, 4, 3, 2)}, "as wide as high"),
        ({"weight": (2, 6, 4, 3)}, "weight must be"),
        ({"bias": (2, 5)}, "bias and weight must agree"),
        ({"bias": (2, 6, 1)}, "bias must be"),
        ({"stride": 0}, "stride must be a whole number of at least 1"),
        ({"padding": 3}, "a padding of 3, which must be less"),
        ({"x": (2, 2, 4, 2, 2), "padding": 0}, "do not fit on maps of"),
        ({"x": (2, 0, 4, 5, 5)}, "must hold numbers"),
    ],
)
def test_what_does_not_fit_is_refused(changed, told):
    shapes = {"x": (2, 2, 4, 5, 5), "weight": (2, 6, 4, 3, 3), "bias": (2, 6)}
    options = {"stride": 1, "padding": 1}
    for name, value in changed.items():
        (shapes if name in shapes else options)[name] = value
    with pytest.raises(ValueError, match="^ensemble_conv2d: .*" + told):
        ensemble_conv2d(
            *[torch.zeros(shape, device=DEVICE) for shape in shapes.values()], **options
        )


@runs
def test_what_int32_cannot_count_is_refused():
    x = torch.zeros(1, 1, 1, 1, 1, device=DEVICE).expand(1, 2**15, 16, 64, 64)
    with pytest.raises(ValueError, match=r"fewer than 2\^31"):
        ensemble_conv2d(x, torch.zeros(1, 1, 16, 1, 1, device=DEVICE))


@runs
def test_mixed_dtypes_are_refused():
    x, weight = torch.zeros(2, 3, 5, 5, device=DEVICE), torch.zeros(2, 6, 3, 3, 3, device=DEVICE)
    with pytest.raises(ValueError, match=r"must have one dtype of .*bfloat16"):
        ensemble_conv2d(x.bfloat16(), weight)
    with pytest.raises(ValueError, match=r"must have one dtype of .*bfloat16"):
        ensemble_conv2d(x.int(), weight.int())
