"""Crops, flips, cutout against torchvision and torch's interpolate, and how they are drawn."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from fkd._random import Key
from fkd.data import Crop, Cutout, Flip, ResizedCrop
from fkd.data._geometry import resized


def key(step: int = 0) -> Key:
    return Key(torch.tensor(1), torch.tensor(step))


def _numbered(batch: int, height: int, width: int) -> Tensor:
    """Images whose pixels all differ, and none of which is 0."""
    pixels = torch.arange(1.0, 1 + 2 * height * width).reshape(1, 2, height, width)
    return pixels.expand(batch, -1, -1, -1)


def _which(shown: Tensor, candidates: Tensor) -> Tensor:
    """The number of the one candidate that each image is."""
    same = (shown.unsqueeze(1) == candidates.unsqueeze(0)).flatten(2).all(2)
    assert same.sum(1).eq(1).all()
    return same.int().argmax(1)


def test_what_is_not_said_is_as_torchvision_has_it():
    crop = v2.RandomResizedCrop(8)
    assert Flip() == Flip(v2.RandomHorizontalFlip().p)
    ours = ResizedCrop()
    assert (ours.scale, ours.ratio) == (tuple(crop.scale), tuple(crop.ratio))


@pytest.mark.parametrize("fill", [0, (7.5, -1.0)])
def test_a_crop_is_one_of_torchvisions_after_padding_and_each_is_as_likely(fill):
    images = _numbered(6000, 5, 4)
    borders = [fill, fill] if fill == 0 else list(fill)
    padded = torch.stack([F.pad(images[0, c], (2, 2, 2, 2), value=borders[c]) for c in range(2)])
    crops = [tvf.crop(padded, top, left, 5, 4) for top in range(5) for left in range(5)]
    counts = _which(Crop(padding=2, fill=fill)(images, key()), torch.stack(crops)).bincount()
    assert len(counts) == 25
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_a_crop_without_padding_changes_nothing():
    images = _numbered(3, 4, 4)
    assert torch.equal(Crop(padding=0)(images, key()), images)


@pytest.mark.parametrize("p", [0.0, 0.2, 1.0])
def test_a_flip_is_torchvisions_for_its_share_of_the_images(p):
    images = _numbered(4000, 2, 3)
    candidates = torch.stack([images[0], tvf.horizontal_flip(images[0])])
    number = int(_which(Flip(p)(images, key()), candidates).sum())
    assert stats.binomtest(number, 4000, p).pvalue > 1e-3


@pytest.mark.parametrize("size", [1, 2, 3, 4, 99])
def test_cutout_blanks_a_square_around_any_pixel_and_each_is_as_likely(size):
    images = _numbered(3000, 5, 4)
    squares = []
    for y in range(5):
        for x in range(4):
            blank = images[0].clone()
            top, left = y - size // 2, x - size // 2
            blank[:, max(top, 0) : top + size, max(left, 0) : left + size] = -2.0
            squares.append(blank)
    shown = Cutout(size, fill=-2.0)(images, key())
    if size == 99:  # larger than the image
        assert torch.equal(shown, torch.full_like(shown, -2.0))
        return
    counts = _which(shown, torch.stack(squares)).bincount()
    assert len(counts) == 20
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.uint8])
def test_a_resized_crop_is_torchs_interpolation_of_its_box(dtype):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (60, 3, 11, 8), generator=generator).to(dtype)
    augment = ResizedCrop()
    boxes = augment.boxes(images, key())
    shown = augment(images, key())
    assert torch.equal(shown, resized(images, *boxes))
    for image, result, *box in zip(images, shown, *boxes, strict=True):
        top, left, height, width = (int(number) for number in box)
        part = image[None, :, top : top + height, left : left + width]
        assert part.shape[2:] == (height, width)  # the box lies within the image
        exact = F.interpolate(part.double(), (11, 8), mode="bilinear", align_corners=False)[0]
        if dtype == torch.uint8:
            assert (result - exact).abs().max() <= 0.5 + 1e-3  # rounded
        else:
            atol = 1e-11 if dtype == torch.float64 else 1e-3
            torch.testing.assert_close(result.double(), exact, rtol=0, atol=atol)


def test_the_boxes_are_distributed_as_torchvisions():
    images = torch.zeros(4000, 1, 40, 32)
    top, left, height, width = (side.double() for side in ResizedCrop().boxes(images, key()))
    theirs = v2.RandomResizedCrop(32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [theirs.make_params([images[0]]) for _ in range(4000)]
    y, x, h, w = (
        torch.tensor([box[name] for box in drawn]).double()
        for name in ("top", "left", "height", "width")
    )
    for ours, other in ((height * width, h * w), (width / height, w / h), (top, y), (left, x)):
        test: Any = stats.ks_2samp(ours.numpy(), other.numpy())
        assert test.pvalue > 1e-3
    assert (height * width).min() >= 0.06 * 40 * 32  # 0.08, but for the rounding of the sides


@pytest.mark.parametrize(
    ("shape", "ratio", "expected"),
    [
        ((4, 40), (1.0, 1.0), (0, 18, 4, 4)),  # too wide: the middle of it
        ((40, 4), (1.0, 1.0), (18, 0, 4, 4)),  # too high
        ((4, 40), (0.5, 2.0), (0, 16, 4, 8)),
        ((40, 4), (0.5, 2.0), (16, 0, 8, 4)),
        ((8, 8), (0.5, 2.0), (0, 0, 8, 8)),
    ],
)
def test_where_no_box_fits_it_is_the_middle_of_the_image(shape, ratio, expected):
    # a square of the whole area does not fit an image that is none; a box of a square's does
    augment = ResizedCrop(scale=(1.0, 1.0), ratio=ratio if shape != (8, 8) else (1.0, 1.0))
    boxes = augment.boxes(torch.zeros(5, 1, *shape), key())
    assert [side.unique().tolist() for side in boxes] == [[number] for number in expected]


def test_a_box_of_the_whole_image_is_the_image():
    images = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ResizedCrop(scale=(1.0, 1.0), ratio=(1.0, 1.0))(images, key()), images)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crop(padding=-1), "padding must be a whole number in"),
        (lambda: Flip(p=1.5), r"p must lie in \[0, 1\]"),
        (lambda: Cutout(0), "size must be a whole number in"),
        (lambda: ResizedCrop(scale=(0.0, 1.0)), r"scale must be .*, but it is \(0.0, 1.0\)"),
        (lambda: ResizedCrop(scale=(0.5, 1.5)), r"scale must lie in \[0, 1\], but it is 1.5"),
        (lambda: ResizedCrop(ratio=(2.0, 1.0)), r"ratio must be .*, but it is \(2.0, 1.0\)"),
        (lambda: ResizedCrop(ratio=(1.0, math.inf)), "ratio must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
