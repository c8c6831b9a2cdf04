"""Hypothesis strategies for what a loss takes: pairs of logits or features, labels, numbers."""

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

Pair = tuple[Tensor, Tensor]


def tensors(shape: tuple[int, ...], largest: float = 20.0) -> st.SearchStrategy[Tensor]:
    """float64 tensors of one shape, with elements up to `largest` in size.

    The elements are multiples of 1/64, exact in float32 too, and never so near to each other or to
    zero, without being equal, that a finite difference is meaningless.
    """
    whole = st.integers(-int(64 * largest), int(64 * largest))
    arrays = hnp.arrays(np.int64, shape, elements=whole)
    return arrays.map(lambda a: torch.from_numpy(a.astype(np.float64) / 64))


def logit_pairs() -> st.SearchStrategy[Pair]:
    """Student and teacher logits [batch, classes]."""
    shapes = st.tuples(st.integers(1, 4), st.integers(2, 6))
    return shapes.flatmap(lambda shape: st.tuples(tensors(shape), tensors(shape)))


def feature_pairs() -> st.SearchStrategy[Pair]:
    """Student and teacher features [batch, width] or [batch, channels, height, width]."""
    sizes = st.integers(1, 3)
    flat, maps = (
        st.tuples(st.integers(1, 4), sizes),
        st.tuples(st.integers(1, 4), sizes, sizes, sizes),
    )
    return st.one_of(flat, maps).flatmap(lambda shape: st.tuples(tensors(shape), tensors(shape)))


def labelled_logits() -> st.SearchStrategy[Pair]:
    """Student logits [batch, classes] and labels [batch]."""

    def with_labels(shape: tuple[int, int]) -> st.SearchStrategy[Pair]:
        labels = hnp.arrays(np.int64, shape[:1], elements=st.integers(0, shape[1] - 1))
        return st.tuples(tensors(shape), labels.map(torch.from_numpy))

    return st.tuples(st.integers(1, 4), st.integers(2, 6)).flatmap(with_labels)


def temperatures() -> st.SearchStrategy[float]:
    """Temperatures from a half to eight."""
    return st.integers(2, 32).map(lambda quarters: quarters / 4)


def shares() -> st.SearchStrategy[float]:
    """Numbers in [0, 1]."""
    return st.integers(0, 8).map(lambda eighths: eighths / 8)
