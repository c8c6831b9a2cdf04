"""Resizing against Pillow's, and in whatever way a step runs it."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.func import vmap

from fkd.data import Normalize
from fkd.data._resize import resize_then, resized, with_channels

IMAGES = torch.randint(256, (2, 5, 3, 9, 7), generator=torch.Generator().manual_seed(0)).byte()
NORMALIZE = Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


@pytest.mark.parametrize("side", [4, 9, 20])
def test_images_are_resized_as_pillow_does(side):
    squares = resized(IMAGES[0], side)
    for square, image in zip(squares, IMAGES[0], strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        expected = picture.resize((side, side), Image.Resampling.BILINEAR)
        difference = square.permute(1, 2, 0).numpy().astype(int) - np.asarray(expected)
        assert np.abs(difference).max() <= 1  # Pillow rounds after each axis
    assert squares.dtype == torch.uint8


def test_images_of_the_size_are_left_as_they_are():
    images = IMAGES[..., :7, :]
    assert torch.equal(resized(images, 7), images)


def test_floating_point_images_are_not_rounded_before():
    images = torch.full((1, 1, 2, 2), 0.4)
    images[..., 0] = 1.4  # the mean of each row is 0.9
    assert resized(images, 1).flatten().tolist() == [1]


@pytest.mark.plain
def test_a_step_resizes_members_compiled_or_mapped_alike():
    transform = partial(resize_then, 12, NORMALIZE)
    expected = torch.stack([NORMALIZE(resized(images, 12)) for images in IMAGES])
    assert torch.equal(transform(IMAGES, None), expected)
    assert torch.equal(vmap(transform)(IMAGES), expected)
    compiled = torch.compile(transform, fullgraph=True)(IMAGES[0], None)
    torch.testing.assert_close(compiled, expected[0], rtol=0, atol=1e-6)


def test_a_grey_image_is_repeated_and_nothing_else_is_made_up():
    grey = IMAGES[0, :, :1]
    assert torch.equal(with_channels("here", grey, 3), grey.expand(-1, 3, -1, -1))
    assert with_channels("here", IMAGES[0], 3) is not None
    with pytest.raises(ValueError, match=r"here: its images have 3 channels, .* but it is 1"):
        with_channels("here", IMAGES[0], 1)
