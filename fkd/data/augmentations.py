"""Augmentations and mixes by name, such as crop, flip and mixup, for a command line."""

from collections.abc import Callable, Sequence

from fkd import _check
from fkd.data._geometry import Crop, Cutout, Flip, ResizedCrop
from fkd.data._mix import CutMix, MixUp, OneOf
from fkd.data._randaugment import RandAugment
from fkd.data._source import Mix, Transform, unchanged
from fkd.data._transforms import chain

AUGMENTATIONS: dict[str, Callable[[int], Transform]] = {
    "crop": lambda size: Crop(padding=size // 8),
    "flip": lambda size: Flip(),
    "resized-crop": lambda size: ResizedCrop(),
    "cutout": lambda size: Cutout(size // 2),
    "randaugment": lambda size: RandAugment(),
}
"""From the images' side in pixels: at 32, the settings that the papers have for CIFAR-10."""

MIXES: dict[str, Callable[[int], Mix]] = {
    "mixup": lambda classes: MixUp(classes),
    "uniform-mixup": lambda classes: MixUp(classes, alpha=1.0),
    "cutmix": lambda classes: CutMix(classes),
}
"""From the number of classes, at the papers' settings; a uniform share is function matching's."""


def named(names: Sequence[str], size: int, classes: int) -> tuple[Transform, Mix | None]:
    """What `Resident.augmented` takes: augmentations by name, in this order, and a mix.

    `size` is the images' side in pixels. Of several mixes each batch has one. Raises ValueError for
    a name that is not known, or that comes twice, and for a size or classes that are no count.

    >>> augment, mix = named(["crop", "flip", "mixup"], size=32, classes=10)
    >>> augment.transforms, mix
    ((Crop(padding=4, fill=0), Flip(p=0.5)), MixUp(classes=10, alpha=0.2))
    """
    _check.sequence("augmentations", names=names)
    _check.count("augmentations", size=size, classes=classes)
    for name in names:
        _check.known("augmentations", "augmentation", name, [*AUGMENTATIONS, *MIXES])
        if list(names).count(name) > 1:
            raise ValueError(f"augmentations: {name!r} comes twice; name each at most once")
    transforms = [AUGMENTATIONS[name](size) for name in names if name in AUGMENTATIONS]
    mixes = [MIXES[name](classes) for name in names if name in MIXES]
    augment = chain(*transforms) if transforms else unchanged
    if len(mixes) > 1:
        return augment, OneOf(tuple(mixes))
    return augment, mixes[0] if mixes else None
