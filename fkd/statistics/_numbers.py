"""The door of the statistics: what are no numbers, or too few, is refused before any work."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from fkd import _check

LARGEST = 1e100  # so that squares and their sums stay finite


def row(where: str, name: str, values: Sequence[float]) -> Float[np.ndarray, " values"]:
    """The values in float64. Raises ValueError where they are no real numbers, or none at all."""
    if not isinstance(values, np.ndarray):
        _check.sequence(where, **{name: values})
    try:
        x = np.asarray(values)
    except ValueError:  # rows of several lengths
        x = np.empty((0, 0))
    if x.ndim != 1 or not len(x) or x.dtype.kind not in "iuf":
        raise ValueError(
            f"{where}: {name} must hold real numbers, at least one, along one axis, but they are "
            f"{values!r:.100}"
        )
    return x.astype(np.float64)


def table(
    where: str, name: str, values: np.ndarray, axes: str, least: Sequence[int]
) -> Float[np.ndarray, "..."]:
    """The array in float64.

    Raises ValueError where it is no array of NumPy's with the axes that are named, each of at least
    so many, or where a number is not real, not finite or above 1e100 in size.
    """
    what = f"{where}: {name} must be an array [{axes}] of NumPy's"
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{what}, but it is {_check.shown(values)}, a {type(values).__name__}")
    if values.ndim != len(least) or values.dtype.kind not in "iuf":
        raise ValueError(
            f"{what}, of real numbers, but its shape is {values.shape} and its dtype {values.dtype}"
        )
    for axis, size, fewest in zip(axes.split(), values.shape, least, strict=True):
        if size < fewest:
            raise ValueError(f"{what} with at least {fewest} {axis}, but it has {size}; give more")
    x = values.astype(np.float64)
    if not (np.abs(x) <= LARGEST).all():
        raise ValueError(
            f"{what} whose numbers are finite, and at most {LARGEST:g} in size, but some are not; "
            "leave out what diverged"
        )
    return x


def same_shape(where: str, **arrays: np.ndarray) -> None:
    """Raise where two named arrays differ in shape: nothing is ever broadcast."""
    (a, x), (b, y) = arrays.items()
    if x.shape != y.shape:
        raise ValueError(
            f"{where}: {a} and {b} must have one shape, but {a} is {x.shape} and {b} is {y.shape}; "
            "nothing is broadcast"
        )


def level(where: str, confidence: float) -> None:
    """Raise where a confidence is no number in [0, 1), or 1 but for rounding."""
    _check.plain(where, confidence=confidence)
    _check.share(where, confidence=confidence)
    if (1 + confidence) / 2 == 1:  # of which every quantile is infinite
        raise ValueError(f"{where}: confidence must be below 1, but it is {confidence!r}")
