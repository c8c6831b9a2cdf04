"""Which transform may come late, and that it is the source's own."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from fkd.data import Crop, MixUp, Normalize, Resident, Streamed, chain
from fkd.data._late import late_transform
from fkd.data._source import unchanged

NORMALIZE = Normalize((0.2, 0.4, 0.6), (0.3, 0.2, 0.1))


def images() -> torch.Tensor:
    return torch.randint(256, (6, 3, 4, 4), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_normalisation_comes_late_and_augmentation_before_it(kind):
    labels = torch.arange(6)
    source = Resident(images(), {"labels": labels}, batch_size=2, transform=NORMALIZE)
    if kind == "streamed":
        data = TensorDataset(images(), labels)
        source = Streamed(DataLoader(data, batch_size=2), transform=NORMALIZE)
    source = source.augmented(Crop(1))
    raw, late = late_transform(source)
    assert late is NORMALIZE
    feed: Any = next(source.feeds(seed=0, epoch=0))
    bytes_, normal = raw.read(feed), source.read(feed)
    assert bytes_.inputs.dtype == torch.uint8
    torch.testing.assert_close(late(bytes_.inputs, None), normal.inputs, rtol=0, atol=0)
    assert bytes_.targets["labels"].equal(normal.targets["labels"])


def test_images_that_a_loader_gives_are_looked_at_as_before():
    normalised = images() / 255 - 0.5
    loader = DataLoader(TensorDataset(normalised), batch_size=2)
    raw, _ = late_transform(Streamed(loader, transform=NORMALIZE))
    with pytest.raises(ValueError, match=r"Normalize: floating-point images must lie in \[0, 1\]"):
        next(raw.feeds(seed=0, epoch=0))


class Noisy(Normalize):
    """Which draws from the key."""


class Doubled(Resident):
    """Which reads otherwise."""


class DoubledStream(Streamed):
    """The same."""


@pytest.mark.parametrize(
    "source",
    [
        Resident(images(), {}, transform=Noisy(NORMALIZE.mean, NORMALIZE.std)),
        Doubled(images(), {}, transform=NORMALIZE),
        DoubledStream(DataLoader(TensorDataset(images()), batch_size=2), transform=NORMALIZE),
    ],
)
def test_what_inherits_may_do_more_and_stays(source):
    assert late_transform(source) == (source, unchanged)


@pytest.mark.parametrize("transform", [unchanged, chain(NORMALIZE), chain(Crop(1), NORMALIZE)])
def test_any_other_transform_stays(transform):
    source = Resident(images(), {}, transform=transform)
    assert late_transform(source) == (source, unchanged)


def test_what_is_mixed_is_normalised_before():
    source = Resident(images(), {"labels": torch.arange(6)}, transform=NORMALIZE)
    source = source.augmented(mix=MixUp(classes=6))
    assert late_transform(source) == (source, unchanged)
