"""The one place that words an argument error: what was asked, what was given, what to do."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch._C._functorch import (
    get_dynamic_layer_stack_depth,
    get_unwrapped,
    is_batchedtensor,
    is_functorch_wrapped_tensor,
    is_gradtrackingtensor,
)
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

Scalar = int | float | Float[Tensor, ""]  # a hyperparameter: a number, or a leaf of the state


LARGEST = 3.4028234e38  # of float32, which every number is computed in
SMALLEST = 1.1754944e-38
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # that torch computes in


def shown(value: object) -> str:
    """A value in an error, cut off where it is long; its type alone where it cannot be shown."""
    try:
        return f"{value!r:.100}"
    except Exception:  # of a whole number of 4,300 digits, or in a class of the caller's own
        return f"a {type(value).__name__}"


def instance(where: str, kind: type | tuple[type, ...], what: str, /, **values: object) -> None:
    """Raise where a named value is of no such type, which the error calls `what`."""
    for name, value in values.items():
        if not isinstance(value, kind):
            raise ValueError(
                f"{where}: {name} must be {what}, but it is {shown(value)}, a "
                f"{type(value).__name__}"
            )


def text(where: str, **values: object) -> None:
    """Raise where a named value is no string, or an empty one."""
    instance(where, str, "a name", **values)
    for name, value in values.items():
        if not value:
            raise ValueError(f"{where}: {name} must be a name, but it is empty")


def readable(x: Tensor) -> bool:
    """Whether an error may depend on the values of `x`: they are known here, and cheap to read.

    They are not while `torch.compile` or a CUDA graph records, on the meta device, of a tensor that
    stands for another (where `vmap` or `grad` wraps it, in a subclass), and under a dispatch mode.
    Reading waits for an accelerator: there, values are read outside `torch.func` alone, so that a
    step of many members never waits.
    """
    if torch.compiler.is_compiling() or type(x) not in (Tensor, torch.nn.Parameter):
        return False
    if x.is_meta or is_functorch_wrapped_tensor(x) or is_in_torch_dispatch_mode():
        return False
    if x.device.type == "cpu":
        return True
    capturing = x.is_cuda and torch.cuda.is_current_stream_capturing()
    return not capturing and get_dynamic_layer_stack_depth() == 0


def extremes(x: Tensor) -> tuple[float, float] | None:
    """The least and the largest element; None where there are none, or they are not to be read.

    Of what `vmap` or `grad` wraps they are those of the tensor inside, which holds all members.
    """
    if torch.compiler.is_compiling():
        return None
    while is_gradtrackingtensor(x) or is_batchedtensor(x):
        x = get_unwrapped(x)
    if not x.numel() or not readable(x):
        return None
    low, high = torch.stack(x.detach().aminmax()).tolist()  # one wait where the device is another
    return low, high


def _read(where: str, values: Mapping[str, Scalar]) -> Iterator[tuple[str, float]]:
    """The numbers by name, but for those in tensors that are not to be read."""
    _number(where, values)
    for name, value in values.items():
        if not isinstance(value, Tensor):
            yield name, value
        elif readable(value):
            yield name, value.detach().item()


def tensor(where: str, **tensors: Tensor) -> None:
    """Raise where a named value is no dense tensor, or two lie on two devices."""
    first = None
    for name, x in tensors.items():
        instance(where, Tensor, "a torch.Tensor", **{name: x})
        if x.layout != torch.strided or x.is_quantized or x.is_nested:
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


def beside(where: str, x: Tensor, **numbers: Scalar) -> None:
    """Raise where a named number is a tensor on another device than `x`, but for the CPU's."""
    for name, number in numbers.items():
        if isinstance(number, Tensor) and number.device not in (x.device, torch.device("cpu")):
            raise ValueError(
                f"{where}: {name} must lie on {x.device}, as the tensors do, or on the CPU, but it "
                f"is on {number.device}"
            )


def scalar(where: str, **values: Scalar) -> None:
    """Raise where a named value is no single real number that float32 can hold.

    A tensor, as a leaf of the state is one, must have no axes: nothing is broadcast.
    """
    _number(where, values)
    _in_float32(where, values)


def _number(where: str, values: Mapping[str, Scalar]) -> None:
    for name, value in values.items():
        if isinstance(value, Tensor):
            tensor(where, **{name: value})
            if value.ndim or value.dtype not in FLOATS:
                raise ValueError(
                    f"{where}: {name} must be one real number, but it is a tensor "
                    f"{tuple(value.shape)} of {value.dtype}; nothing is broadcast"
                )
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(
                f"{where}: {name} must be a number, but it is {shown(value)}, a "
                f"{type(value).__name__}"
            )


def _in_float32(where: str, values: Mapping[str, Scalar]) -> None:
    for name, value in values.items():
        if isinstance(value, Tensor):
            continue
        if value != 0 and not SMALLEST <= abs(value) <= LARGEST:
            raise ValueError(
                f"{where}: {name} must be zero or from {SMALLEST:g} to {LARGEST:g} in size, which "
                f"float32 can hold, but it is {shown(value)}"
            )
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError(
                f"{where}: {name} must be below 2**63 as a whole number, but it is {value}; give "
                f"{float(value):g}"
            )


def whole(where: str, least: int = 0, /, **values: int) -> None:
    """Raise where a named value is no whole number of at least `least`."""
    count(where, least, **values)


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
                f"{where}: {name} must be a whole number {upper}, but it is {shown(value)}"
            )


