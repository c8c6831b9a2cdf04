"""The one place that words an argument error: what was asked, what was given, what to do."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Scalar = int | float | Float[Tensor, ""]  # a hyperparameter: a number, or a leaf of the state


LARGEST = 3.4028234e38  # of float32, which every number is computed in
SMALLEST = 1.1754944e-38


def tensor(where: str, **tensors: Tensor) -> None:
    """Raise where a named value is no dense tensor, or two lie on two devices."""
    first = None
    for name, x in tensors.items():
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{where}: {name} must be a torch.Tensor, but it is a {type(x).__name__}"
            )
        if x.layout != torch.strided or x.is_quantized:
            raise ValueError(
                f"{where}: {name} must be a dense tensor, but it is {x.layout} of {x.dtype}"
            )
        if first is None:
            first = name
        elif x.device != tensors[first].device:
            raise ValueError(
                f"{where}: {first} and {name} must lie on one device, but {first} is on "
                f"{tensors[first].device} and {name} on {x.device}"
            )


def scalar(where: str, **values: Scalar) -> None:
    """Raise where a named value is no single real number that float32 can hold.

    Of a tensor, as a leaf of the state is one, the value is not known here, but it must have no
    axes: nothing is broadcast.
    """
    _number(where, values)
    _in_float32(where, values)


def _number(where: str, values: Mapping[str, Scalar]) -> None:
    for name, value in values.items():
        if isinstance(value, Tensor):
            if value.ndim or not value.is_floating_point():
                raise ValueError(
                    f"{where}: {name} must be one real number, but it is a tensor "
                    f"{tuple(value.shape)} of {value.dtype}; nothing is broadcast"
                )
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(
                f"{where}: {name} must be a number, but it is {value!r:.100}, a "
                f"{type(value).__name__}"
            )


def _in_float32(where: str, values: Mapping[str, Scalar]) -> None:
    for name, value in values.items():
        if isinstance(value, Tensor) or value == 0 or SMALLEST <= abs(value) <= LARGEST:
            continue
        raise ValueError(
            f"{where}: {name} must be zero or from {SMALLEST:g} to {LARGEST:g} in size, which "
            f"float32 can hold, but it is {value}"
        )


def whole(where: str, least: int = 0, **values: int) -> None:
    """Raise where a named value is no whole number of at least `least`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(
                f"{where}: {name} must be a whole number of at least {least}, but it is "
                f"{value!r:.100}"
            )


def plain(where: str, /, **values: float) -> None:
    """Raise where a named value is no number of Python's, but a tensor, whose value `positive` and
    its kin could not look at, or anything else."""
    for name, value in values.items():
        if isinstance(value, Tensor):
            raise ValueError(
                f"{where}: {name} must be a number of Python's, but it is a tensor "
                f"{tuple(value.shape)} of {value.dtype}; give float(x) of one that holds one number"
            )
    _number(where, values)


def count(where: str, /, least: int = 1, most: int = 2**63 - 1, **values: int) -> None:
    """Raise where a named value is no whole number in [least, most], by default of int64."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            upper = f"of at least {least}" if most == 2**63 - 1 else f"in [{least}, {most}]"
            raise ValueError(
                f"{where}: {name} must be a whole number {upper}, but it is {value!r:.100}"
            )


def seed(where: str, /, **values: int) -> None:
    """Raise where a named value is no whole number in [0, 2³²): others would be a seed twice."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
            raise ValueError(
                f"{where}: {name} must be a whole number in [0, 2**32), for a seed has 32 bits, "
                f"but it is {value!r:.100}"
            )


def kind(where: str, wanted: type | tuple[type, ...], /, **values: Any) -> None:
    """Raise where a named value is not of the type that is wanted, or of one of several."""
    for name, value in values.items():
        if not isinstance(value, wanted):
            kinds = wanted if isinstance(wanted, tuple) else (wanted,)
            raise ValueError(
                f"{where}: {name} must be a {' or '.join(one.__name__ for one in kinds)}, but it "
                f"is a {type(value).__name__}"
            )


def function(where: str, /, **values: Any) -> None:
    """Raise where a named value cannot be called."""
    for name, value in values.items():
        if not callable(value):
            raise ValueError(
                f"{where}: {name} must be a function, but it is {value!r:.100}, a "
                f"{type(value).__name__}"
            )


def sequence(where: str, /, **values: Any) -> None:
    """Raise where a named value is no list, tuple or other sequence, or a word, which is one."""
    for name, value in values.items():
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise ValueError(
                f"{where}: {name} must be a list or a tuple, but it is {value!r:.100}, a "
                f"{type(value).__name__}"
            )


