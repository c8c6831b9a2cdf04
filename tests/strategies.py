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
