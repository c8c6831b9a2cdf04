"""Training loops to time fkd's against: the tutorial's, torchdistill's, one in JAX, and one whose
students are fused by hand.

    pip install -e ".[rivals]"

Each sets up its models, data and optimizer and returns `run(steps)`, which trains that many further
steps and returns when the device is done: warm up with `run(2)`, then time the sides in turn.
Images are uint8 [examples, 3, 32, 32], labels int64 [examples]; a student that is given is trained
in place. The teacher is copied.
"""

import importlib.util
from collections.abc import Iterable, Iterator
from typing import TypeVar

from fkd import _check

Item = TypeVar("Item")

PACKAGES = {"tutorial": (), "hfta": (), "torchdistill": ("torchdistill",), "jax": ("jax", "optax")}
METHODS = ("ce", "kd", "cosine", "hint")  # the tutorial's
LEARNING_RATE, TEMPERATURE, SOFT, HARD = 1e-3, 2.0, 0.25, 0.75  # the tutorial's
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # the tutorial's, of ImageNet


def missing(name: str) -> str | None:
    """What to install for a side, one of PACKAGES, or None where it can run."""
    _check.known("missing", "side", name, PACKAGES)
    absent = [p for p in PACKAGES[name] if importlib.util.find_spec(p) is None]
    if not absent:
        return None
    return f'{name} needs {" and ".join(absent)}, not installed here: pip install "fkd[rivals]"'


def endless(loader: Iterable[Item]) -> Iterator[Item]:
    """The loader's batches, epoch after epoch."""
    while True:
        yield from loader
