"""Hypothesis strategies for what a loss takes: logits, features, labels, numbers."""

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

Arguments = tuple[Tensor, ...]


def tensors(shape: tuple[int, ...], largest: float = 20.0) -> st.SearchStrategy[Tensor]:
    """float64 tensors of one shape, with elements up to `largest` in size.

    The elements are multiples of 1/64, so they are exact in float32 too.
    """
    whole = st.integers(-int(64 * largest), int(64 * largest))
    arrays = hnp.arrays(np.int64, shape, elements=whole)
    return arrays.map(lambda a: torch.from_numpy(a.astype(np.float64) / 64))


def labels(batch: int, classes: int) -> st.SearchStrategy[Tensor]:
    """Labels [batch] in [0, classes)."""
    return hnp.arrays(np.int64, (batch,), elements=st.integers(0, classes - 1)).map(
        torch.from_numpy
    )


def pairs(shape: tuple[int, ...], largest: float = 20.0) -> st.SearchStrategy[Arguments]:
    """Student and teacher of one shape."""
    return st.tuples(tensors(shape, largest), tensors(shape, largest))


def logit_shapes(batch: int = 1, classes: int = 2) -> st.SearchStrategy[tuple[int, int]]:
    """[batch, classes] of at least these sizes."""
    return st.tuples(st.integers(batch, batch + 3), st.integers(classes, classes + 4))


def logit_pairs(batch: int = 1, classes: int = 2) -> st.SearchStrategy[Arguments]:
    """Student and teacher logits [batch, classes]."""
    return logit_shapes(batch, classes).flatmap(pairs)


def labelled_logits() -> st.SearchStrategy[Arguments]:
    """Student logits [batch, classes] and labels [batch]."""
    return logit_shapes().flatmap(lambda shape: st.tuples(tensors(shape), labels(*shape)))


def labelled_logit_pairs(classes: int = 2) -> st.SearchStrategy[Arguments]:
    """Student and teacher logits [batch, classes] and labels [batch]."""
    return logit_shapes(classes=classes).flatmap(
        lambda shape: st.tuples(tensors(shape), tensors(shape), labels(*shape))
    )


def map_shapes(batch: int = 1) -> st.SearchStrategy[tuple[int, int, int, int]]:
    """[batch, channels, height, width], small."""
    side = st.integers(1, 3)
    return st.tuples(st.integers(batch, batch + 2), side, side, side)


def map_pairs(batch: int = 1) -> st.SearchStrategy[Arguments]:
    """Student and teacher feature maps [batch, channels, height, width]."""
    return map_shapes(batch).flatmap(pairs)


def embedding_pairs(batch: int = 2) -> st.SearchStrategy[Arguments]:
    """Student and teacher embeddings [batch, width]."""
    return st.tuples(st.integers(batch, batch + 3), st.integers(1, 4)).flatmap(pairs)


def feature_pairs() -> st.SearchStrategy[Arguments]:
    """Student and teacher features [batch, width] or [batch, channels, height, width]."""
    return st.one_of(embedding_pairs(batch=1), map_pairs())


def temperatures() -> st.SearchStrategy[float]:
    """Temperatures from a half to eight."""
    return st.integers(2, 32).map(lambda quarters: quarters / 4)


def shares() -> st.SearchStrategy[float]:
    """Numbers in [0, 1]."""
    return st.integers(0, 8).map(lambda eighths: eighths / 8)


def uneven(pairs: st.SearchStrategy[Arguments]) -> st.SearchStrategy[Arguments]:
    """Those arguments whose logits differ within every row, so that each row has a spread."""
    return pairs.filter(lambda args: all((x.amax(-1) > x.amin(-1)).all() for x in args))


def scattered_logit_pairs(batch: int = 2) -> st.SearchStrategy[Arguments]:
    """Normally distributed logits [batch, classes], so that each class differs between examples."""

    def normal(shape: tuple[int, int], seed: int) -> Arguments:
        drawn = np.random.default_rng(seed).normal(scale=3.0, size=(2, *shape))
        student, teacher = torch.from_numpy(np.round(drawn * 64) / 64)
        return student, teacher

    return st.builds(normal, logit_shapes(batch), st.integers(0, 2**32 - 1))


