"""RandAugment: each example is changed by operations of its own, all examples at once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from fkd import _check
from fkd._random import Key
from fkd.data._images import (
    Augmentation,
    Fill,
    Images,
    by_example,
    check_fill,
    check_levels,
    colour,
    draws,
)

OPERATIONS = (
    "identity",
    "shear-x",
    "shear-y",
    "translate-x",
    "translate-y",
    "rotate",
    "brightness",
    "colour",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
STRONGEST = 30  # the largest magnitude


@dataclass(frozen=True)
class RandAugment(Augmentation):
    """`operations` changes in a row, each drawn by each example from the 14 of the paper.

    At magnitude m of 30, with a random sign where one makes a difference: shear by 0.01 m,
    translation by 0.0151 m of the side in whole pixels, rotation by m degrees; brightness, colour,
    contrast and sharpness times 1 ± 0.03 m; posterize keeps 8 − round(m / 7.5) bits, solarize
    inverts levels from 255 (1 − m / 30) on; autocontrast, equalize and the identity know no
    magnitude. The bank, its strengths and its formulas are those of torchvision's RandAugment;
    what is moved takes its nearest pixel, and `fill`, in the images' own units, where there is
    none.

    Images are raw: uint8, or floating-point in [0, 1], which are rounded to the 256 levels on which
    the operations are defined. Colour leaves images alone that have not three channels, and
    contrast then takes the mean over all channels for grey. All operations are computed for all
    examples and one is chosen. Members and parts of
    a batch are as in `Augmentation`.

    Raises ValueError for fewer operations than one, a magnitude outside [0, 30], a fill that is no
    number, and for images that are not raw, where the source is made.

    Cubuk et al., "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space"
    (2020), section 3.

    >>> key = Key(torch.tensor(0), torch.tensor(0))
    >>> RandAugment()(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), key).shape
    torch.Size([2, 3, 32, 32])
    """

    operations: int = 2
    magnitude: float = 9
    fill: Fill = 0

    def __post_init__(self) -> None:
        _check.count("RandAugment", operations=self.operations)
        _check.plain("RandAugment", magnitude=self.magnitude)
        check_fill("RandAugment", self.fill)
        _check.between("RandAugment", 0, STRONGEST, magnitude=self.magnitude)

    def check(self, inputs: Any, targets: Any = None) -> None:
        """Raise ValueError where the inputs of a whole source are no raw images."""
        super().check(inputs)
        check_levels("RandAugment", inputs)

    def augment(self, images: Images, key: Key) -> Images:
        fill = colour("RandAugment", images, self.fill)
        whole = images.dtype == torch.uint8
        levels = images.float() if whole else (images.float() * 255).round()
        fill = fill.float() if whole else fill.float() * 255
        draw = draws(key, images)
        batch = (images.shape[-4],)
        for _ in range(self.operations):
            which = draw.integers(batch, 0, len(OPERATIONS))
            sign = 1 - 2 * draw.integers(batch, 0, 2)
            levels = changed(levels, which, sign, self.magnitude / STRONGEST, fill)
        return (levels if whole else levels / 255).to(images.dtype)


def changed(
    levels: Float[Tensor, "*members batch channels height width"],
    which: Int[Tensor, " batch"],
    sign: Int[Tensor, " batch"],
    strength: float,
    fill: Float[Tensor, "#channels 1 1"],
) -> Float[Tensor, "*members batch channels height width"]:
    """Whole levels in [0, 255] after operation `which` of `OPERATIONS`, one an example.

    `sign` is 1 or −1, and `strength` in [0, 1].
    """
    levels = _moved(levels, which, sign, strength, fill)
    which, factor = by_example(which), 1 + by_example(sign) * (0.9 * strength)
    levels = _blended(levels, which, factor)
    pixels = levels.flatten(-2).long()
    return _mapping(levels, pixels, which, factor, strength).gather(-1, pixels).view_as(levels)


def _is(which: Tensor, name: str) -> Tensor:
    return which == OPERATIONS.index(name)


def _number(which: Int[Tensor, " batch"], by_name: Mapping[str, float]) -> Float[Tensor, " batch"]:
    """The number of each example's operation, zero for those that are not named."""
    return torch.stack([_is(which, name) * value for name, value in by_name.items()]).sum(0)


