"""Augmentations by name are sized by the images that there are."""

import pytest
import torch

from fkd.compare._command.prepare import augmented
from fkd.data import Crop, Data, MixUp, Resident, chain


def of(inputs: torch.Tensor) -> Data:
    source = Resident(inputs, {"labels": torch.arange(len(inputs)) % 2}, batch_size=2)
    return Data("mine", ("even", "odd"), source, source)


def test_an_augmentation_sees_images_of_the_side_that_they_are_held_at():
    augment, mix = augmented(("crop", "mixup"), of(torch.zeros(4, 3, 64, 48)))
    assert augment == chain(Crop(padding=6)) and mix == MixUp(2)


def test_what_are_no_images_are_refused():
    with pytest.raises(
        ValueError, match=r"^--augment: it takes images .*, but an example is \(5,\)"
    ):
        augmented(("flip",), of(torch.zeros(4, 5)))


def test_nothing_is_augmented_where_nobody_asks():
    assert augmented((), of(torch.zeros(4, 5))) == (None, None)
