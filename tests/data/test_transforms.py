"""Normalisation against torchvision's, and what it refuses."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms.v2 import functional as tvf

from fkd._random import Key
from fkd.data import Crop, Normalize, Resident, Streamed, chain


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
        ((2e36,), (0.2,), r"255 \* mean must be zero or from .* but it is 5.1e\+38"),
        ((0.5,), (2e36,), r"255 \* std must be zero or from .* but it is 5.1e\+38"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Normalize(mean, std)


def _source(images: torch.Tensor, transform=None) -> Resident:
    normalize = transform or Normalize(*_statistics(3))
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    return Resident(images, {"labels": labels}, transform=normalize)


RAW = _images(4, 3, 4, 4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (tvf.normalize(RAW / 255, [0.5] * 3, [0.2] * 3), "if they are normalised already, leave"),
        (RAW.float(), r"; if they are in \[0, 255\], give them as uint8 or divide"),
        (
            RAW.double() / 255 + 0.01,
            "must lie in .0, 1., but they reach from 0.01[0-9]* to 1.0[0-9]*; if",
        ),
        (RAW.float() / 0, "must lie in .0, 1.,"),  # no numbers
        (RAW / 255 - 0.1, "if they are normalised already, leave"),
        (RAW.short(), "dtype is torch.int16; divide them by the largest .* 65,535 for 16 bits"),
        (RAW.to(torch.uint16), "dtype is torch.uint16"),
    ],
)
def test_images_that_are_not_raw_are_refused_where_the_source_is_made(images, message):
    with pytest.raises(ValueError, match="Normalize: .*" + message):
        _source(images)
    loader = DataLoader(TensorDataset(images, torch.zeros(4).long()), batch_size=2)
    with pytest.raises(ValueError, match=r"Normalize: .*images must "):
        next(Streamed(loader, transform=Normalize(*_statistics(3))).feeds(0, 0))
    with pytest.raises(ValueError, match=r"(Normalize|Crop): .*images must "):
        _source(images, chain(Crop(), Normalize(*_statistics(3))))


RESIZED = (RAW / 255).index_fill(-1, torch.tensor(0), 1.0009).index_fill(-1, torch.tensor(1), -9e-4)


@pytest.mark.parametrize("images", [RAW, RAW / 255, RESIZED, RAW.to("meta")])
def test_raw_images_are_taken(images):
    assert _source(images).examples == 4


def _to_unit(images: torch.Tensor, key: Key | None = None) -> torch.Tensor:
    return images / 255


def test_a_chain_shows_each_what_those_before_it_make():
    once = Normalize(*_statistics(3))
    levels = RAW.float()
    source = _source(levels, chain(_to_unit, once))
    assert torch.equal(source.read(torch.arange(4)).inputs, once(levels / 255))
    with pytest.raises(ValueError, match="if they are normalised already"):
        _source(RAW, chain(once, once))


def _add_draw(inputs: torch.Tensor, key: Key | None = None) -> torch.Tensor:
    return inputs if key is None else inputs + key.seed


def test_a_chain_goes_in_order_and_each_has_a_key_of_its_own():
    zero, key = torch.zeros(1, dtype=torch.int64), Key(torch.tensor(3), torch.tensor(5))
    one, two, three = (int(chain(*[_add_draw] * n)(zero, key)) for n in (1, 2, 3))
    assert len({one, two - one, three - two, 3}) == 4
    double = chain(_add_draw, lambda inputs, key=None: 2 * inputs)
    assert int(double(zero, key)) == 2 * one
    assert chain(_add_draw, _add_draw)(zero) == zero
    assert chain()(zero, key) is zero