def words(where: str, /, **values: Any) -> None:
    """Raise where a named value is no sequence of words."""
    sequence(where, **values)
    for name, value in values.items():
        kind(where, str, **{f"each of {name}": next(_strangers(value, str), "")})


def mapping(where: str, /, **values: Any) -> None:
    """Raise where a named value is no mapping from words."""
    kind(where, Mapping, **values)
    for name, value in values.items():
        kind(where, str, **{f"a key of {name}": next(_strangers(value, str), "")})


def _strangers(values: Iterable[Any], wanted: type) -> Iterator[Any]:
    return (value for value in values if not isinstance(value, wanted))


def same_shape(where: str, **tensors: Tensor) -> None:
    """Raise where two named tensors differ in shape: nothing is ever broadcast."""
    tensor(where, **tensors)
    (a, x), (b, y) = tensors.items()
    if x.shape != y.shape:
        raise ValueError(
            f"{where}: {a} and {b} must have one shape, "
            f"but {a} is {tuple(x.shape)} and {b} is {tuple(y.shape)}; nothing is broadcast"
        )


def dimensions(where: str, axes: str, **tensors: Tensor) -> None:
    """Raise where a named tensor has not the axes that `axes` names; `...` is any number."""
    tensor(where, **tensors)
    names = axes.split()
    for name, x in tensors.items():
        fits = x.ndim >= len(names) - 1 if "..." in names else x.ndim == len(names)
        if not fits:
            raise ValueError(f"{where}: {name} must be [{axes}], but it is {tuple(x.shape)}")


def several(where: str, **tensors: Tensor) -> None:
    """Raise where a named tensor holds fewer than two examples, which have no relations."""
    tensor(where, **tensors)
    for name, x in tensors.items():
        if len(x) < 2:
            raise ValueError(
                f"{where}: {name} must hold at least two examples, but it is {tuple(x.shape)}"
            )


def floating(where: str, **tensors: Tensor) -> None:
    """Raise where a named tensor does not hold floating-point numbers."""
    tensor(where, **tensors)
    for name, x in tensors.items():
        if not x.is_floating_point():
            raise ValueError(f"{where}: {name} must be floating-point, but its dtype is {x.dtype}")


def integral(where: str, **tensors: Tensor) -> None:
    """Raise where a named tensor does not hold whole numbers."""
    tensor(where, **tensors)
    for name, x in tensors.items():
        if x.is_floating_point() or x.is_complex():
            raise ValueError(f"{where}: {name} must hold whole numbers, but its dtype is {x.dtype}")


def positive(where: str, **values: Scalar) -> None:
    """Raise where a number is not above zero; tensors pass, for their values are not known here."""
    _number(where, values)
    for name, value in values.items():
        if not isinstance(value, Tensor) and not 0 < value < float("inf"):
            raise ValueError(f"{where}: {name} must be above zero and finite, but it is {value}")
    _in_float32(where, values)


def between(where: str, low: float, high: float, **values: Scalar) -> None:
    """Raise where a number is not in [low, high]; tensors pass, as in `positive`."""
    _number(where, values)
    for name, value in values.items():
        if not isinstance(value, Tensor) and not low <= value <= high:
            raise ValueError(f"{where}: {name} must lie in [{low}, {high}], but it is {value}")
    _in_float32(where, values)


def share(where: str, **values: Scalar) -> None:
    """Raise where a number is not in [0, 1); tensors pass, as in `positive`."""
    _number(where, values)
    for name, value in values.items():
        if not isinstance(value, Tensor) and not 0 <= value < 1:
            raise ValueError(f"{where}: {name} must lie in [0, 1), but it is {value}")
    _in_float32(where, values)


def not_negative(where: str, **values: Scalar) -> None:
    """Raise where a number is below zero or not finite; tensors pass, as in `positive`."""
    _number(where, values)
    for name, value in values.items():
        if not isinstance(value, Tensor) and not 0 <= value < float("inf"):
            raise ValueError(f"{where}: {name} must be zero or more and finite, but it is {value}")
    _in_float32(where, values)


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
    tensor(where, **tensors)
    (a, x), (b, y) = tensors.items()
    first = len(axes.split())
    if x.shape[:first] != y.shape[:first]:
        raise ValueError(
            f"{where}: {a} and {b} must agree in [{axes}], "
            f"but {a} is {tuple(x.shape)} and {b} is {tuple(y.shape)}; nothing is broadcast"
        )
