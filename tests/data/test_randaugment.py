"""RandAugment: each operation against torchvision's, and which are drawn."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from fkd._random import Key
from fkd.data import RandAugment
from fkd.data._randaugment import OPERATIONS, changed

KEY = Key(torch.tensor(2), torch.tensor(3))


def _images() -> Tensor:
    """Smooth images, an even one, one of noise, and one that is darkened to few levels."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(6, 3, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (24, 32), mode="bicubic").clamp(0, 1) * 255
    images[1] = 90.0
    images[2] = torch.rand(3, 24, 32, generator=generator) * 255
    images[3] /= 7
    return images.round().byte()


def _theirs(name: str, image: Tensor, magnitude: float, sign: int) -> Tensor:
    """torchvision's RandAugment's operation of this name."""
    share = magnitude / 30
    shear = math.degrees(math.atan(sign * 0.3 * share))
    right, down = (sign * int(150 / 331 * side * share) for side in (32, 24))
    factor = 1 + sign * 0.9 * share
    match name:
        case "identity":
            return image
        case "shear-x":
            return tvf.affine(image, 0.0, [0, 0], 1.0, [shear, 0.0], center=[0, 0])
        case "shear-y":
            return tvf.affine(image, 0.0, [0, 0], 1.0, [0.0, shear], center=[0, 0])
        case "translate-x":
            return tvf.affine(image, 0.0, [right, 0], 1.0, [0.0, 0.0])
        case "translate-y":
            return tvf.affine(image, 0.0, [0, down], 1.0, [0.0, 0.0])
        case "rotate":
            return tvf.rotate(image, sign * 30 * share)
        case "brightness":
            return tvf.adjust_brightness(image, factor)
        case "colour":
            return tvf.adjust_saturation(image, factor)
        case "contrast":
            return tvf.adjust_contrast(image, factor)
        case "sharpness":
            return tvf.adjust_sharpness(image, factor)
        case "posterize":
            return tvf.posterize(image, 8 - round(4 * share))
        case "solarize":
            return tvf.solarize(image, 255 * (1 - share))
        case "autocontrast":
            return tvf.autocontrast(image)
    return tvf.equalize(image)


def _ours(name: str, images: Tensor, magnitude: float, sign: int) -> Tensor:
    which = torch.full((len(images),), OPERATIONS.index(name))
    signs = torch.full((len(images),), sign)
    fill = torch.zeros(1, 1, 1)
    return changed(images.float(), which, signs, magnitude / 30, fill).byte()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("magnitude", [0, 9, 17.5, 30])
def test_an_operation_is_torchvisions(name, channels, magnitude):
    images = _images()[:, :channels]
    for sign in (1, -1):
        ours = _ours(name, images, magnitude, sign)
        theirs = torch.stack([_theirs(name, image, magnitude, sign) for image in images])
        wrong = (ours.int() - theirs.int()).abs()
        if name in ("brightness", "colour", "contrast", "sharpness", "autocontrast"):
            # theirs rounds down, and so a level too far where float32 falls short of a whole one
            assert wrong.max() <= 1
        elif name in ("shear-x", "shear-y", "rotate"):
            # a pixel whose place is between two within the rounding of float32
            assert (wrong > 0).float().mean() < 0.005
        else:
            assert wrong.max() == 0


def _exact(name: str, x: np.ndarray, factor: float) -> np.ndarray:
    """What torchvision rounds, in whole numbers and float64."""
    low, high = x.min((2, 3), keepdims=True), x.max((2, 3), keepdims=True)
    if name == "autocontrast":
        return np.where(low == high, x, (x - low) * 255 // np.maximum(high - low, 1))
    grey = (2989 * x[:, :1] + 5870 * x[:, 1:2] + 1140 * x[:, 2:]) // 10_000
    poorer = {"brightness": 0 * x, "colour": grey, "contrast": grey.mean((1, 2, 3), keepdims=True)}
    if name == "sharpness":
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3)).sum((-2, -1))
        poorer[name] = x.copy()
        poorer[name][..., 1:-1, 1:-1] = np.rint((windows + 4 * x[..., 1:-1, 1:-1]) / 13)
    blend = poorer[name] + (x - poorer[name]) * factor
    return np.floor(np.clip(blend, 0, 255) + 1e-9).astype(np.int64)


