"""Augmentations that move or blank pixels, each an example's own: crop, flip, cutout.

What all augmentations have in common is said at `fkd.data.Augmentation`.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fkd import _check
from fkd._random import Key
from fkd.data._images import (
    LARGEST_SIDE,
    Augmentation,
    Fill,
    Images,
    by_example,
    check_fill,
    colour,
    draws,
    pick,
)

_ATTEMPTS = 10  # at a box that fits, as torchvision's


@dataclass(frozen=True)
class Crop(Augmentation):
    """A random crop of the image's own size after padding by `padding` pixels on every side.

    Each of the (2·padding + 1)² crops is as likely as the others. `fill` is in the images' own
    units: 0 is black in raw images, before normalisation, as torchvision's RandomCrop has it.

    Raises ValueError for a padding that is no whole number of zero or more, and a fill that is no
    number.

    He et al., "Deep Residual Learning for Image Recognition" (2016), section 4.2, with padding 4
    for CIFAR-10.

    >>> key = Key(torch.tensor(0), torch.tensor(0))
    >>> Crop(padding=1)(torch.ones(1, 1, 2, 2), key).sum() in (1, 2, 4)
    True
    """

    padding: int = 4
    fill: Fill = 0

    def __post_init__(self) -> None:
        _check.count("Crop", least=0, most=LARGEST_SIDE, padding=self.padding)
        check_fill("Crop", self.fill)

    def augment(self, images: Images, key: Key) -> Images:
        batch, height, width = images.shape[-4], *images.shape[-2:]
        draw = draws(key, images)
        rows = _span(draw.integers((batch,), -self.padding, self.padding + 1), height)
        columns = _span(draw.integers((batch,), -self.padding, self.padding + 1), width)
        inside = ((rows >= 0) & (rows < height))[:, None, :, None]
        inside = inside & ((columns >= 0) & (columns < width))[:, None, None, :]
        return torch.where(inside, pick(images, rows, columns), colour("Crop", images, self.fill))


@dataclass(frozen=True)
class Flip(Augmentation):
    """Left becomes right, with probability `p`.

    Raises ValueError for p outside [0, 1].

    >>> key = Key(torch.tensor(0), torch.tensor(0))
    >>> Flip(p=1.0)(torch.tensor([[[[1.0, 2.0]]]]), key)
    tensor([[[[2., 1.]]]])
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        _check.plain("Flip", p=self.p)
        _check.between("Flip", 0, 1, p=self.p)

    def augment(self, images: Images, key: Key) -> Images:
        flipped = draws(key, images).unit((images.shape[-4],), torch.float32) < self.p
        return torch.where(by_example(flipped), images.flip(-1), images)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """A square of `size` pixels a side is blanked, at a centre uniform over the image's pixels.

    At the border only a part of the square lies on the image. `fill` is in the images' own units:
    the authors blank after normalisation, which is to fill raw images with the data's mean; the
    default is black.

    Raises ValueError for a size that is no whole number of at least one, and a fill that is no
    number.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout"
    (2017), section 3, with 16 pixels for CIFAR-10 and 8 for CIFAR-100.

    >>> key = Key(torch.tensor(0), torch.tensor(0))
    >>> Cutout(size=1)(torch.ones(1, 1, 3, 3), key).sum()
    tensor(8.)
    """

    size: int
    fill: Fill = 0

    def __post_init__(self) -> None:
        _check.count("Cutout", most=LARGEST_SIDE, size=self.size)
        check_fill("Cutout", self.fill)

    def augment(self, images: Images, key: Key) -> Images:
        batch, height, width = images.shape[-4], *images.shape[-2:]
        draw = draws(key, images)
        rows = self._covered(draw.integers((batch,), 0, height), height)
        columns = self._covered(draw.integers((batch,), 0, width), width)
        square = rows[:, None, :, None] & columns[:, None, None, :]
        return torch.where(square, colour("Cutout", images, self.fill), images)

    def _covered(self, centre: Int[Tensor, " batch"], side: int) -> Bool[Tensor, "batch side"]:
        place = _span(self.size // 2 - centre, side)  # in the square
        return (place >= 0) & (place < self.size)


@dataclass(frozen=True)
class ResizedCrop(Augmentation):
    """A random box of the image, resized to the image's own size, bilinearly.

    As torchvision's RandomResizedCrop: the box's share of the area is uniform in `scale`, the
    logarithm of its width over its height uniform between those of `ratio`; of ten such boxes the
    first is taken that fits, at a place uniform over those it fits in, and the whole image, cut to
    `ratio`, where none does. There is no antialiasing, which torchvision has by default: a box is
    seldom much larger than the image that it becomes. uint8 images are rounded.

    Raises ValueError for a scale and a ratio that are no pairs of numbers, for a scale outside
    (0, 1], and for a ratio that is not above zero.

    Szegedy et al., "Going Deeper with Convolutions" (2015), section 6.

    >>> key = Key(torch.tensor(0), torch.tensor(0))
    >>> ResizedCrop()(torch.full((1, 3, 4, 4), 7.0), key).unique()
    tensor([7.])
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        for name, pair in (("scale", self.scale), ("ratio", self.ratio)):
            _check.sequence("ResizedCrop", **{name: pair})
            if len(pair) != 2:
                raise ValueError(
                    f"ResizedCrop: {name} must be (low, high), but it is {pair!r:.100}"
                )
            low, high = pair
            _check.plain("ResizedCrop", **{f"{name}[0]": low, f"{name}[1]": high})
            if not 0 < low <= high < math.inf:
                raise ValueError(
                    f"ResizedCrop: {name} must be (low, high) with 0 < low <= high, but it is "
                    f"({low}, {high})"
                )
            _check.scalar("ResizedCrop", **{f"{name}[0]": low, f"{name}[1]": high})
        _check.between("ResizedCrop", 0, 1, scale=self.scale[1])

    def augment(self, images: Images, key: Key) -> Images:
        return resized(images, *self.boxes(images, key))

    def boxes(self, images: Images, key: Key) -> tuple[Int[Tensor, " batch"], ...]:
        """The top, left, height and width of each example's box, in pixels."""
        batch, height, width = images.shape[-4], *images.shape[-2:]
        draw = draws(key, images)
        shape = (batch, _ATTEMPTS)
        area = _between(draw.unit(shape, torch.float32), *self.scale) * (height * width)
        low, high = (math.log(end) for end in self.ratio)
        ratio = _between(draw.unit(shape, torch.float32), low, high).exp()
        heights, widths = (area / ratio).sqrt().round().long(), (area * ratio).sqrt().round().long()
        fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
        first = fits.int().argmax(1, keepdim=True)
        whole = _cut(height, width, *self.ratio)
        any_fits, results = fits.any(1), []
        for sides, side, fallback in ((heights, height, whole[0]), (widths, width, whole[1])):
            length = sides.gather(1, first).squeeze(1)
            length = torch.where(any_fits, length, torch.full_like(length, fallback))
            room = side - length
            place = draw.bits((batch,)) * (room + 1) >> 32  # uniform in [0, room]
            results.append((torch.where(any_fits, place, room // 2), length))
        (top, box_height), (left, box_width) = results
        return top, left, box_height, box_width


def resized(
    images: Images,
    top: Int[Tensor, " batch"],
    left: Int[Tensor, " batch"],
    height: Int[Tensor, " batch"],
    width: Int[Tensor, " batch"],
) -> Images:
    """Each image's box, resized to the whole image: bilinear, corners not aligned."""
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    values = images.to(dtype)
    values = _lines(values, top, height, -2)
    values = _lines(values, left, width, -1)
    return (values if images.is_floating_point() else values.round()).to(images.dtype)


def _lines(
    values: Float[Tensor, "*members batch channels height width"],
    start: Int[Tensor, " batch"],
    length: Int[Tensor, " batch"],
    axis: int,
) -> Float[Tensor, "*members batch channels height width"]:
    """Lines from `start` on, `length` of them, stretched over the whole of an axis."""
    side = values.shape[axis]
    centre = torch.arange(side, device=values.device, dtype=values.dtype) + 0.5
    place = (centre * (length.to(values.dtype) / side)[:, None] - 0.5).clamp(min=0)
    before = place.floor()
    weight = place - before
    before = before.long()
    after = torch.minimum(before + 1, length[:, None] - 1)
    view = (-1, 1, side, 1) if axis == -2 else (-1, 1, 1, side)
    one, other = (
        values.gather(axis, (start[:, None] + line).reshape(view).expand(values.shape))
        for line in (before, after)
    )
    return one + (other - one) * weight.reshape(view)


def _span(start: Int[Tensor, " batch"], length: int) -> Int[Tensor, "batch length"]:
    """start, start + 1 ... of each example."""
    return start[:, None] + torch.arange(length, device=start.device)


def _between(unit: Float[Tensor, "*shape"], low: float, high: float) -> Float[Tensor, "*shape"]:
    return low + (high - low) * unit


def _cut(height: int, width: int, low: float, high: float) -> tuple[int, int]:
    """The largest height and width of a box whose width over its height lies in [low, high]."""
    if width / height < low:
        return min(height, round(width / low)), width
    if width / height > high:
        return height, min(width, round(height * high))
    return height, width
