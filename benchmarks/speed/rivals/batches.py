"""Where the other loops in torch get their batches."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms

from benchmarks.speed.rivals import MEAN, STD


class Pictures(Dataset):
    """Images as torchvision's CIFAR10 keeps and gives them: bytes, through PIL, transformed.

    An item is the image and its label, and with `numbered` the example's number as well.
    """

    def __init__(self, images: Tensor, labels: Tensor, *, numbered: bool = False):
        self.images = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        self.labels = labels.tolist()
        self.numbered = numbered
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        image = self.transform(Image.fromarray(self.images[number]))
        label = self.labels[number]
        return (image, label, number) if self.numbered else (image, label)


def normalizer(device: torch.device) -> Callable[[Tensor], Tensor]:
    """What ToTensor and Normalize do, for uint8 images [batch, 3, height, width] on the device."""
    mean = torch.tensor(MEAN, device=device).reshape(3, 1, 1)
    deviation = torch.tensor(STD, device=device).reshape(3, 1, 1)
    return lambda images: (images / 255 - mean) / deviation


class ResidentLoader:
    """A loader of images that are on the device: (inputs, labels, the examples' numbers)."""

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int, seed: int):
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.generator = torch.Generator(images.device).manual_seed(seed)
        self.normalize = normalizer(images.device)

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        device = self.images.device
        shuffled = torch.randperm(len(self.images), generator=self.generator, device=device)
        for index in shuffled.split(self.batch_size):
            yield self.normalize(self.images[index]), self.labels[index], index
