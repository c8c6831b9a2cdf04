"""Logits [batch, classes], and labels, as numbers or soft."""

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from fkd import _check
from fkd.testing.strategies._numbers import Arguments, pairs, tensors


def labels(batch: int, classes: int) -> st.SearchStrategy[Tensor]:
    """Labels [batch] in [0, classes)."""
    _check.whole("labels", 1, batch=batch, classes=classes)
    return hnp.arrays(np.int64, (batch,), elements=st.integers(0, classes - 1)).map(
        torch.from_numpy
    )


def logit_shapes(batch: int = 1, classes: int = 2) -> st.SearchStrategy[tuple[int, int]]:
    """[batch, classes] of at least these sizes."""
    _check.whole("logit_shapes", 1, batch=batch, classes=classes)
    return st.tuples(st.integers(batch, batch + 3), st.integers(classes, classes + 4))


def logit_pairs(batch: int = 1, classes: int = 2) -> st.SearchStrategy[Arguments]:
    """Student and teacher logits [batch, classes]."""
    return logit_shapes(batch, classes).flatmap(pairs)


def labelled_logits() -> st.SearchStrategy[Arguments]:
    """Student logits [batch, classes] and labels [batch]."""
    return logit_shapes().flatmap(lambda shape: st.tuples(tensors(shape), labels(*shape)))


def soft_labels(batch: int, classes: int) -> st.SearchStrategy[Tensor]:
    """Soft labels [batch, classes]: probabilities in eighths, some of them zero."""

    _check.whole("soft_labels", 1, batch=batch, classes=classes)

    def parts(cuts: np.ndarray) -> Tensor:
        return torch.from_numpy(np.diff(np.sort(cuts, -1), prepend=0.0, append=8.0) / 8)

    cuts = hnp.arrays(np.int64, (batch, classes - 1), elements=st.integers(0, 8))
    return cuts.map(parts)


def soft_labelled_logits() -> st.SearchStrategy[Arguments]:
    """Student logits [batch, classes] and soft labels [batch, classes]."""
    return logit_shapes().flatmap(lambda shape: st.tuples(tensors(shape), soft_labels(*shape)))


def labelled_logit_pairs(classes: int = 2) -> st.SearchStrategy[Arguments]:
    """Student and teacher logits [batch, classes] and labels [batch]."""
    return logit_shapes(classes=classes).flatmap(
        lambda shape: st.tuples(tensors(shape), tensors(shape), labels(*shape))
    )


def uneven(pairs: st.SearchStrategy[Arguments]) -> st.SearchStrategy[Arguments]:
    """Those arguments whose logits differ within every row, so that each row has a spread."""
    _check.instance("uneven", st.SearchStrategy, "a strategy of Hypothesis", pairs=pairs)
    return pairs.filter(lambda args: all((x.amax(-1) > x.amin(-1)).all() for x in args))


def scattered_logit_pairs(batch: int = 2) -> st.SearchStrategy[Arguments]:
    """Normally distributed logits [batch, classes], so that each class differs between examples."""

    def normal(shape: tuple[int, int], seed: int) -> Arguments:
        numbers = np.random.default_rng(seed).normal(scale=3.0, size=(2, *shape))
        student, teacher = torch.from_numpy(np.round(numbers * 64) / 64)
        return student, teacher

    return st.builds(normal, logit_shapes(batch), st.integers(0, 2**32 - 1))
