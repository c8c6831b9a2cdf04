"""The teacher's statistics against NumPy, in both dtypes, and its door."""

import numpy as np
import pytest
import torch

from fkd.data import Normalize
from fkd.teachers import Renormalize

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5,) * 3, (0.5,) * 3


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 2, 3, 4, 5)])
def test_images_are_as_the_teacher_would_have_normalised_them(shape):
    pixels = torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    own = Renormalize(*IMAGENET, *HALVES)(Normalize(*IMAGENET)(pixels))
    expected = (np.asarray(pixels) - 0.5) / 0.5
    np.testing.assert_allclose(own, expected, rtol=0, atol=1e-14)
    assert own.dtype == torch.float64


def test_the_same_constants_change_nothing():
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Renormalize(*IMAGENET, *IMAGENET)(x), x)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("constants", "message"),
    [
        (((0.1, 0.2), (1.0,), (0.1,), (1.0,)), r"one number for each channel.*\[2, 1, 1, 1\]"),
        (((0.1,), (1.0,), (0.1, 0.2), (1.0, 1.0)), r"\[1, 1, 2, 2\]"),
        (((), (), (), ()), r"\[0, 0, 0, 0\]"),
        (((0.1,), (0.0,), (0.1,), (1.0,)), "source_std must be above zero and finite, but it is 0"),
        (((0.1,), (1.0,), (0.1,), (0.0,)), "teacher_std must be above zero and finite"),
    ],
)
def test_constants_that_make_no_sense_are_refused(constants, message):
    with pytest.raises(ValueError, match=message):
        Renormalize(*constants)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 4, 4), r"must have 3 channels.*\(2, 1, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4).byte(), "must be floating-point, but its dtype is torch.uint8"),
        (torch.zeros(2, 3), r"must be \[... channels height width\]"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        Renormalize(*IMAGENET, *HALVES)(images)
