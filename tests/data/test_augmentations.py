"""Augmentations and mixes by name."""

import pytest

from fkd.data import (
    Crop,
    CutMix,
    Cutout,
    Flip,
    MixUp,
    OneOf,
    RandAugment,
    ResizedCrop,
    chain,
    unchanged,
)
from fkd.data.augmentations import AUGMENTATIONS, MIXES, named


def test_names_come_in_the_order_they_are_given():
    augment, mix = named(["flip", "mixup", "crop"], size=32, classes=10)
    assert augment == chain(Flip(), Crop(padding=4))
    assert mix == MixUp(classes=10)


def test_every_name_is_there_at_the_papers_settings():
    augment, mix = named([*AUGMENTATIONS, *MIXES], size=32, classes=7)
    assert augment == chain(Crop(4), Flip(), ResizedCrop(), Cutout(16), RandAugment())
    assert mix == OneOf((MixUp(7, alpha=0.2), MixUp(7, alpha=1.0), CutMix(7, alpha=1.0)))


def test_no_names_are_no_augmentation():
    assert named([], size=32, classes=10) == (unchanged, None)
    assert named(["cutmix"], size=32, classes=10) == (unchanged, CutMix(10))


def test_a_name_that_is_not_known_or_comes_twice_is_refused():
    with pytest.raises(ValueError, match=r"'flop' is not known; choose from crop, flip, .*cutmix"):
        named(["crop", "flop"], size=32, classes=10)
    with pytest.raises(ValueError, match="'crop' comes twice"):
        named(["crop", "flip", "crop"], size=32, classes=10)
