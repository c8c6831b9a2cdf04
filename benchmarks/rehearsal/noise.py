"""Noise in the form of CIFAR-10: what steps compile is that of the images, which need not be there
yet."""

import torch

from fkd.data import Data, Normalize, Resident
from fkd.data.datasets import MEAN, STD


def build() -> Data:
    """As many images as CIFAR-10 has, so that the last batch of an epoch is as short."""
    generator = torch.Generator().manual_seed(0)
    train, test = (
        Resident(
            torch.randint(256, (examples, 3, 32, 32), dtype=torch.uint8, generator=generator),
            {"labels": torch.randint(10, (examples,), generator=generator)},
            transform=Normalize(MEAN, STD),
        )
        for examples in (50_000, 10_000)
    )
    return Data("noise", tuple("0123456789"), train, test)
