"""What labels may be: each example's class, its probabilities, or classes at many places in it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

IGNORED = -100  # what torch's losses pass over: a place of dense labels that has no class
# How far from 1 probabilities may sum, which bfloat16's rounding stays within.
ROUNDING = 0.01


def check_labels(where: str, labels: Tensor) -> None:
    """Raise where labels are neither whole numbers nor rows [examples, classes] of probabilities.

    Probabilities are not below zero, and a row's sum is 1 within 0.01.
    """
    if not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool):
        return
    if labels.ndim != 2 or not labels.is_floating_point():
        raise ValueError(
            f"{where}: labels must hold whole numbers, or each example's probabilities "
            f"[examples, classes], but they are {labels.dtype} {tuple(labels.shape)}; of classes "
            "give labels.long(), and a target of another kind another name, such as 'values'"
        )
    if labels.is_meta:  # shapes alone
        return
    exact = torch.promote_types(labels.dtype, torch.float32)
    fits = ((labels.sum(-1, dtype=exact) - 1).abs() <= ROUNDING) & (labels >= 0).all(-1)
    if not fits.all():
        row = int(fits.long().argmin())
        raise ValueError(
            f"{where}: floating-point labels are probabilities, none below zero and each row's sum "
            f"1, but example {row} has {labels[row].tolist()!s:.60}, whose sum is "
            f"{float(labels[row].sum(dtype=exact)):.4g}; where an example is of several classes, "
            "give the target another name, such as 'tags', and match it by a loss of your own"
        )


def check_classes(where: str, labels: Tensor, classes: int) -> None:
    """Raise where labels are not int64 in [0, classes), or probabilities of so many classes.

    Dense labels, those of more than one axis, may also be -100, where a place has no class.
    """
    if labels.is_floating_point():
        if labels.shape[-1] != classes:
            raise ValueError(
                f"{where}: labels must hold a probability of each of the {classes} classes, "
                f"but they are {tuple(labels.shape)}"
            )
        return
    if labels.dtype != torch.int64:
        raise ValueError(
            f"{where}: labels must be int64, or probabilities in floating point, but they are "
            f"{labels.dtype} {tuple(labels.shape)}; give labels.long()"
        )
    if labels.is_meta:
        return
    values = labels[labels != IGNORED] if dense(labels) else labels
    low, high = (int(values.min()), int(values.max())) if values.numel() else (0, -1)
    if low < 0 or high >= classes:
        ignored = f", or be {IGNORED}" if dense(labels) else ""
        raise ValueError(
            f"{where}: labels must lie in [0, {classes}), one number for each of the {classes} "
            f"classes{ignored}, but they reach from {low} to {high}"
        )


def dense(labels: Tensor) -> bool:
    """Whether labels are classes at many places in an example."""
    return labels.ndim > 1 and not labels.is_floating_point()


def strata(labels: Tensor) -> Tensor:
    """A number for each example [examples], by which a random share is drawn evenly.

    It is the class, of probabilities the likeliest; with dense labels all examples have the same.
    """
    if dense(labels):
        return labels.new_zeros(len(labels))
    return labels.argmax(-1) if labels.is_floating_point() else labels


def class_numbers(numbers: Any, examples: int) -> Tensor | None:
    """Labels as torchvision's data sets list them, or None for anything else."""
    if isinstance(numbers, Tensor) and numbers.shape == (examples,):
        return numbers
    if not isinstance(numbers, Sequence) or len(numbers) != examples:
        return None
    whole = all(isinstance(number, int) for number in numbers)
    return torch.tensor(numbers) if whole else None
