"""Numbers and tensors of them: what all other strategies are made of."""

import math

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from fkd import _check

Arguments = tuple[Tensor, ...]


def check_shape(where: str, shape: tuple[int, ...]) -> None:
    """Raise where the shape is no tuple of whole numbers from one up."""
    _check.instance(where, tuple, "a shape", shape=shape)
    _check.whole(where, 1, **{f"shape[{axis}]": size for axis, size in enumerate(shape)})


def sixtyfourths(where: str, largest: float) -> st.SearchStrategy[int]:
    """How many 64ths a number of at most that size is; raises for a size that is none."""
    _check.plain(where, largest=largest)
    _check.between(where, 1 / 64, 2**18, largest=largest)  # float32 holds 24 bits
    return st.integers(-int(64 * largest), int(64 * largest))


def tensors(shape: tuple[int, ...], largest: float = 20.0) -> st.SearchStrategy[Tensor]:
    """float64 tensors of one shape, with elements up to `largest` in size.

    The elements are multiples of 1/64, so they are exact in float32 too.
    """
    check_shape("tensors", shape)
    whole = sixtyfourths("tensors", largest)
    arrays = hnp.arrays(np.int64, shape, elements=whole)
    return arrays.map(lambda a: torch.from_numpy(a.astype(np.float64) / 64))


def distinct(shape: tuple[int, ...], largest: float = 20.0) -> st.SearchStrategy[Tensor]:
    """As `tensors`, with no two elements equal: no row of two or more is constant or zero."""
    check_shape("distinct", shape)
    whole, count = sixtyfourths("distinct", largest), math.prod(shape)
    if count > 2 * int(64 * largest) + 1:
        raise ValueError(
            f"distinct: largest is {largest}, so there are {2 * int(64 * largest) + 1} multiples "
            f"of 1/64, but a tensor {shape} takes {count}"
        )
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
    _check.whole("eighths", 1, largest=largest)
    return st.integers(1, 8 * largest).map(lambda n: n / 8)
