"""Data as sources of batches: which batches an epoch has, and how one is read inside the step.

Augmentations and mixes are pure functions with explicit keys; by name they are in
`fkd.data.augmentations`. The data sets by name are in `fkd.data.datasets`, which loads torchvision
and is imported by itself.
"""

from fkd.data._data import Data
from fkd.data._dataset import built, from_dataset
from fkd.data._geometry import Crop, Cutout, Flip, ResizedCrop
from fkd.data._images import Augmentation
from fkd.data._labels import IGNORED
from fkd.data._mix import CutMix, MixUp, OneOf
from fkd.data._order import hold_out, order, steps_per_epoch
from fkd.data._randaugment import RandAugment
from fkd.data._resident import Resident
from fkd.data._source import (
    Batch,
    Checked,
    Digested,
    MemberFeeds,
    Mix,
    Source,
    Transform,
    unchanged,
)
from fkd.data._streamed import Split, Streamed, inputs_and_targets
from fkd.data._transforms import Normalize, chain

__all__ = [
    "IGNORED",
    "Augmentation",
    "Batch",
    "Checked",
    "Crop",
    "CutMix",
    "Cutout",
    "Data",
    "Digested",
    "Flip",
    "MemberFeeds",
    "Mix",
    "MixUp",
    "Normalize",
    "OneOf",
    "RandAugment",
    "Resident",
    "ResizedCrop",
    "Source",
    "Split",
    "Streamed",
    "Transform",
    "built",
    "chain",
    "from_dataset",
    "hold_out",
    "inputs_and_targets",
    "order",
    "steps_per_epoch",
    "unchanged",
]