def _moved(
    levels: Float[Tensor, "*members batch channels height width"],
    which: Int[Tensor, " batch"],
    sign: Int[Tensor, " batch"],
    strength: float,
    fill: Float[Tensor, "#channels 1 1"],
) -> Float[Tensor, "*members batch channels height width"]:
    """Sheared, translated or rotated: each pixel is the one that an affine map says lies there.

    Shears keep the upper left corner, rotations the middle.
    """
    height, width = levels.shape[-2:]
    angle, shear, far = math.radians(30 * strength), 0.3 * strength, 150 / 331 * strength
    turned = by_example(_is(which, "rotate"))
    sine = math.sin(angle)
    a = torch.where(turned, math.cos(angle), 1.0)
    b = by_example(sign * _number(which, {"shear-x": shear, "rotate": -sine}))
    c = by_example(sign * _number(which, {"shear-y": shear, "rotate": sine}))
    right = by_example(sign * _number(which, {"translate-x": far * width // 1}))
    down = by_example(sign * _number(which, {"translate-y": far * height // 1}))
    x0, y0 = turned * (width / 2), turned * (height / 2)
    x = torch.arange(width, device=levels.device) + 0.5 - x0
    y = torch.arange(height, device=levels.device).unsqueeze(1) + 0.5 - y0
    column = (a * x + b * y + x0 - right).floor().long()  # [batch, 1, height, width]
    row = (c * x + a * y + y0 - down).floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(-2)
    flat = levels.flatten(-2)
    moved = flat.gather(-1, place.expand(flat.shape)).unflatten(-1, (height, width))
    return torch.where(inside, moved, fill)


def _blended(
    levels: Float[Tensor, "*members batch channels height width"],
    which: Int[Tensor, "batch 1 1 1"],
    factor: Float[Tensor, "batch 1 1 1"],
) -> Float[Tensor, "*members batch channels height width"]:
    """Colour and sharpness: from a poorer image, `factor` of the way to this one."""
    poorer = torch.where(_is(which, "sharpness"), _smooth(levels), levels)
    if levels.shape[-3] == 3:
        poorer = torch.where(_is(which, "colour"), _grey(levels), poorer)
    return _between(poorer, levels, factor)


def _mapping(
    levels: Float[Tensor, "*members batch channels height width"],
    pixels: Int[Tensor, "*members batch channels pixels"],
    which: Int[Tensor, "batch 1 1 1"],
    factor: Float[Tensor, "batch 1 1 1"],
    strength: float,
) -> Float[Tensor, "*members batch channels 256"]:
    """What each level becomes, in the operations that do not ask where a pixel is."""
    which, factor = which.squeeze(-1), factor.squeeze(-1)
    level = torch.arange(256, device=levels.device, dtype=levels.dtype)
    mean = _grey(levels).mean((-3, -2, -1)).unsqueeze(-1).unsqueeze(-1)
    coarse = 2.0 ** round(4 * strength)
    mapping = level.expand(*pixels.shape[:-1], 256)
    for name, other in (
        ("brightness", _between(torch.zeros_like(level), level, factor)),
        ("contrast", _between(mean, level, factor)),
        ("posterize", (level / coarse).floor() * coarse),
        ("solarize", torch.where(level >= 255 * (1 - strength), 255 - level, level)),
        ("autocontrast", _stretched(level, pixels)),
        ("equalize", _equalized(pixels).to(level.dtype)),
    ):
        mapping = torch.where(_is(which, name), other, mapping)
    return mapping


def _between(poorer: Tensor, levels: Tensor, factor: Tensor) -> Tensor:
    return _whole((poorer + (levels - poorer) * factor).clamp(0, 255))


def _whole(levels: Tensor) -> Tensor:
    """Rounded down, where a number that is whole but for its rounding error counts as whole."""
    return (levels + 1e-3).floor()


def _grey(
    levels: Float[Tensor, "*members batch channels height width"],
) -> Float[Tensor, "*members batch 1 height width"]:
    if levels.shape[-3] != 3:
        return levels.mean(-3, keepdim=True)
    red, green, blue = levels.split(1, dim=-3)
    weighted = 2989 * red + 5870 * green + 1140 * blue  # of ITU-R BT.601; exact in float32
    return ((weighted + 0.5) / 10_000).floor()


def _smooth(
    levels: Float[Tensor, "*members batch channels height width"],
) -> Float[Tensor, "*members batch channels height width"]:
    """The mean of the 3x3 pixels around, the middle counted five times; the border as it is."""
    height, width = levels.shape[-2:]
    if height < 3 or width < 3:
        return levels
    lines = levels[..., :-2, :] + levels[..., 1:-1, :] + levels[..., 2:, :]
    nine = lines[..., :-2] + lines[..., 1:-1] + lines[..., 2:]
    inner = ((nine + 4 * levels[..., 1:-1, 1:-1]) / 13).round()
    row = torch.arange(height, device=levels.device).unsqueeze(1)
    column = torch.arange(width, device=levels.device)
    border = (row == 0) | (row == height - 1) | (column == 0) | (column == width - 1)
    return torch.where(border, levels, F.pad(inner, (1, 1, 1, 1)))


def _stretched(
    level: Float[Tensor, " 256"], pixels: Int[Tensor, "*members batch channels pixels"]
) -> Float[Tensor, "*members batch channels 256"]:
    """Each channel from its lowest and highest level to 0 and 255."""
    low, high = pixels.amin(-1, keepdim=True), pixels.amax(-1, keepdim=True)
    stretched = _whole((level - low) * 255 / (high - low).clamp(min=1)).clamp(0, 255)
    return torch.where(low == high, level, stretched)


def _equalized(
    pixels: Int[Tensor, "*members batch channels pixels"],
) -> Int[Tensor, "*members batch channels 256"]:
    """Each channel with its levels as even as a mapping of levels makes them, as PIL does it.

    Level v becomes (pixels below v + step/2) / step, rounded down, where a step is 1/255 of the
    pixels that have not the highest level, rounded down; where it is none, nothing changes.
    """
    counts = torch.zeros_like(pixels[..., :1]).expand(*pixels.shape[:-1], 256)
    counts = counts.scatter_add(-1, pixels, torch.ones_like(pixels))
    highest = pixels.amax(-1, keepdim=True)
    step = (pixels.shape[-1] - counts.gather(-1, highest)) // 255
    level = (counts.cumsum(-1) - counts + step // 2) // step.clamp(min=1)
    same = torch.arange(256, device=pixels.device)
    return torch.where(step == 0, same, level.clamp(max=255))
