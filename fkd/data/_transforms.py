"""What a source does to the inputs of a batch, as pure functions `(inputs, key) -> inputs`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.utils._pytree import tree_map

from fkd import _check
from fkd._random import Key
from fkd.data._images import check_levels, check_levels_dtype
from fkd.data._source import Transform, apart, check_examples


@dataclass(frozen=True)
class Normalize:
    """(x − mean) / deviation by channel, with channels last in memory.

    `x` is the image in [0, 1]: uint8 is divided by 255 and becomes float32; floating-point images
    must lie in [0, 1] already, are taken as they are, and keep their dtype. Channels last makes
    pooling and convolution of small images several times faster on a CPU.

    Raises ValueError for a mean and a deviation that are not one number a channel each, for a
    deviation that is not above zero, for numbers of which float32 cannot hold 255 times as much,
    and for images of other channels or of another dtype, such as 16 bits: divide those by 65,535.
    When a source is made of them it raises ValueError too for floating-point images that leave
    [0, 1] by more than 0.001, as those do that are normalised already or lie in [0, 255].

    >>> normalize = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    >>> normalize(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))[0, :, 0, 0]
    tensor([-2.1179, -2.0357, -1.8044])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        _check.sequence("Normalize", mean=self.mean, std=self.std)
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(
                "Normalize: mean and std must hold one number for each channel, "
                f"but they hold {len(self.mean)} and {len(self.std)}"
            )
        for mean in self.mean:
            _check.plain("Normalize", mean=mean)
            _check.scalar("Normalize", mean=mean)
            _check.scalar("Normalize", **{"255 * mean": 255.0 * mean})  # in levels of 8 bits
        for deviation in self.std:
            _check.plain("Normalize", std=deviation)
            _check.positive("Normalize", std=deviation)
            _check.scalar("Normalize", **{"255 * std": 255.0 * deviation})

    def check(self, inputs: Any, targets: Any = None) -> None:
        """Raise ValueError where a source's inputs are no raw images."""
        if isinstance(inputs, Tensor):  # other trees have transforms of their own
            check_levels("Normalize", inputs)

    def __call__(
        self, inputs: Shaped[Tensor, "*batch channels height width"], key: Key | None = None
    ) -> Float[Tensor, "*batch channels height width"]:
        _check.tensor("Normalize", images=inputs)
        if inputs.ndim < 3:
            raise ValueError(
                "Normalize: images must be [... channels height width], but it is "
                f"{tuple(inputs.shape)}"
            )
        if inputs.shape[-3] != len(self.mean):
            raise ValueError(
                f"Normalize: images must have {len(self.mean)} channels, as mean and std do, "
                f"but they are {tuple(inputs.shape)}"
            )
        check_levels_dtype("Normalize", inputs)
        largest = 255 if inputs.dtype == torch.uint8 else 1
        dtype = torch.float32 if inputs.dtype == torch.uint8 else inputs.dtype
        wide = torch.promote_types(dtype, torch.float32)  # for halves round the constants
        channels_last = inputs.movedim(-3, -1)
        mean = _filled(inputs, [largest * mean for mean in self.mean], wide)
        deviation = _filled(inputs, [largest * deviation for deviation in self.std], wide)
        # In the order in memory that the images have, and laid out anew once, at the end.
        normal = (channels_last - mean) / deviation
        return normal.to(dtype).contiguous().movedim(-1, -3)


def _filled(like: Tensor, numbers: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Numbers of Python's as a tensor; filled, for a CUDA graph cannot copy one from the CPU."""
    return torch.stack([like.new_full((), number, dtype=dtype) for number in numbers])


@dataclass(frozen=True)
class Chain:
    """Transforms one after the other, each with a key of its own: what `chain` makes."""

    transforms: tuple[Transform, ...]

    def check(self, inputs: Any, targets: Any = None) -> None:
        """Raise ValueError where a source's examples do not fit: each transform looks at what those
        before it make of them, the first at all, and any other at the first hundred."""
        for number, transform in enumerate(self.transforms):
            check_examples(transform, inputs, targets)
            if number < len(self.transforms) - 1:
                inputs = transform(tree_map(_head, inputs), None)

    def __call__(self, inputs: Any, key: Key | None = None) -> Any:
        for number, transform in enumerate(self.transforms):
            inputs = transform(inputs, None if key is None else apart(key, number))
        return inputs


def chain(*transforms: Transform) -> Chain:
    """Transforms one after the other, each with random numbers of its own.

    Raises ValueError for what is no function.

    >>> normalize = chain(Normalize(mean=(0.5,), std=(0.5,)), Normalize(mean=(1.0,), std=(2.0,)))
    >>> normalize(torch.full((1, 1, 1, 1), 0.5)).item()
    -0.5
    """
    for transform in transforms:
        _check.function("chain", transform=transform)
    return Chain(transforms)


def _head(leaf: Tensor) -> Tensor:
    return leaf[:100]
