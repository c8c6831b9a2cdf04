"""Where the other loops get their batches."""

import torch
from rival_students import normalize

from benchmarks.speed.rivals import MEAN, STD, batches
from fkd.data import Normalize


def test_images_are_normalised_as_fkd_does(images):
    torch.testing.assert_close(normalize(images), Normalize(MEAN, STD)(images))


def test_pictures_are_the_images_normalised(images, labels):
    inputs, label, number = batches.Pictures(images, labels, numbered=True)[3]
    torch.testing.assert_close(inputs, normalize(images[3:4])[0])
    assert (label, number) == (3, 3)


def test_a_resident_loader_shows_every_example_once(images, labels):
    loader = batches.ResidentLoader(images, labels, batch_size=7, seed=0)
    assert len(loader) == 4  # of 24 examples
    seen = [index for _, _, index in loader]
    assert torch.cat(seen).sort().values.tolist() == list(range(24))
    assert [len(index) for index in seen] == [7, 7, 7, 3]
