"""Numbers and tensors of them: what all other strategies are made of."""

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


def distinct(shape: tuple[int, ...], largest: float = 20.0) -> st.SearchStrategy[Tensor]:
    """As `tensors`, with no two elements equal: no row of two or more is constant or zero."""
    whole = st.integers(-int(64 * largest), int(64 * largest))
    arrays = hnp.arrays(np.int64, shape, elements=whole, unique=True)
    return arrays.map(lambda a: torch.from_numpy(a.astype(np.float64) / 64))


def off_zero(shape: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
    """As `tensors`, halfway between their elements: no element is zero."""
    return tensors(shape).map(lambda x: x + 1 / 128)


def pairs(shape: tuple[int, ...], largest: float = 20.0) -> st.SearchStrategy[Arguments]:
    """Student and teacher of one shape."""
    return st.tuples(tensors(shape, largest), tensors(shape, largest))


def temperatures() -> st.SearchStrategy[float]:
    """Temperatures from a half to eight."""
    return st.integers(2, 32).map(lambda quarters: quarters / 4)


def shares() -> st.SearchStrategy[float]:
    """Numbers in [0, 1]."""
    return st.integers(0, 8).map(lambda eighths: eighths / 8)


def eighths(largest: int) -> st.SearchStrategy[float]:
    """Numbers from an eighth up to `largest`."""
    return st.integers(1, 8 * largest).map(lambda n: n / 8)
