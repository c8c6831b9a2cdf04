"""Augmentations and mixes by name."""

import pytest
import torch
from torch import Tensor

from fkd._random import Key
from fkd.data import (
    Crop,
    CutMix,
    Cutout,
    Flip,
    MixUp,
    OneOf,
    RandAugment,
    Resident,
    ResizedCrop,
    chain,
    unchanged,
)
from fkd.data._resize import resized
from fkd.data.augmentations import AUGMENTATIONS, MIXES, named

IMAGES = torch.randint(255, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
KEY = Key(torch.tensor(3), torch.tensor(5))


def test_names_come_in_the_order_they_are_given():
    augment, mix = named(["flip", "mixup", "crop"], classes=10)
    expected = chain(Flip(), Crop(padding=4))
    assert torch.equal(augment(IMAGES, KEY), expected(IMAGES, KEY))
    assert mix == MixUp(classes=10)


def test_every_name_is_there_at_the_papers_settings():
    augment, mix = named([*AUGMENTATIONS, *MIXES], classes=7)
    expected = chain(Crop(4), Flip(), ResizedCrop(), Cutout(16), RandAugment())
    assert torch.equal(augment(IMAGES, KEY), expected(IMAGES, KEY))
    assert mix == OneOf((MixUp(7, alpha=0.2), CutMix(7, alpha=1.0)))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (24, 40), (8, 8), (1, 1)])
def test_crops_and_squares_are_by_the_side_of_the_images_that_they_see(height, width):
    images, side = IMAGES.repeat(1, 1, 2, 2)[..., :height, :width], min(height, width)
    augment, _ = named(["crop", "cutout"], classes=10)
    expected = chain(Crop(side // 8), Cutout(max(1, side // 2)))
    assert torch.equal(augment(images, KEY), expected(images, KEY))


def test_images_that_are_resized_within_the_step_are_augmented_by_the_size_that_they_have():
    augment, _ = named(["cutout"], classes=10)
    plain = Resident(IMAGES + 1, {"labels": torch.arange(6)}, transform=_at_128)
    seen = plain.augmented(augment).read(torch.arange(6), KEY).inputs
    blank = (seen == 0).all(1).double().mean((1, 2))
    assert blank.max() <= 0.25  # a square of half the side, and not the whole image


def _at_128(images: Tensor, key: Key | None = None) -> Tensor:
    return resized(images, 128)


@pytest.mark.plain
def test_what_an_augmentation_by_name_refuses_is_refused_when_it_is_added():
    with pytest.raises(ValueError, match="Crop: the inputs must be one tensor of images"):
        Resident({"a": IMAGES}, {}).augmented(AUGMENTATIONS["crop"])


def test_no_names_are_no_augmentation():
    assert named([], classes=10) == (unchanged, None)
    assert named(["cutmix"], classes=10) == (unchanged, CutMix(10))


def test_a_name_that_is_not_known_or_comes_twice_is_refused():
    with pytest.raises(ValueError, match=r"'flop' is not known; choose from crop, flip, .*cutmix"):
        named(["crop", "flop"], classes=10)
    with pytest.raises(ValueError, match="'crop' comes twice"):
        named(["crop", "flip", "crop"], classes=10)
