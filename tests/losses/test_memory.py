"""What a docstring says of memory is what a gradient holds at its peak."""

import math
import re

import pytest
import torch
from torch import Tensor

from benchmarks.losses.measure import peak_bytes
from fkd import losses
from losses.sized import arguments

LOGITS = [(64, 64, ()), (64, 512, ()), (256, 64, ())]
MAPS = [(16, 32, (8, 8)), (16, 16, (16, 16)), (16, 64, (4, 4))]
SIZES = {"_feature": [(64, 64, ()), (16, 32, (8, 8))]}
SIZES |= dict.fromkeys(("_map", "_pooled", "_singular"), MAPS)
NEGATIVES = 100


def _claim(name: str, batch: int, width: int, size: tuple[int, ...]) -> int:
    """The bytes that the docstring of a loss speaks of, at a size."""
    text = " ".join(getattr(losses, name).__doc__.split())
    memory = re.search(r"Memory: (.*?)\.( |$)", text)
    assert memory
    axes = {"batch": batch, "classes": width, "channels": width, "negatives": NEGATIVES}
    numbers = 0
    for term in memory[1].split(" + "):
        count, unit = term.split(" × ")
        if unit.startswith("["):
            one = math.prod(axes[axis] for axis in unit.strip("[]").split(", "))
        else:
            assert unit in ("logits", "maps", "features", "embeddings")
            one = batch * width * math.prod(size)
        numbers += int(count) * one
    return 4 * numbers


@pytest.mark.filterwarnings("ignore:.*Profiler clears events")  # of torch 2.11
@pytest.mark.parametrize(
    ("name", "batch", "width", "size"),
    [
        (name, *shape)
        for name in losses.__all__
        if name != "rkd_angle"  # which has its own test, of a claim of another form
        for shape in SIZES.get(getattr(losses, name).__module__.rpartition(".")[2], LOGITS)
    ],
)
def test_a_gradient_holds_what_the_docstring_says(name, batch, width, size):
    student, *others = arguments(name, batch, width, size, NEGATIVES).values()
    gradient = torch.func.grad(lambda s: getattr(losses, name)(s, *others).mean())
    gradient(student)
    peak = peak_bytes(lambda: gradient(student), torch.device("cpu"))
    claim = _claim(name, batch, width, size)
    assert 0.6 * claim < peak < claim + 2048  # a few numbers an example beside


def test_rkd_angle_keeps_no_tensor_of_all_triplets():
    student, teacher = torch.randn(12, 500).requires_grad_(), torch.randn(12, 500)
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        value = losses.rkd_angle(student, teacher)
    assert {x.numel() for x in kept if x.untyped_storage().nbytes() >= 8 * 12**3} == {12 * 500}
    value.sum().backward()
    assert student.grad is not None


@pytest.mark.filterwarnings("ignore:.*Profiler clears events")  # of torch 2.11
@pytest.mark.parametrize("batch", [32, 64, 96])
def test_rkd_angle_holds_less_than_all_triplets_in_float32_or_two_mebibytes(batch):
    student, teacher = torch.randn(2, batch, 8)
    # torch.func records its gradients, so that all the backward comes by might be held
    gradient = torch.func.grad(lambda s: losses.rkd_angle(s, teacher).mean())
    gradient(student)
    peak = peak_bytes(lambda: gradient(student), torch.device("cpu"))
    assert 0 < peak < max(4 * batch**3, 2 * 2**20)


@pytest.mark.plain
@pytest.mark.filterwarnings("ignore:.*Profiler clears events")  # of torch 2.11
def test_rkd_angle_compiled_holds_one_tensor_of_all_triplets():
    batch = 64
    student, teacher = torch.randn(2, batch, 8)
    gradient = torch.func.grad(lambda s: losses.rkd_angle(s, teacher).mean())
    compiled = torch.compile(gradient, fullgraph=True)
    torch.testing.assert_close(compiled(student), gradient(student))
    peak = peak_bytes(lambda: compiled(student), torch.device("cpu"))
    one, matrix = 8 * batch**3, 8 * batch**2
    assert one < peak < one + 24 * matrix
