"""What all augmentations of images share: a door, random numbers, what fills an empty place."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from fkd import _check, _random
from fkd._draws._stream import Stream
from fkd._random import Key

LARGEST_SIDE = 2**20  # pixels of an image, which no image reaches

Images = Shaped[Tensor, "*members batch channels height width"]

Fill = float | int | tuple[float | int, ...]
"""What fills a place that no image covers, in the images' own units: one number for all channels,
or one for each."""

# These draws are not to be those of a student whose seed is the key's.
_AUGMENTATION = 0x61756721


@dataclass(frozen=True)
class Augmentation(ABC):
    """A random change of images: a pure function `(images, key) -> images`, and so a `Transform`.

    Images are uint8 or floating-point [batch, channels, height, width], or with an axis of members
    in front, and keep shape and dtype. Without a key nothing changes. What is drawn for an example
    depends on the key and on its number in the whole batch alone (`Key.first`): so parts of a batch
    are augmented as the whole would be, on however many ranks. With one key, members draw the same
    for what stands at one place in the batch; in a training in which each reads batches of its own,
    each has a key of its own (`Transform`).

    Raises ValueError for inputs that are no such images, and for what is no key. One of your own
    gives `augment`.
    """

    def __call__(self, inputs: Images, key: Key | None = None) -> Images:
        check_images(type(self).__name__, inputs)
        if key is not None:
            _check.kind(type(self).__name__, Key, key=key)
        return inputs if key is None else self.augment(inputs, key)

    def check(self, inputs: Any, targets: Any = None) -> None:
        """Raise ValueError where the inputs of a whole source are no such images."""
        check_images(type(self).__name__, inputs)

    @abstractmethod
    def augment(self, images: Images, key: Key) -> Images:
        """The images as they are shown with this key."""


def check_images(where: str, images: Any) -> None:
    """Raise unless there is one tensor [..., batch, channels, height, width], uint8 or floating."""
    if not isinstance(images, Tensor):
        raise ValueError(
            f"{where}: the inputs must be one tensor of images, but they are a "
            f"{type(images).__name__}; give a function (inputs, key) -> inputs of your own, which "
            "picks the images out of them"
        )
    _check.tensor(where, images=images)
    if images.ndim < 4:
        raise ValueError(
            f"{where}: images must be [... batch channels height width], but it is "
            f"{tuple(images.shape)}"
        )
    if 0 in images.shape[-3:]:
        raise ValueError(f"{where}: images must have pixels, but they are {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(
            f"{where}: images must be uint8 or floating-point, but their dtype is {images.dtype}"
        )


def check_levels_dtype(where: str, images: Tensor) -> None:
    """Raise unless images are uint8 or floating-point, of which the range is known."""
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(
            f"{where}: images must be uint8 in [0, 255] or floating-point in [0, 1], but their "
            f"dtype is {images.dtype}; divide them by the largest value of their format, which is "
            "65,535 for 16 bits"
        )


def check_levels(where: str, images: Tensor) -> None:
    """Raise unless images are uint8 in [0, 255] or floating-point in [0, 1], to 0.001.

    The tolerance is for what resizing leaves of rounding.
    """
    check_levels_dtype(where, images)
    if images.dtype == torch.uint8 or images.is_meta or images.numel() == 0:
        return
    low, high = float(images.min()), float(images.max())
    if low >= -1e-3 and high <= 1 + 1e-3:  # false for what is no number
        return
    if low >= 0 and 1 < high <= 255:
        do = "if they are in [0, 255], give them as uint8 or divide them by 255"
    else:
        do = "if they are normalised already, leave the normalisation out, or give the raw images"
    raise ValueError(
        f"{where}: floating-point images must lie in [0, 1], but they reach from {low:.4g} to "
        f"{high:.4g}; {do}"
    )


def draws(key: Key, images: Images) -> Stream:
    """The random numbers of a batch, by the key and an example's number in the whole batch alone:
    members' batches that are read with one key get the same."""
    return Stream(key._replace(seed=_random.fold(key.seed, _AUGMENTATION)), images.shape[-4])


def by_example(numbers: Shaped[Tensor, " batch"]) -> Shaped[Tensor, "batch 1 1 1"]:
    """One number an example, to be broadcast over its pixels."""
    return numbers.reshape(-1, 1, 1, 1)


def check_fill(where: str, fill: Fill) -> None:
    """Raise where `fill` is neither a number nor a tuple of some."""
    values = fill if isinstance(fill, tuple) else (fill,)
    if not values:
        raise ValueError(f"{where}: fill must be a number, or one for each channel, but it is ()")
    for value in values:
        _check.plain(where, fill=value)
        _check.scalar(where, fill=value)


def colour(where: str, images: Images, fill: Fill) -> Tensor:
    """`fill` as a tensor of the images' dtype, to be broadcast over them.

    Raises ValueError for another number of channels, and for what uint8 cannot hold.
    """
    values = fill if isinstance(fill, tuple) else (fill,)
    if isinstance(fill, tuple) and len(fill) != images.shape[-3]:
        raise ValueError(
            f"{where}: fill must be one number, or one for each of the {images.shape[-3]} "
            f"channels, but it holds {len(fill)}"
        )
    for value in values:
        if images.dtype == torch.uint8 and not (0 <= value <= 255 and value == int(value)):
            raise ValueError(
                f"{where}: for uint8 images fill must be a whole number in [0, 255], but it is "
                f"{value}"
            )
    # Filled from numbers of Python's, for a CUDA graph cannot copy a tensor from the CPU.
    return torch.stack([images.new_full((1, 1), value) for value in values])


def pick(
    images: Images,
    rows: Int[Tensor, "batch height"],
    columns: Int[Tensor, "batch width"],
) -> Images:
    """Pixel (rows[i, y], columns[i, x]) of image i at (y, x); beyond the border, the border's."""
    height, width = images.shape[-2:]
    rows = rows.clamp(0, height - 1)[:, None, :, None]
    columns = columns.clamp(0, width - 1)[:, None, None, :]
    return images.gather(-2, rows.expand(images.shape)).gather(-1, columns.expand(images.shape))
