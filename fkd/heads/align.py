"""A student's output and a target in one form, by functions without parameters, for `Term.align`.

Forms, behind the batch axis: vectors [width], tokens [tokens, width], maps [channels, height,
width]. A pair that agrees already is returned as it is. Of maps, the larger is average-pooled to
the smaller, axis by axis. Tokens are laid row by row on the other side's map, and else on a square;
where there is one more than that takes, the first is a class token, and is left away. Widths and
channels stay what they are: those are for heads to join. Whatever does not fit raises ValueError.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from fkd import _check

GRIDS = (
    "maps [channels, height, width], and tokens [tokens, width] that fill the other side's map or "
    "a square, with or without a class token in front"
)


def features(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors beside vectors, as many tokens beside tokens, and else maps of one size.

    >>> import torch
    >>> [tuple(x.shape) for x in features(torch.ones(2, 9, 4), torch.ones(2, 9, 5))]
    [(2, 9, 4), (2, 9, 5)]
    >>> [tuple(x.shape) for x in features(torch.ones(2, 9, 4), torch.ones(2, 5, 6, 6))]
    [(2, 4, 3, 3), (2, 5, 3, 3)]
    """
    return _features("features", student, teacher)


def _features(where: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    _check_pair(where, student, teacher)
    alike = student.ndim == teacher.ndim <= 3 and student.shape[1:-1] == teacher.shape[1:-1]
    if alike or student.shape == teacher.shape:
        return student, teacher
    fitting = f"vectors on both sides, as many tokens on both, {GRIDS}"
    return _pooled(*_grids(where, student, teacher, fitting))


def positions(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """As `features`, with every one a map: a vector of one position, tokens of one column.

    For heads and losses that see channels and positions, but not which positions are neighbours.

    >>> import torch
    >>> [tuple(x.shape) for x in positions(torch.ones(2, 10, 4), torch.ones(2, 10, 5))]
    [(2, 4, 10, 1), (2, 5, 10, 1)]
    """
    student, teacher = _features("positions", student, teacher)
    return _column(student), _column(teacher)


def maps(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both as maps of one size.

    >>> import torch
    >>> [tuple(x.shape) for x in maps(torch.ones(2, 17, 4), torch.ones(2, 5, 8, 8))]
    [(2, 4, 4, 4), (2, 5, 4, 4)]
    """
    _check_pair("maps", student, teacher)
    return _pooled(*_grids("maps", student, teacher, GRIDS))


def grids(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both as maps, each of its own size, for losses that see to that themselves.

    >>> import torch
    >>> [tuple(x.shape) for x in grids(torch.ones(2, 17, 4), torch.ones(2, 5, 8, 8))]
    [(2, 4, 4, 4), (2, 5, 8, 8)]
    """
    _check_pair("grids", student, teacher)
    return _grids("grids", student, teacher, GRIDS)


def _check_pair(where: str, student: Tensor, teacher: Tensor) -> None:
    _check.dimensions(where, "batch ...", student=student, teacher=teacher)
    _check.agree(where, "batch", student=student, teacher=teacher)
    _check.floating(where, student=student, teacher=teacher)


def _grids(where: str, student: Tensor, teacher: Tensor, fitting: str) -> tuple[Tensor, Tensor]:
    s, t = _grid(student, teacher), _grid(teacher, student)
    if s is None or t is None:
        raise ValueError(
            f"{where}: the student's output {tuple(student.shape[1:])} and the target "
            f"{tuple(teacher.shape[1:])} have no form in common: what fits are {fitting}"
        )
    return s, t


def _grid(x: Tensor, beside: Tensor) -> Tensor | None:
    """`x` as a map [batch, channels, height, width]; None where it is none."""
    if x.ndim == 4:
        return x
    if x.ndim != 3:
        return None
    tokens = x.shape[1]
    side = math.isqrt(tokens)
    sizes = [tuple(beside.shape[2:])] if beside.ndim == 4 else []
    for height, width in [*sizes, (side, side)]:
        class_token = tokens - height * width
        if class_token in (0, 1):
            return x[:, class_token:].mT.unflatten(-1, (height, width))
    return None


def _pooled(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    return _to_size(student, size), _to_size(teacher, size)


def _to_size(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size)


def _column(x: Tensor) -> Tensor:
    if x.ndim == 2:
        return x[..., None, None]
    return x.mT[..., None] if x.ndim == 3 else x