def distinct(shape: tuple[int, ...], largest: float = 20.0) -> st.SearchStrategy[Tensor]:
    """As `tensors`, with no two elements equal: no row of two or more is constant or zero."""
    whole = st.integers(-int(64 * largest), int(64 * largest))
    arrays = hnp.arrays(np.int64, shape, elements=whole, unique=True)
    return arrays.map(lambda a: torch.from_numpy(a.astype(np.float64) / 64))


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


def apart_pairs() -> st.SearchStrategy[Arguments]:
    """Student and teacher features whose directions differ in each element, away from kinks."""

    def apart(features: Arguments) -> bool:
        student, teacher = (torch.nn.functional.normalize(x.flatten(1)) for x in features)
        return (student - teacher).abs().min().item() > 0.001

    return distinct_map_pairs().filter(apart)


def channel_shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """[batch, channels] or [batch, channels, height, width]."""
    return st.one_of(st.tuples(st.integers(1, 4), st.integers(1, 4)), map_shapes())


def off_zero(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
    """As `tensors`, halfway between their elements: no element is zero."""
    return tensors(shape).map(lambda x: x + 1 / 128)


def signed_pairs() -> st.SearchStrategy[Arguments]:
    """Student and teacher features, the teacher's away from zero."""
    return channel_shapes().flatmap(lambda shape: st.tuples(tensors(shape), off_zero(shape)))


def pairs_with_variance() -> st.SearchStrategy[Arguments]:
    """Student and teacher features and a variance [channels] in [1/4, 20.25]."""
    return channel_shapes().flatmap(
        lambda shape: st.tuples(
            tensors(shape), tensors(shape), tensors(shape[1:2]).map(lambda x: x.abs() + 0.25)
        )
    )


def pairs_with_margin() -> st.SearchStrategy[Arguments]:
    """Student and teacher features, the teacher's away from zero and from a margin [channels]."""
    return channel_shapes().flatmap(
        lambda shape: st.tuples(
            tensors(shape), off_zero(shape), tensors(shape[1:2]).map(lambda x: -x.abs() - 1 / 64)
        )
    )


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
    shapes = st.tuples(*(st.integers(1, 2),) * 2, st.integers(1, 5), st.integers(1, 3))
    return shapes.flatmap(pairs)


def distinct_rows(batch: int, width: int, largest: float = 20.0) -> st.SearchStrategy[Tensor]:
    """float64 embeddings [batch, width] of which no two are equal, as `tensors`."""
    element = st.integers(-int(64 * largest), int(64 * largest))
    row = st.tuples(*[element] * width)
    found = st.lists(row, min_size=batch, max_size=batch, unique=True)
    return found.map(lambda rows: torch.tensor(rows, dtype=torch.float64) / 64)


def related_embeddings() -> st.SearchStrategy[Arguments]:
    """Student and teacher embeddings of one batch, each of its own width and of distinct rows."""
    shapes = st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(1, 4))
    return shapes.flatmap(lambda n: st.tuples(distinct_rows(n[0], n[1]), distinct_rows(n[0], n[2])))


def contrasted_embeddings() -> st.SearchStrategy[Arguments]:
    """Student and teacher [batch, width], and negatives [batch, count, width] of each."""

    def four(n: tuple[int, int, int]) -> st.SearchStrategy[Arguments]:
        batch, count, width = n
        one, many = tensors((batch, width)), tensors((batch, count, width), 1.0)
        return st.tuples(one, one, many, many)

    return st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)).flatmap(four)


def eighths(largest: int) -> st.SearchStrategy[float]:
    """Numbers from an eighth up to `largest`."""
    return st.integers(1, 8 * largest).map(lambda n: n / 8)
