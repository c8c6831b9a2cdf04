"""Feature maps [batch, channels, height, width]."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from fkd import _check
from fkd.testing.strategies._numbers import Arguments, distinct, pairs


def map_shapes(batch: int = 1) -> st.SearchStrategy[tuple[int, int, int, int]]:
    """[batch, channels, height, width], small."""
    _check.whole("map_shapes", 1, batch=batch)
    side = st.integers(1, 3)
    return st.tuples(st.integers(batch, batch + 2), side, side, side)


def map_pairs(batch: int = 1) -> st.SearchStrategy[Arguments]:
    """Student and teacher feature maps [batch, channels, height, width]."""
    return map_shapes(batch).flatmap(pairs)


def sizes() -> st.SearchStrategy[tuple[int, int]]:
    """Height and width of two to six positions."""
    return st.tuples(st.integers(1, 2), st.integers(2, 3))


def distinct_map_pairs() -> st.SearchStrategy[Arguments]:
    """Student and teacher maps of one shape, no channel of which is constant or zero."""
    shapes = st.tuples(st.integers(1, 2), st.integers(1, 3), sizes())
    return shapes.map(lambda shape: (*shape[:2], *shape[2])).flatmap(
        lambda shape: st.tuples(distinct(shape), distinct(shape))
    )


def unlike_map_pairs() -> st.SearchStrategy[Arguments]:
    """Student and teacher maps that differ in channels, and then, if not negative, in size.

    No channel is zero, nor is it when it is average-pooled.
    """

    def pair(shape: tuple) -> st.SearchStrategy[Arguments]:
        batch, one, two, size, other = shape
        if size == other:
            return st.tuples(distinct((batch, one, *size)), distinct((batch, two, *size)))
        return st.tuples(
            distinct((batch, one, *size), 10.0).map(lambda x: x + 10),
            distinct((batch, two, *other), 10.0).map(lambda x: x + 10),
        )

    channels = st.integers(1, 3)
    shapes = st.tuples(st.integers(1, 2), channels, channels, sizes(), sizes())
    return st.one_of(shapes.map(lambda shape: (*shape[:4], shape[3])), shapes).flatmap(pair)


def apart_map_pairs() -> st.SearchStrategy[Arguments]:
    """Those of `unlike_map_pairs` of one size whose attention differs, away from a norm's kink."""

    def attention(x: Tensor) -> Tensor:
        return torch.nn.functional.normalize(x.square().sum(1).flatten(1), dim=-1)

    def apart(maps: Arguments) -> bool:
        student, teacher = maps
        if student.shape[2:] != teacher.shape[2:]:
            return False
        return (attention(student) - attention(teacher)).norm(dim=-1).min().item() > 0.01

    return unlike_map_pairs().filter(apart)


def map_quadruples() -> st.SearchStrategy[Arguments]:
    """A first and a last map of the student, then of the teacher, with small fourth powers."""

    def four(shape: tuple) -> st.SearchStrategy[Arguments]:
        batch, one, two, size, other = shape
        first, last = distinct((batch, one, *size), 4.0), distinct((batch, two, *other), 4.0)
        return st.tuples(first, last, first, last)

    channels = st.integers(1, 2)
    return st.tuples(st.integers(1, 2), channels, channels, sizes(), sizes()).flatmap(four)


def tall_map_pairs() -> st.SearchStrategy[Arguments]:
    """Student and teacher maps up to a height of five."""
    few = st.integers(1, 2)
    shapes = st.tuples(few, few, st.integers(1, 5), st.integers(1, 3))
    return shapes.flatmap(pairs)