def seed(where: str, /, **values: int) -> None:
    """Raise where a named value is no whole number in [0, 2³²): others would be a seed twice."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
            raise ValueError(
                f"{where}: {name} must be a whole number in [0, 2**32), for a seed has 32 bits, "
                f"but it is {shown(value)}"
            )


def kind(where: str, wanted: type | tuple[type, ...], /, **values: Any) -> None:
    """Raise where a named value is not of the type that is wanted, or of one of several."""
    kinds = wanted if isinstance(wanted, tuple) else (wanted,)
    what = f"a {' or a '.join(one.__name__ for one in kinds)}"
    for name, value in values.items():
        if isinstance(value, type):  # which has what a protocol asks for, too
            raise ValueError(f"{where}: {name} must be {what}, but it is the class {value!r}")
    instance(where, kinds, what, **values)


def function(where: str, /, **values: Any) -> None:
    """Raise where a named value cannot be called."""
    for name, value in values.items():
        if not callable(value):
            raise ValueError(
                f"{where}: {name} must be a function, but it is {shown(value)}, a "
                f"{type(value).__name__}"
            )


def sequence(where: str, /, **values: Any) -> None:
    """Raise where a named value is no list, tuple or other sequence, or a word, which is one."""
    for name, value in values.items():
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise ValueError(
                f"{where}: {name} must be a list or a tuple, but it is {shown(value)}, a "
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


@contextmanager
def fitting(where: str, what: str) -> Iterator[None]:
    """Word what torch raises within for things that do not fit each other, but for no memory."""
    try:
        yield
    except (RuntimeError, IndexError, KeyError, TypeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise ValueError(f"{where}: {what}, but: {reason}") from error


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
    """Raise where a named tensor has not the axes that `axes` names, or none along one of them.

    `...` is any number of axes.
    """
    tensor(where, **tensors)
    names = axes.split()
    for name, x in tensors.items():
        fits = x.ndim >= len(names) - 1 if "..." in names else x.ndim == len(names)
        if not fits:
            raise ValueError(f"{where}: {name} must be [{axes}], but it is {tuple(x.shape)}")
        if not x.numel():
            raise ValueError(f"{where}: {name} must not be empty, but it is {tuple(x.shape)}")


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
        if x.dtype not in FLOATS:
            raise ValueError(
                f"{where}: {name} must be floating-point, but its dtype is {x.dtype}; 16, 32 and "
                "64 bits are what is computed in"
            )


def integral(where: str, **tensors: Tensor) -> None:
    """Raise where a named tensor does not hold whole numbers."""
    tensor(where, **tensors)
    for name, x in tensors.items():
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            raise ValueError(f"{where}: {name} must hold whole numbers, but its dtype is {x.dtype}")


def positive(where: str, **values: Scalar) -> None:
    """Raise where a number is not above zero; a tensor passes whose value is not to be read."""
    for name, number in _read(where, values):
        if not 0 < number < float("inf"):
            raise ValueError(
                f"{where}: {name} must be above zero and finite, but it is {shown(number)}"
            )
    _in_float32(where, values)


def temperature(where: str, **values: Scalar) -> None:
    """Raise where a number is not above zero, or its square, a factor of losses, not in float32."""
    positive(where, **values)
    for name, number in _read(where, values):
        if not SMALLEST <= number * number <= LARGEST:
            raise ValueError(
                f"{where}: {name} must have a square that float32 can hold, from {SMALLEST:g} to "
                f"{LARGEST:g}, but it is {shown(number)}"
            )


def between(where: str, low: float, high: float, **values: Scalar) -> None:
    """Raise where a number is not in [low, high]; tensors as in `positive`."""
    for name, number in _read(where, values):
        if not low <= number <= high:
            raise ValueError(
                f"{where}: {name} must lie in [{low}, {high}], but it is {shown(number)}"
            )
    _in_float32(where, values)


def share(where: str, **values: Scalar) -> None:
    """Raise where a number is not in [0, 1); tensors as in `positive`."""
    for name, number in _read(where, values):
        if not 0 <= number < 1:
            raise ValueError(f"{where}: {name} must lie in [0, 1), but it is {shown(number)}")
    _in_float32(where, values)


def not_negative(where: str, **values: Scalar) -> None:
    """Raise where a number is below zero or not finite; tensors as in `positive`."""
    for name, number in _read(where, values):
        if not 0 <= number < float("inf"):
            raise ValueError(
                f"{where}: {name} must be zero or more and finite, but it is {shown(number)}"
            )
    _in_float32(where, values)


def known(where: str, what: str, name: str, allowed: Iterable[str]) -> None:
    """Raise where a name is not one of those allowed."""
    allowed = list(allowed)
    if not isinstance(name, str) or name not in allowed:
        raise ValueError(
            f"{where}: {what} {shown(name)} is not known; choose from {', '.join(allowed)}"
        )


def near(where: str, what: str, name: str, allowed: Collection[str]) -> None:
    """Raise where a name is not one of those allowed, which are too many to tell them all."""
    if not isinstance(name, str) or name not in allowed:
        alike = difflib.get_close_matches(shown(name), allowed, n=8, cutoff=0.5)
        raise ValueError(
            f"{where}: {what} {shown(name)} is not known; "
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
