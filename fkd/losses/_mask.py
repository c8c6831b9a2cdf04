"""A mask over positions: where it is False a loss and its gradient are zero, whatever stands there.

The arguments are filled before, so that no NaN is ever computed with (zero times NaN is NaN), and
the value is zeroed behind.
"""

import torch
from torch import Tensor

from fkd import _check


def check_mask(where: str, student: Tensor, mask: Tensor | None) -> None:
    """Raise unless there is no mask, or one boolean for each position of the student's logits."""
    if mask is None:
        return
    _check.tensor(where, student=student, mask=mask)
    if mask.dtype != torch.bool:
        raise ValueError(
            f"{where}: mask must be boolean, True where a position counts, but its dtype is "
            f"{mask.dtype}; for ones and zeros give mask.bool()"
        )
    if mask.shape != student.shape[:-1]:
        raise ValueError(
            f"{where}: student must be [..., classes] and mask [...], but student is "
            f"{tuple(student.shape)} and mask is {tuple(mask.shape)}; nothing is broadcast"
        )


def filled(mask: Tensor | None, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, [...] or [..., classes], with zeros where the mask [...] is False."""
    if mask is None:
        return tensors
    out = ~mask
    return tuple(x.masked_fill(out if x.ndim == out.ndim else out[..., None], 0) for x in tensors)


def zeroed(mask: Tensor | None, value: Tensor) -> Tensor:
    """The value [...] with zeros where the mask is False."""
    return value if mask is None else value.masked_fill(~mask, 0.0)
