"""What a source does to the inputs of a batch, as pure functions `(inputs, key) -> inputs`."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from fkd import _check
from fkd._random import Key


@dataclass(frozen=True)
class Normalize:
    """(x − mean) / deviation by channel, with channels last in memory.

    `x` is the image in [0, 1]: uint8 is divided by 255 and becomes float32; floating-point images
    are taken as they are, and keep their dtype. Channels last makes pooling and convolution of
    small images several times faster on a CPU.

    Raises ValueError for a mean and a deviation that are not one number a channel each, for a
    deviation that is not above zero, and for images of other channels or of another dtype.

    >>> normalize = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    >>> normalize(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))[0, :, 0, 0]
    tensor([-2.1179, -2.0357, -1.8044])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                "Normalize: mean and std must hold one number for each channel, "
                f"but they hold {len(self.mean)} and {len(self.std)}"
            )
        for deviation in self.std:
            _check.positive("Normalize", std=deviation)

    def __call__(
        self, inputs: Shaped[Tensor, "*batch channels height width"], key: Key | None = None
    ) -> Float[Tensor, "*batch channels height width"]:
        _check.dimensions("Normalize", "... channels height width", images=inputs)
        if inputs.shape[-3] != len(self.mean):
            raise ValueError(
                f"Normalize: images must have {len(self.mean)} channels, as mean and std do, "
                f"but they are {tuple(inputs.shape)}"
            )
        if inputs.dtype != torch.uint8 and not inputs.is_floating_point():
            raise ValueError(
                f"Normalize: images must be uint8 in [0, 255] or floating-point in [0, 1], "
                f"but their dtype is {inputs.dtype}"
            )
        largest = 255 if inputs.dtype == torch.uint8 else 1
        # Numbers of Python's, for a CUDA graph cannot copy tensors of them from the CPU.
        channels = zip(inputs.unbind(-3), self.mean, self.std, strict=True)
        normal = [(channel / largest - mean) / deviation for channel, mean, deviation in channels]
        return torch.stack(normal, dim=-1).movedim(-1, -3)
