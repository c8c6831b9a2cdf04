"""Comparisons so small that one takes a second. Each keeps something else in its checkpoints."""

from typing import Any

import torch
from torch import Tensor, nn

from fkd import methods, optim
from fkd.compare import Comparison
from fkd.data import Data, Resident
from fkd.execution import Plan

EPOCHS = 4
SEEDS = (3, 5)
BATCH = 20
TRAIN, TEST = 120, 40  # examples
FEATURES, CLASSES = 6, 3
ALL = {"ce": methods.ce(), "kd": methods.kd()}

KINDS: dict[str, dict[str, Any]] = {
    "a teacher that is trained": {},
    "a sweep": {"sweep": {"lr": [0.001, 0.01]}},
    "a live teacher": {"teacher_memory": 0.0},
    "running averages": {"optimizer": optim.averaged(optim.adam(0.01), decay=0.9)},
    "an order for all seeds": {"order": "shared"},
    # In rounds of two, two and one.
    "two stages": {"resolution": 0.1, "max_seeds": 5},
    "a head with a memory": {"methods": {"ce": methods.ce(), "crd": methods.crd(negatives=4)}},
}


class Network(nn.Module):
    """Two layers, of which the first is dropped out: each step draws numbers."""

    def __init__(self, hidden: int):
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, hidden), nn.Linear(hidden, CLASSES)
        self.norm, self.drop = nn.BatchNorm1d(hidden), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.drop(self.norm(self.first(x)).relu())
        return {"logits": self.last(hidden), "hidden": hidden}


def teacher() -> nn.Module:
    return Network(24)


def student() -> nn.Module:
    return Network(8)


def comparison(kind: str) -> Comparison:
    """A comparison of the kind, ready to run."""
    options = {"optimizer": optim.adam(0.01), "methods": ALL} | KINDS[kind]
    return Comparison(
        teacher,
        student,
        options.pop("methods"),
        _vectors(),
        seeds=SEEDS,
        epochs=EPOCHS,
        plan=Plan(compile="none"),
        **options,
    )


def _vectors() -> Data:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(TRAIN + TEST, FEATURES, generator=generator)
    labels = inputs[:, :CLASSES].argmax(1)
    train = Resident(inputs[:TRAIN], {"labels": labels[:TRAIN]}, batch_size=BATCH)
    test = Resident(inputs[TRAIN:], {"labels": labels[TRAIN:]})
    return Data("vectors", tuple("abc"), train, test)
