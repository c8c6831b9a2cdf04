"""Networks and data so small that whole comparisons of them take no time."""

import torch
from torch import Tensor, nn

from fkd import methods, optim
from fkd.compare import Results, compare
from fkd.data import Data, Resident
from fkd.execution import Plan

ALL = {"ce": methods.ce(), "kd": methods.kd()}
EAGER = Plan(compile="none")


class Wide(nn.Module):
    """A teacher of vectors, which counts the examples that it sees in evaluation."""

    seen = 0

    def __init__(self, hidden: int = 16):
        super().__init__()
        self.first, self.last = nn.Linear(4, hidden), nn.Linear(hidden, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.first(x).relu()
        if not self.training and x.device.type != "meta":
            Wide.seen += len(x)
        return {"logits": self.last(hidden), "hidden": hidden}


class Narrow(nn.Module):
    """A student of vectors."""

    def __init__(self):
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(4, 8), nn.Dropout(0.1), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.drop(self.first(x).relu())
        return {"logits": self.last(hidden), "hidden": hidden}


def examples(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Vectors of two classes that a linear layer tells apart."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(number, 4, generator=generator)
    return inputs, (inputs.sum(1) > 0).long()


def vectors() -> Data:
    """Forty to train on, in four steps an epoch, and thirty to test on."""
    inputs, labels = examples(40, seed=0)
    train = Resident(inputs, {"labels": labels}, batch_size=10)
    inputs, labels = examples(30, seed=1)
    return Data("vectors", ("below", "above"), train, Resident(inputs, {"labels": labels}))


def trained_elsewhere() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return Wide().state_dict()


def small(data: Data, methods=ALL, epochs=2, **options) -> Results:
    options = {"seeds": (3, 5), "optimizer": optim.adam(0.01), "plan": EAGER} | options
    return compare(Wide, Narrow, methods, data, epochs=epochs, **options)
