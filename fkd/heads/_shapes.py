"""What heads are sized from, shapes without their batch axis; and whether tensors are of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fkd import _check

Arguments = dict[str, Tensor]  # what a joint head gives its loss, by argument
SHAPE = "a shape without its batch axis, as torch.Size([8, 4, 4])"
MAPS = "batch channels height width"


def check_shapes(where: str, **shapes: Sequence[int]) -> None:
    """Raise where a named value is no tuple of whole numbers from one up, as torch.Size is one."""
    for name, shape in shapes.items():
        _check.instance(where, tuple, SHAPE, **{name: shape})
        _check.whole(where, 1, **{f"{name}[{axis}]": size for axis, size in enumerate(shape)})


def pairs(
    where: str, student: tuple[torch.Size, ...], target: tuple[torch.Size, ...]
) -> list[tuple[torch.Size, torch.Size]]:
    """Each shape of the student beside that of its target; raises where one has none."""
    for name, shapes in (("student", student), ("target", target)):
        _check.instance(where, tuple, "a tuple of shapes", **{name: shapes})
        check_shapes(where, **{f"{name}[{level}]": shape for level, shape in enumerate(shapes)})
    if len(student) != len(target) or not student:
        raise ValueError(
            f"{where}: student and target must be as many shapes, at least one, but they are "
            f"{len(student)} and {len(target)}"
        )
    return list(zip(student, target, strict=True))


def channels(where: str, student: torch.Size, target: torch.Size) -> tuple[int, int]:
    """The channels of two maps; raises ValueError where a side is none."""
    check_shapes(where, student=student, target=target)
    if len(student) != 3 or len(target) != 3:
        raise ValueError(
            f"{where}: it joins feature maps [channels, height, width], but the student's is "
            f"{tuple(student)} and the target's is {tuple(target)}; of tokens and vectors "
            "`heads.align` makes maps"
        )
    return student[0], target[0]


def check_batch(where: str, **tensors: Tensor) -> None:
    """Raise unless the named tensors are [batch, ...] of one batch, and floating-point."""
    _check.dimensions(where, "batch ...", **tensors)
    _check.floating(where, **tensors)
    first, *others = tensors
    for name in others:
        _check.agree(where, "batch", **{first: tensors[first], name: tensors[name]})


def check_inputs(where: str, weight: Tensor, **tensors: Tensor) -> None:
    """As `check_batch`, and unless the head whose weight that is can compute with the tensors.

    They are where the weight is, and of its dtype, which under autocast they need not be.
    """
    check_batch(where, **tensors)
    for name, x in tensors.items():
        device = "cpu" if x.is_meta else x.device.type  # autocast knows no meta device
        alike = x.dtype == weight.dtype or torch.is_autocast_enabled(device)
        if x.device != weight.device or not alike:
            raise ValueError(
                f"{where}: {name} must be of {weight.dtype} on {weight.device}, as the head is, "
                f"but it is of {x.dtype} on {x.device}"
            )


def check_maps(where: str, channels: int, **maps: Tensor) -> None:
    """Raise where a named tensor is no map of so many channels."""
    _check.dimensions(where, MAPS, **maps)
    for name, x in maps.items():
        if x.shape[1] != channels:
            raise ValueError(
                f"{where}: {name} must have {channels} channels, but it is {tuple(x.shape)}"
            )


def check_normalised(where: str, training: bool, **maps: Tensor) -> None:
    """Raise where a BatchNorm in training has one value a channel alone, which is its own mean."""
    for name, x in maps.items():
        if training and x.numel() == x.shape[1]:
            raise ValueError(
                f"{where}: {name} must have two values a channel or more, for its BatchNorm is in "
                f"training, but it is {tuple(x.shape)}; give more examples, or call eval()"
            )


def check_index(where: str, student: Tensor, index: Tensor, examples: int) -> None:
    """Raise unless the index has the number of one of so many for each example of the student's."""
    _check.tensor(where, student=student, index=index)
    _check.integral(where, index=index)
    if index.shape != student.shape[:1]:
        raise ValueError(
            f"{where}: index must be [batch], but it is {tuple(index.shape)} and student is "
            f"{tuple(student.shape)}"
        )
    for number in _check.extremes(index) or ():
        if not 0 <= number < examples:
            raise ValueError(
                f"{where}: index must lie in [0, {examples}), for there are {examples} examples, "
                f"but there is {number}"
            )
