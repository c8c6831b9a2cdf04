"""Inputs in the student's statistics taken to the teacher's own."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd._random import Key


@dataclass(frozen=True)
class Renormalize:
    """Images normalised with the source's mean and deviation, as the teacher's own normalise them:
    (x · source_std + source_mean − teacher_mean) / teacher_std by channel.

    It is a teacher's `transform`, where the source's transform ends in `Normalize(source_mean,
    source_std)` and the teacher was trained with other constants.

    Raises ValueError for constants that are not one number a channel each, for a deviation that is
    not above zero, and for images of other channels or that are not floating-point.

    >>> own = Renormalize((0.5,), (0.25,), teacher_mean=(0.0,), teacher_std=(0.5,))
    >>> own(torch.tensor([-2.0, 0.0, 2.0]).reshape(3, 1, 1, 1)).flatten()  # images of 0, ½ and 1
    tensor([0., 1., 2.])
    """

    source_mean: tuple[float, ...]
    source_std: tuple[float, ...]
    teacher_mean: tuple[float, ...]
    teacher_std: tuple[float, ...]

    def __post_init__(self) -> None:
        constants = self.source_mean, self.source_std, self.teacher_mean, self.teacher_std
        for name in ("source_mean", "source_std", "teacher_mean", "teacher_std"):
            numbers = getattr(self, name)
            _check.sequence("Renormalize", **{name: numbers})
            for number in numbers:
                _check.plain("Renormalize", **{name: number})
                _check.scalar("Renormalize", **{name: number})
        lengths = [len(numbers) for numbers in constants]
        if len(set(lengths)) > 1 or not lengths[0]:
            raise ValueError(
                "Renormalize: source_mean, source_std, teacher_mean and teacher_std must hold one "
                f"number for each channel, but they hold {lengths}"
            )
        for deviation in self.source_std:
            _check.positive("Renormalize", source_std=deviation)
        for deviation in self.teacher_std:
            _check.positive("Renormalize", teacher_std=deviation)

    def __call__(
        self, inputs: Float[Tensor, "*batch channels height width"], key: Key | None = None
    ) -> Float[Tensor, "*batch channels height width"]:
        _check.floating("Renormalize", images=inputs)
        if inputs.ndim < 3:
            raise ValueError(
                "Renormalize: images must be [... channels height width], but it is "
                f"{tuple(inputs.shape)}"
            )
        if inputs.shape[-3] != len(self.source_mean):
            raise ValueError(
                f"Renormalize: images must have {len(self.source_mean)} channels, as the constants "
                f"do, but they are {tuple(inputs.shape)}"
            )
        # Numbers of Python's, for a CUDA graph cannot copy tensors of them from the CPU.
        own = [
            channel * (source_std / std) + (source_mean - mean) / std
            for channel, source_mean, source_std, mean, std in zip(
                inputs.unbind(-3),
                self.source_mean,
                self.source_std,
                self.teacher_mean,
                self.teacher_std,
                strict=True,
            )
        ]
        return torch.stack(own, dim=-1).movedim(-1, -3)
