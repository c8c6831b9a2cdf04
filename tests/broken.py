"""Arguments and the ways to break them, by which the door of every public function is tried.

An `Argument` is a valid value and a strategy of breaks. A break is to be refused, unless it says
which valid value it is the same as: then the answers must be the same too.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

NOTHING = object()


class Break(NamedTuple):
    """A value in the place of a valid one; `same` is another valid one that is as good as it."""

    how: str
    value: Any
    same: Any = NOTHING


Breaks = st.SearchStrategy[Break]


class Argument(NamedTuple):
    value: Any
    breaks: Breaks


class Call(NamedTuple):
    """A public function with valid arguments, by name.

    `probe` makes of an answer what can be compared; an error may begin with the function's name, an
    argument's, or one of `voices`.
    """

    function: Callable[..., Any]
    arguments: Mapping[str, Argument]
    probe: Callable[[Any], Any] = lambda answer: answer
    voices: tuple[str, ...] = ()


def to_break(how: str, values: st.SearchStrategy[Any]) -> Breaks:
    return values.map(lambda value: Break(how, value))


def as_good(how: str, value: Any, same: Any) -> Breaks:
    return st.just(Break(how, value, same))


STRANGERS: dict[str, st.SearchStrategy[Any]] = {
    "none": st.none(),
    "bool": st.booleans(),
    "whole": st.integers(-(2**70), 2**70),
    "real": st.floats(),
    "complex": st.just(1j),
    "word": st.text(max_size=2),
    "bytes": st.binary(max_size=3),
    "list": st.lists(st.none() | st.just("x"), max_size=2),
    "dict": st.dictionaries(st.integers(0, 3), st.none(), max_size=2),
    "object": st.builds(object),
    "tensor": st.sampled_from([(), (1,), (2, 3)]).map(torch.ones),
    "array": st.sampled_from([(), (1,), (2, 3)]).map(np.ones),
    "function": st.just(lambda *arguments: None),
    "class": st.just(int),
}


def strangers(*but: str) -> Breaks:
    """Values of other types, but for those that are no strangers here."""
    return st.one_of(
        [to_break(name, values) for name, values in STRANGERS.items() if name not in but]
    )


def number(value: float, *, signed: bool = False, most: float | None = None) -> Argument:
    """A real number of Python's, not below zero unless it may be."""
    wrong = [
        to_break("not finite", st.sampled_from([float("nan"), float("inf"), -float("inf")])),
        to_break("too large", st.floats(3.5e38, 1e308) | st.just(10**400)),
        to_break("too small", st.floats(5e-324, 1.1e-38, allow_subnormal=True)),
        to_break("of a tensor", st.sampled_from([torch.tensor(value), torch.full((2,), value)])),
        as_good("of NumPy", np.float64(value), value),
    ]
    if not signed:
        wrong.append(to_break("negative", st.floats(-3e38, -1e-37)))
    if most is not None:
        wrong.append(to_break("above", st.floats(most, 3e38, exclude_min=True)))
    return Argument(value, st.one_of(strangers("whole", "real"), *wrong))


def whole(value: int, least: int = 1, most: int = 2**63 - 1) -> Argument:
    """A whole number in [least, most]."""
    return Argument(
        value,
        st.one_of(
            strangers("whole"),
            to_break("below", st.integers(-(2**70), least - 1)),
            to_break("above", st.integers(most + 1, 2**70)),
            to_break("of a tensor", st.just(torch.tensor(value))),
            to_break("of NumPy", st.just(np.int64(value))),
            to_break("as a fraction", st.just(float(value))),
        ),
    )


def seed(value: int = 3) -> Argument:
    return whole(value, least=0, most=2**32 - 1)


def word(value: str) -> Argument:
    """Any word."""
    return Argument(value, strangers("word"))


def choice(value: str) -> Argument:
    """One of some words, which are longer than a stranger is."""
    return Argument(value, strangers())


def flag(value: bool) -> Argument:
    return Argument(value, strangers("bool"))


def function(value: Callable[..., Any]) -> Argument:
    return Argument(value, strangers("function", "class"))


def one(value: Any, *but: str) -> Argument:
    """A thing of a type of its own."""
    return Argument(value, st.one_of(strangers(*but), to_break("its class", st.just(type(value)))))


def optional(argument: Argument) -> Argument:
    """The same, or None."""
    return Argument(argument.value, argument.breaks.filter(lambda case: case.value is not None))


def listed(value: Any, *wrong: Any, empty: bool = False) -> Argument:
    """A list or a tuple of things, with some that do not fit."""
    value = tuple(value)
    cases = [
        strangers("list"),
        to_break("a stranger in it", STRANGERS["object"].map(lambda x: (*value[1:], x))),
        to_break("None in it", st.just([*value[1:], None])),
        as_good("as a list", list(value), value),
    ]
    if not empty:
        cases.append(to_break("empty", st.sampled_from([[], ()])))
    if wrong:
        cases.append(to_break("what does not fit", st.sampled_from(wrong)))
    return Argument(value, st.one_of(cases))


def mapped(value: Mapping[str, Any], *wrong: Any, empty: bool = False) -> Argument:
    """A mapping from words, with some that do not fit."""
    cases = [
        strangers("dict"),
        to_break("a key that is no word", st.just({**value, 3: None})),
        to_break("None in it", st.just(dict.fromkeys([*value, "other"]))),
    ]
    if not empty:
        cases.append(to_break("empty", st.just({})))
    if wrong:
        cases.append(to_break("what does not fit", st.sampled_from(wrong)))
    return Argument(value, st.one_of(cases))


def _shapes(x: Tensor) -> Breaks:
    """Other sizes and numbers of axes."""
    cases = [x.unsqueeze(0), x.new_ones(()), x[:0]]
    cases += [torch.cat([x, x[:1]]), x[:-1]] if len(x) > 1 else []
    return to_break("of another shape", st.sampled_from(cases))


def _places(x: Tensor) -> Breaks:
    """Other devices and layouts."""
    return to_break("elsewhere", st.sampled_from([x.to_sparse(), x.to("meta")]))


def reals(x: Tensor, *wrong: Any, shapes: bool = True, places: bool = True) -> Argument:
    """A floating-point tensor."""
    apart = x.unsqueeze(-1).repeat_interleave(2, -1)[..., 0]
    cases = [
        strangers("tensor"),
        to_break("not real", st.sampled_from([x.long(), x.bool(), x.to(torch.complex64)])),
        as_good("wider", x.double(), x),
        as_good("not contiguous", apart, x),
    ]
    if shapes:
        cases.append(_shapes(x))
    if places:
        cases.append(_places(x))
    if wrong:
        cases.append(to_break("what does not fit", st.sampled_from(wrong)))
    return Argument(x, st.one_of(cases))


def wholes(x: Tensor, *wrong: Any, shapes: bool = True, places: bool = True) -> Argument:
    """A tensor of whole numbers."""
    cases = [
        strangers("tensor"),
        to_break("not whole", st.sampled_from([x.double(), x.bool(), x.to(torch.complex64)])),
        as_good("narrower", x.to(torch.int32), x),
        as_good("bytes", x.to(torch.uint8), x),
    ]
    if shapes:
        cases.append(_shapes(x))
    if places:
        cases.append(_places(x))
    if wrong:
        cases.append(to_break("what does not fit", st.sampled_from(wrong)))
    return Argument(x, st.one_of(cases))
