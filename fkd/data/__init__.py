"""Data as sources of batches: which batches an epoch has, and how one is read inside the step.

The data sets by name are in `fkd.data.datasets`, which loads torchvision and is imported by itself.
"""

from fkd.data._data import Data
from fkd.data._dataset import built, from_dataset
from fkd.data._order import hold_out, order, steps_per_epoch
from fkd.data._resident import Resident
from fkd.data._source import Batch, Source, Transform, unchanged
from fkd.data._streamed import Split, Streamed, inputs_and_targets
from fkd.data._transforms import Normalize

__all__ = [
    "Batch",
    "Data",
    "Normalize",
    "Resident",
    "Source",
    "Split",
    "Streamed",
    "Transform",
    "built",
    "from_dataset",
    "hold_out",
    "inputs_and_targets",
    "order",
    "steps_per_epoch",
    "unchanged",
]
