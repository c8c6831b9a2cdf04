"""What is the same has one digest in every process, and what differs in anything another."""

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks._forked import forked
from fkd._digest import digest
from fkd.data import Normalize
from fkd.data import unchanged as nothing
from fkd.model import functional
from fkd.teachers import Renormalize, Teacher, teacher_of_module


class Scaled(nn.Linear):
    """A layer whose factor is neither in its tensors nor in its repr."""

    def __init__(self, factor: Any = 1.0):
        super().__init__(2, 2)
        self.factor = factor
        self.shift = [torch.zeros(1), torch.ones(1)]
        self.whatever = object()


@dataclass(frozen=True)
class Shift:
    by: float

    def __call__(self, inputs: Any, key: object = None) -> Any:
        return inputs + self.by


def linear(seed: int = 0, width: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(2, width)


def shifted() -> nn.Module:
    module = Scaled()
    module.shift[1] = torch.full((1,), 2.0)
    return module


def teacher(dtype: torch.dtype = torch.float32, **changes: Any) -> Teacher:
    model = functional(linear, dtype)
    return Teacher(model, *model.init(0), **changes)


def built(make: Any) -> Teacher:
    """A teacher of this structure with the tensors of any."""
    model = functional(make)
    params, buffers = model.init(0)
    return Teacher(model, {name: torch.zeros_like(x) for name, x in params.items()}, buffers)


def doubled(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    return outputs * 2


def hooked() -> nn.Module:
    module = linear()
    module.register_forward_hook(doubled)
    return module


class Mode(Enum):
    ONE = 1
    TWO = 2


ATTRIBUTES: list[Any] = [
    torch.relu,
    torch.sigmoid,
    F.relu,
    F.silu,
    nn.Linear(2, 2).forward,
    partial(F.gelu, approximate="tanh"),
    partial(F.gelu, approximate="none"),
    Mode.ONE,
    Mode.TWO,
    np.array([1.0, 2.0]),
    np.array([1.0, 3.0]),
    np.array([1.0, 3.0]).view(np.int64),  # the same bytes
    np.array([[1.0, 3.0]]),
    np.float32(1.0),
    {"a": 1.0, "b": 2.0},
    {"b": 1.0, "a": 2.0},
    Shift(1.0),
    Shift(2.0),
    SimpleNamespace(by=1.0),
    SimpleNamespace(by=2.0),
]
ALIKE = [
    (lambda: torch.arange(6).reshape(2, 3), lambda: torch.tensor([[0, 1, 2], [3, 4, 5]])),
    (lambda: torch.arange(6.0).reshape(2, 3).T, lambda: torch.arange(6.0).reshape(2, 3).T.clone()),
    (
        lambda: torch.zeros(1, 3, 4, 4).to(memory_format=torch.channels_last),
        lambda: torch.zeros(1, 3, 4, 4),
    ),
    (lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
    (teacher, teacher),
    (lambda: teacher_of_module(linear()), lambda: teacher_of_module(linear().eval())),
    (lambda: linear(0), lambda: linear(0)),
]
DIFFERENT = [
    1,
    1.0,
    True,
    None,
    "1",
    b"1",
    torch.float16,
    [],
    [1],
    [[1]],
    {"a": 1},
    {"a": 2},
    {"b": 1},
    {"ab": 1},
    torch.tensor(1),
    torch.tensor([1]),
    torch.tensor([1], dtype=torch.int32),
    torch.tensor([True]),
    torch.tensor([1.0]),
    torch.tensor([1.0], dtype=torch.bfloat16),
    torch.tensor([1j]),
    torch.tensor([1j]).conj(),
    torch.zeros(0, 2),
    torch.zeros(2, 0),
    nothing,
    math.sin,
    nn.Linear,
    partial(nothing, key=None),
    partial(nothing, inputs=1),
    Shift(1.0),
    Shift(2.0),
    Shift(1.0).__call__,
    Normalize((0.5,), (0.5,)),
    Renormalize((0.5,), (0.5,), (0.5,), (0.5,)),
    linear(0),
    linear(1),
    teacher(),
    teacher(transform=Shift(1.0)),
    teacher(names=["logits"]),
    teacher(dtype=torch.bfloat16),
    built(linear),
    built(partial(linear, width=3)),
    built(Scaled),
    built(partial(Scaled, 2.0)),
    built(shifted),
    built(lambda: nn.Sequential(nn.ReLU(), linear())),
    built(lambda: nn.Sequential(nn.Tanh(), linear())),
    *(built(partial(Scaled, factor)) for factor in ATTRIBUTES),
    built(hooked),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_the_same_content_has_one_digest(one, other):
    assert digest(one()) == digest(other())


def test_other_content_has_another():
    assert len({digest(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_every_byte_counts_wherever_it_lies(monkeypatch):
    monkeypatch.setattr("fkd.checkpoint._checksum.PIECE", 7)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 5)))
    seen = {digest(x)}
    for k in range(x.numel()):
        other = x.clone()
        other.view(-1)[k] = torch.nextafter(x.view(-1)[k], torch.tensor(9.0, dtype=x.dtype))
        seen.add(digest(other))
    assert len(seen) == 1 + x.numel()


def digest_of_several() -> bytes:
    return digest({"x": torch.arange(3), "y": [Normalize((0.5,), (0.25,)), 1.5]})


@pytest.mark.plain
def test_another_process_agrees():
    with ProcessPoolExecutor(1, mp_context=forked()) as another:
        assert another.submit(digest_of_several).result(60) == digest_of_several()


def test_random_numbers_are_left_as_they_are():
    one = teacher()
    torch.manual_seed(3)
    digest(one)
    drawn = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(2), drawn)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda x: x, "^digest: .*<lambda> has no name that means the same"),
        (partial(lambda x: x), "<lambda> has no name"),
        ({"a": [object()]}, "^digest: a object has no description"),
    ],
)
def test_what_has_no_lasting_name_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        digest(value)
