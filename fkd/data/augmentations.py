"""Augmentations and mixes by name, such as crop, flip and mixup, for a command line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fkd import _check
from fkd._random import Key
from fkd.data._geometry import Crop, Cutout, Flip, ResizedCrop
from fkd.data._images import Augmentation, Images
from fkd.data._mix import CutMix, MixUp, OneOf
from fkd.data._randaugment import RandAugment
from fkd.data._source import Mix, Transform, unchanged
from fkd.data._transforms import chain


@dataclass(frozen=True)
class BySide:
    """The augmentation that `make` gives for the shorter side, in pixels, of the images that it is
    shown: so a transform behind it may resize them.

    >>> crop = BySide(lambda side: Crop(padding=side // 8))
    """

    make: Callable[[int], Augmentation]

    def check(self, inputs: Any, targets: Any = None) -> None:
        """Raise ValueError where the inputs of a whole source are no such images."""
        self._of(inputs).check(inputs, targets)

    def __call__(self, inputs: Images, key: Key | None = None) -> Images:
        return self._of(inputs)(inputs, key)

    def _of(self, inputs: Any) -> Augmentation:
        images = isinstance(inputs, Tensor) and inputs.ndim > 1  # else it is refused there
        return self.make(min(inputs.shape[-2:]) if images else 1)


def _crop(side: int) -> Crop:
    return Crop(padding=side // 8)


def _cutout(side: int) -> Cutout:
    return Cutout(max(1, side // 2))


AUGMENTATIONS: dict[str, Transform] = {
    "crop": BySide(_crop),
    "flip": Flip(),
    "resized-crop": ResizedCrop(),
    "cutout": BySide(_cutout),
    "randaugment": RandAugment(),
}
"""At 32 pixels, these have the settings that the papers have for CIFAR-10."""

MIXES: dict[str, Callable[[int], Mix]] = {
    "mixup": lambda classes: MixUp(classes),
    "cutmix": lambda classes: CutMix(classes),
}
"""From the number of classes, at the papers' settings."""


def named(names: Sequence[str], classes: int) -> tuple[Transform, Mix | None]:
    """What `Resident.augmented` takes: augmentations by name, in this order, and a mix.

    Crops and squares are by the side of the images that they see. Of several mixes each batch has
    one. Raises ValueError for a name that is not known, or that comes twice, and for classes that
    are no count.

    >>> augment, mix = named(["randaugment", "flip", "mixup"], classes=10)
    >>> augment.transforms, mix
    ((RandAugment(operations=2, magnitude=9, fill=0), Flip(p=0.5)), MixUp(classes=10, alpha=0.2))
    """
    _check.sequence("augmentations", names=names)
    _check.count("augmentations", classes=classes)
    for name in names:
        _check.known("augmentations", "augmentation", name, [*AUGMENTATIONS, *MIXES])
        if list(names).count(name) > 1:
            raise ValueError(f"augmentations: {name!r} comes twice; name each at most once")
    transforms = [AUGMENTATIONS[name] for name in names if name in AUGMENTATIONS]
    mixes = [MIXES[name](classes) for name in names if name in MIXES]
    augment = chain(*transforms) if transforms else unchanged
    if len(mixes) > 1:
        return augment, OneOf(tuple(mixes))
    return augment, mixes[0] if mixes else None
