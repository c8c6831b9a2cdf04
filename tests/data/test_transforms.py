"""Normalisation against torchvision's, and what it refuses."""

import pytest
import torch
from torchvision.transforms.v2 import functional as tvf

from fkd.data import Normalize


def _images(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0)).byte()


def _statistics(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean = tuple(0.4 + 0.01 * channel for channel in range(channels))
    return mean, tuple(0.2 + 0.01 * channel for channel in range(channels))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_normalize_is_torchvisions_for_any_number_of_channels(channels):
    images, (mean, std) = _images(5, channels, 4, 4), _statistics(channels)
    scaled = tvf.to_dtype(images, torch.float32, scale=True)
    normal = Normalize(mean, std)(images)
    torch.testing.assert_close(normal, tvf.normalize(scaled, list(mean), list(std)))
    assert normal.is_contiguous(memory_format=torch.channels_last)


def test_floating_point_images_are_taken_as_they_are():
    images, (mean, std) = _images(2, 3, 4, 4).double() / 255, _statistics(3)
    normal = Normalize(mean, std)(images)
    expected = tvf.normalize(images, list(mean), list(std))
    torch.testing.assert_close(normal, expected, rtol=0, atol=1e-14)
    assert normal.dtype == torch.float64
    assert Normalize(mean, std)(images.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("lead", [(), (6,), (2, 3), (1, 2, 3)])
def test_any_axes_may_lead(lead):
    images, normalize = _images(6, 3, 4, 4), Normalize(*_statistics(3))
    few = images[0] if lead == () else images.reshape(*lead, 3, 4, 4)
    expected = normalize(images)[0] if lead == () else normalize(images).reshape(few.shape)
    assert torch.equal(normalize(few), expected)


def test_two_of_the_same_numbers_are_the_same():
    assert Normalize((0.5,), (0.2,)) == Normalize((0.5,), (0.2,))
    assert hash(Normalize((0.5,), (0.2,))) == hash(Normalize((0.5,), (0.2,)))


@pytest.mark.plain
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 4, 4), r"must have 3 channels.* but they are \(2, 1, 4, 4\)"),
        (torch.zeros(4, 4), r"must be \[... channels height width\], but it is \(4, 4\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.int64), "uint8 .* but their dtype is torch.int64"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        Normalize(*_statistics(3))(images)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5,), (0.2, 0.2), "one number for each channel, but they hold 1 and 2"),
        ((), (), "one number for each channel, but they hold 0 and 0"),
        ((0.5,), (0.0,), "std must be above zero"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Normalize(mean, std)
