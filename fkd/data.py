"""A data set as uint8 tensors on the device, read by an order that comes from an explicit key."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from fkd import _check, _random

# ImageNet's, which the tutorial applies to CIFAR-10, in [0, 1] by channel.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Data:
    """Images as uint8 [examples, 3, height, width] and labels as int64 [examples], split in two.

    Raises ValueError for other shapes or dtypes, an empty split, or a label outside the classes.
    """

    name: str
    classes: tuple[str, ...]
    train_images: UInt8[Tensor, "train 3 height width"]
    train_labels: Int[Tensor, " train"]
    test_images: UInt8[Tensor, "test 3 height width"]
    test_labels: Int[Tensor, " test"]

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            where = f"{self.name}, {split} split"
            if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
                raise ValueError(
                    f"{where}: images must be uint8 [examples, 3, height, width], "
                    f"but they are {images.dtype} {tuple(images.shape)}"
                )
            if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
                raise ValueError(
                    f"{where}: there are {len(images)} images, so labels must be int64 "
                    f"({len(images)},), but they are {labels.dtype} {tuple(labels.shape)}"
                )
            if len(images) == 0:
                raise ValueError(f"{where}: there are no images; give at least one")
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= len(self.classes):
                raise ValueError(
                    f"{where}: labels must lie in [0, {len(self.classes)}), one number for each of "
                    f"the {len(self.classes)} classes, but they reach from {low} to {high}"
                )

    def to(self, device: torch.device | str) -> "Data":
        """The same data on a device."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def normalize(
    images: UInt8[Tensor, "*batch 3 height width"],
) -> Float[Tensor, "*batch 3 height width"]:
    """(x/255 − mean) / deviation by channel, in float32, with channels last in memory.

    Channels last makes pooling and convolution of small images several times faster on a CPU.

    >>> normalize(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))[0, :, 0, 0]
    tensor([-2.1179, -2.0357, -1.8044])
    """
    # Numbers of Python's, for a CUDA graph cannot copy tensors of them from the CPU.
    channels = zip(images.unbind(-3), MEAN, STD, strict=True)
    scaled = [(channel / 255 - mean) / deviation for channel, mean, deviation in channels]
    return torch.stack(scaled, dim=-1).movedim(-1, -3)


def hold_out(
    labels: Int[Tensor, " examples"], share: float, seed: int = 0
) -> tuple[Int[Tensor, " kept"], Int[Tensor, " held"]]:
    """The examples' numbers in two parts, kept and held out, from (labels, share, seed) alone.

    Of each class ⌊share · examples of the class + 1/2⌋ are held out, drawn at random. Raises
    ValueError for a share outside (0, 1), or one that leaves a class with none on either side.

    >>> kept, held = hold_out(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), share=0.25)
    >>> len(kept), len(held)
    (6, 2)
    """
    if not 0 < share < 1:
        raise ValueError(f"hold_out: share must lie between 0 and 1, both excluded, not at {share}")
    generator = torch.Generator()
    generator.manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator).to(labels.device)
    parts = []
    for label in labels.unique().tolist():
        of_class = shuffled[labels[shuffled] == label]
        number = math.floor(share * len(of_class) + 0.5)
        if not 0 < number < len(of_class):
            raise ValueError(
                f"hold_out: a share of {share} holds out {number} of the {len(of_class)} examples "
                f"of class {label}, but at least one must be held out and one kept; change the "
                "share or give more examples"
            )
        parts.append(of_class.split([len(of_class) - number, number]))
    kept, held = (torch.cat(part).sort().values for part in zip(*parts, strict=True))
    return kept, held


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """How many full batches an epoch has: ⌈examples / batch_size⌉.

    >>> steps_per_epoch(50_000, 128)
    391
    """
    return -(-examples // batch_size)


def order(seed: int, epoch: int, examples: int, batch_size: int) -> Int[Tensor, "steps batch"]:
    """The examples' numbers in one epoch's order, as full batches, from (seed, epoch) alone.

    The last batch is filled up from the head of the same order, so every batch has one shape and
    the step is compiled once; each example comes once, and those few twice. Raises ValueError for a
    batch that is larger than the data set.

    >>> order(0, 0, examples=5, batch_size=2).shape
    torch.Size([3, 2])
    """
    _check.between("order", 1, examples, batch_size=batch_size)
    generator = torch.Generator()
    generator.manual_seed(int(_random.fold(torch.tensor(seed), epoch)))
    steps = steps_per_epoch(examples, batch_size)
    shuffled = torch.randperm(examples, generator=generator)
    return shuffled[torch.arange(steps * batch_size) % examples].reshape(steps, batch_size)


def take(
    images: Tensor, targets: Mapping[str, Tensor], index: Int[Tensor, "*members batch"]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The batch at `index`: normalised images and what they are to match."""
    return normalize(images[index]), {name: target[index] for name, target in targets.items()}
