"""Embeddings [batch, width], whose relations or contrasts a loss compares."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from fkd import _check
from fkd.testing.strategies._numbers import Arguments, check_shape, pairs, sixtyfourths, tensors


def embedding_pairs(batch: int = 2) -> st.SearchStrategy[Arguments]:
    """Student and teacher embeddings [batch, width]."""
    _check.whole("embedding_pairs", 1, batch=batch)
    return st.tuples(st.integers(batch, batch + 3), st.integers(1, 4)).flatmap(pairs)


def distinct_rows(batch: int, width: int, largest: float = 20.0) -> st.SearchStrategy[Tensor]:
    """float64 embeddings [batch, width] of which no two are equal, as `tensors`."""
    check_shape("distinct_rows", (batch, width))
    element = sixtyfourths("distinct_rows", largest)
    if batch > (2 * int(64 * largest) + 1) ** min(width, 32):
        raise ValueError(
            f"distinct_rows: batch is {batch}, but there are fewer rows of {width} multiples of "
            f"1/64 up to {largest}"
        )
    row = st.lists(element, min_size=width, max_size=width).map(tuple)
    rows = st.lists(row, min_size=batch, max_size=batch, unique=True)
    return rows.map(lambda x: torch.tensor(x, dtype=torch.float64) / 64)


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
