"""What is true of a loss: its row in the table of laws, and arguments drawn as the row says."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from fkd import _check
from fkd.testing.strategies import Arguments

Loss = Callable[..., Tensor]
Numbers = st.SearchStrategy[float]
NONE: Mapping[str, Numbers] = MappingProxyType({})


class Case(NamedTuple):
    """The laws that a loss claims, beside those that hold for all.

    `inputs` draws its positional arguments in float64 and `hyper` its keywords: first the student's
    tensors, then as many of the target's (`sides` is how many), then labels and the like, then
    those that have no batch axis (`unbatched` is how many).
    `low`, `high`: the bounds of its value, None where there is none.
    `divergence`: zero with a zero gradient where the target equals the student.
    `shift`: unchanged when a constant is added to all logits of an example, on either side.
    `scale`: unchanged when all features of one side are multiplied by a positive number.
    `rotation`: unchanged when all examples' embeddings are rotated, each side by its own rotation.
    `symmetric`: unchanged when student and target change places.
    `power`: n, where logits and temperature times a number make the value that number's nth power
    as large: 2 of T² KL at temperature T, 0 of KL without the T²; None where there is no such n.
    `smooth`: how often it can be differentiated at the inputs: 2 for gradgradcheck, 1 for
    gradcheck, 0 where it has kinks that the strategy cannot keep away from.
    `whole`: a value depends on the other examples, so the batch cannot be split.
    `ordered`: a value depends on the order in which the examples stand.
    `relation`: a value is a relation to other examples, so a batch of one is refused.
    `per_class`: one value a class instead of one an example.
    `leading`: it takes logits [..., classes], and any leading axes have one value a position.
    `mask`: it takes `mask` by keyword, and positions where that is False count as nothing.
    `refuses`: arguments that do not fit raise ValueError with their names.

    Relations, losses of an order and losses per class need the whole batch: their rows say `whole`
    too.
    """

    inputs: st.SearchStrategy[Arguments]
    hyper: Mapping[str, Numbers] = NONE
    low: float | None = 0.0
    high: float | None = None
    divergence: bool = False
    shift: bool = False
    scale: bool = False
    rotation: bool = False
    symmetric: bool = False
    power: int | None = None
    smooth: int = 2
    whole: bool = False
    ordered: bool = False
    relation: bool = False
    per_class: bool = False
    leading: bool = False
    mask: bool = False
    refuses: bool = True
    sides: int = 1
    unbatched: int = 0


FLAGS = tuple(name for name, kind in Case.__annotations__.items() if kind is bool)


def check_case(case: Case) -> None:
    """Raise unless each field of the row is of its kind."""
    _check.instance("Case", Mapping, "a mapping from keywords to strategies", hyper=case.hyper)
    for name, drawn in (("inputs", case.inputs), *case.hyper.items()):
        _check.text("Case", hyper=name)
        _check.instance("Case", st.SearchStrategy, "a strategy of Hypothesis", **{name: drawn})
    bounds = {"low": case.low, "high": case.high}
    bounds = {name: bound for name, bound in bounds.items() if bound is not None}
    _check.plain("Case", **bounds)
    _check.scalar("Case", **bounds)
    for name in FLAGS:
        _check.instance("Case", bool, "True or False", **{name: getattr(case, name)})
    _check.whole("Case", smooth=case.smooth, unbatched=case.unbatched)
    _check.between("Case", 0, 2, smooth=case.smooth)
    _check.whole("Case", 1, sides=case.sides)
    if case.power is not None:
        _check.whole("Case", power=case.power)
        _check.known("Case", "hyperparameter of a power", "temperature", case.hyper)


def draw(loss: Loss, case: Case, data: st.DataObject) -> tuple[Loss, Arguments]:
    """The loss with its keywords filled in, and its positional arguments."""
    hyper = draw_hyper(case, data)
    return partial(loss, **hyper), data.draw(case.inputs, "arguments")


def draw_hyper(case: Case, data: st.DataObject) -> dict[str, float]:
    """The keywords of the loss."""
    return {name: data.draw(numbers, name) for name, numbers in case.hyper.items()}


def cast(arguments: Arguments, dtype: torch.dtype) -> Arguments:
    """The arguments with numbers in `dtype`, and labels as they are."""
    return tuple(x.to(dtype) if x.is_floating_point() else x for x in arguments)


def equal(case: Case, arguments: Arguments) -> Arguments:
    """The arguments with the student in the target's place."""
    students = arguments[: case.sides]
    return (*students, *(x.clone() for x in students), *arguments[2 * case.sides :])


def batched(case: Case, arguments: Arguments) -> Arguments:
    """The arguments that have a batch axis."""
    return arguments[: len(arguments) - case.unbatched]


def rows(case: Case, arguments: Arguments, index: list[int] | slice) -> Arguments:
    """The arguments at some rows of the batch, in the order of the index."""
    first = batched(case, arguments)
    return (*(x[index] for x in first), *arguments[len(first) :])


def require(condition: bool | Tensor, message: str) -> None:
    """Raise unless the condition holds; unlike `assert`, under `python -O` too."""
    if not condition:
        raise AssertionError(message)