@pytest.mark.parametrize("name", ["brightness", "colour", "contrast", "sharpness", "autocontrast"])
@pytest.mark.parametrize("magnitude", [0, 9, 17, 30])
def test_what_torchvision_rounds_is_exact(name, magnitude):
    for sign in (1, -1):
        expected = _exact(name, _images().numpy().astype(np.int64), 1 + sign * 0.03 * magnitude)
        wrong = _ours(name, _images(), magnitude, sign).numpy() != expected
        # a mean is no whole number, and ours counts as whole what is so to a thousandth
        assert wrong.mean() <= (2e-3 if name == "contrast" else 0)


def test_each_example_has_an_operation_of_its_own():
    images = _images()[[0, 4, 5, 0, 4]]
    names = ("equalize", "rotate", "colour", "identity", "posterize")
    which = torch.tensor([OPERATIONS.index(name) for name in names])
    signs = torch.tensor([1, -1, -1, 1, 1])
    together = changed(images.float(), which, signs, 0.3, torch.zeros(1, 1, 1)).byte()
    for number, name in enumerate(names):
        alone = _ours(name, images[[number]], 9, int(signs[number]))
        assert torch.equal(together[[number]], alone)


def test_what_an_image_does_not_cover_is_filled():
    which = torch.tensor([OPERATIONS.index("translate-x")])
    fill = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    shown = changed(torch.full((1, 3, 4, 20), 9.0), which, torch.tensor([1]), 1.0, fill)
    assert shown[0, :, 0, :9].unique(dim=1).tolist() == [[1.0], [2.0], [3.0]]  # 9.06 pixels
    assert shown[..., 9:].unique().tolist() == [9.0]
    white = RandAugment(operations=4, magnitude=30, fill=1.0)(torch.ones(64, 1, 8, 8), KEY)
    # posterized white has 4 bits left, solarized it is black, darkened it is not quite
    assert (white.flatten(1) == 1).all(1).sum() > 16
    assert torch.equal(
        RandAugment(magnitude=30, fill=255)((torch.ones(64, 1, 8, 8) * 255).byte(), KEY) / 255,
        RandAugment(magnitude=30, fill=1)(torch.ones(64, 1, 8, 8), KEY),
    )


def test_every_operation_is_as_likely_and_every_sign():
    # one of noise, on which no two of the operations and signs do the same
    image = _images()[2]
    results = [(_ours(n, image[None], 9, s)[0], n) for n in OPERATIONS for s in (1, -1)]
    images = image.expand(4200, -1, -1, -1)
    shown = RandAugment(operations=1, magnitude=9)(images, KEY)
    counts = dict.fromkeys(map(str, OPERATIONS), 0)
    signed = []
    known: list[Tensor] = []
    for result, name in results:
        if any(torch.equal(result, other) for other in known):
            continue  # an operation that knows no sign
        known.append(result)
        number = int((shown == result).flatten(1).all(1).sum())
        counts[name] += number
        if OPERATIONS.index(name) in range(1, 10):
            signed.append(number)
    assert sum(counts.values()) == 4200
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
    assert len(signed) == 18
    assert stats.chisquare(signed).pvalue > 1e-3


def test_floating_point_images_are_changed_as_their_levels():
    images = _images()
    whole = RandAugment()(images, KEY)
    assert torch.equal((RandAugment()(images.double() / 255, KEY) * 255).round().byte(), whole)


def test_images_of_other_channels_keep_their_colour():
    images = torch.randint(256, (4, 5, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    assert torch.equal(_ours("colour", images, 9, 1), images)
    assert _ours("equalize", images, 9, 1).shape == images.shape


@pytest.mark.parametrize("side", [1, 2])
def test_images_of_a_few_pixels_are_not_sharpened(side):
    images = torch.full((2, 3, side, side), 7, dtype=torch.uint8)
    assert torch.equal(_ours("sharpness", images, 30, 1), images)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandAugment(operations=0), "operations must be a whole number of at least 1"),
        (lambda: RandAugment(magnitude=31), r"magnitude must lie in \[0, 30\], but it is 31"),
        (
            lambda: RandAugment().check(torch.tensor([[[[-1.0, 2.0]]]])),
            r"must lie in \[0, 1\], but they reach from -1 to 2; if they are normalised already",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
