"""The one place that words an argument error: what was asked, what was given, what to do."""

import difflib
from collections.abc import Collection, Iterable

from jaxtyping import Float
from torch import Tensor

Scalar = int | float | Float[Tensor, ""]  # a hyperparameter: a number, or a leaf of the state


def same_shape(where: str, **tensors: Tensor) -> None:
    """Raise where two named tensors differ in shape: nothing is ever broadcast."""
    (a, x), (b, y) = tensors.items()
    if x.shape != y.shape:
        raise ValueError(
            f"{where}: {a} and {b} must have one shape, "
            f"but {a} is {tuple(x.shape)} and {b} is {tuple(y.shape)}; nothing is broadcast"
        )


def dimensions(where: str, axes: str, **tensors: Tensor) -> None:
    """Raise where a named tensor has not the axes that `axes` names; `...` is any number."""
    names = axes.split()
    for name, x in tensors.items():
        fits = x.ndim >= len(names) - 1 if "..." in names else x.ndim == len(names)
        if not fits:
            raise ValueError(f"{where}: {name} must be [{axes}], but it is {tuple(x.shape)}")


def several(where: str, **tensors: Tensor) -> None:
    """Raise where a named tensor holds fewer than two examples, which have no relations."""
    for name, x in tensors.items():
        if len(x) < 2:
            raise ValueError(
                f"{where}: {name} must hold at least two examples, but it is {tuple(x.shape)}"
            )


def floating(where: str, **tensors: Tensor) -> None:
    """Raise where a named tensor does not hold floating-point numbers."""
    for name, x in tensors.items():
        if not x.is_floating_point():
            raise ValueError(f"{where}: {name} must be floating-point, but its dtype is {x.dtype}")


def integral(where: str, **tensors: Tensor) -> None:
    """Raise where a named tensor does not hold whole numbers."""
    for name, x in tensors.items():
        if x.is_floating_point() or x.is_complex():
            raise ValueError(f"{where}: {name} must hold whole numbers, but its dtype is {x.dtype}")


def positive(where: str, **values: Scalar) -> None:
    """Raise where a number is not above zero; tensors pass, for their values are not known here."""
    for name, value in values.items():
        if not isinstance(value, Tensor) and not 0 < value < float("inf"):
            raise ValueError(f"{where}: {name} must be above zero and finite, but it is {value}")


def between(where: str, low: float, high: float, **values: Scalar) -> None:
    """Raise where a number is not in [low, high]; tensors pass, as in `positive`."""
    for name, value in values.items():
        if not isinstance(value, Tensor) and not low <= value <= high:
            raise ValueError(f"{where}: {name} must lie in [{low}, {high}], but it is {value}")


def share(where: str, **values: Scalar) -> None:
    """Raise where a number is not in [0, 1); tensors pass, as in `positive`."""
    for name, value in values.items():
        if not isinstance(value, Tensor) and not 0 <= value < 1:
            raise ValueError(f"{where}: {name} must lie in [0, 1), but it is {value}")


def not_negative(where: str, **values: Scalar) -> None:
    """Raise where a number is below zero or not finite; tensors pass, as in `positive`."""
    for name, value in values.items():
        if not isinstance(value, Tensor) and not 0 <= value < float("inf"):
            raise ValueError(f"{where}: {name} must be zero or more and finite, but it is {value}")


def known(where: str, what: str, name: str, allowed: Iterable[str]) -> None:
    """Raise where a name is not one of those allowed."""
    allowed = list(allowed)
    if name not in allowed:
        raise ValueError(f"{where}: {what} {name!r} is not known; choose from {', '.join(allowed)}")


def near(where: str, what: str, name: str, allowed: Collection[str]) -> None:
    """Raise where a name is not one of those allowed, which are too many to tell them all."""
    if name not in allowed:
        alike = difflib.get_close_matches(name, allowed, n=8, cutoff=0.5)
        raise ValueError(
            f"{where}: {what} {name!r} is not known; "
            + (f"near it are {', '.join(alike)}; " if alike else "none is near it; ")
            + f"there are {len(allowed)}, from {min(allowed)} to {max(allowed)}"
        )


def agree(where: str, axes: str, **tensors: Tensor) -> None:
    """Raise where two named tensors differ in their first axes, those that `axes` names."""
    (a, x), (b, y) = tensors.items()
    first = len(axes.split())
    if x.shape[:first] != y.shape[:first]:
        raise ValueError(
            f"{where}: {a} and {b} must agree in [{axes}], "
            f"but {a} is {tuple(x.shape)} and {b} is {tuple(y.shape)}; nothing is broadcast"
        )
