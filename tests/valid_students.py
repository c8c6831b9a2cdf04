"""Small students, their data and their teacher, of which valid calls are made."""

import torch
from broken import (
    listed,
)
from torch import Tensor, nn

from fkd import (
    data,
    distillation,
    ensemble,
    methods,
    model,
    optim,
    teachers,
)

INPUTS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 3
SOURCE = data.Resident(INPUTS, {"labels": LABELS}, batch_size=3)
BATCH = data.Batch(INPUTS, {"labels": LABELS, "logits": torch.zeros(6, 3)})
CPU = torch.device("cpu")


def build() -> nn.Module:
    return nn.Linear(4, 3)


def other() -> nn.Module:
    return nn.Linear(5, 3)


def ask(inputs: Tensor) -> dict[str, Tensor]:
    return {"logits": inputs[:, :3]}


MODEL = model.functional(build)
PARAMS, BUFFERS = MODEL.init(0)
TEACHER = teachers.Teacher(MODEL, PARAMS, BUFFERS)
RUN = distillation.distill(MODEL, methods.kd(), optim.averaged(optim.sgd(0.1)), BATCH)
STATE = RUN.init(0)
MEMBERS = ensemble.ensemble(RUN).init([0, 1])


def nothing(answer: object) -> None:
    """Of answers of which it is enough that they come."""


NAMES = listed(("logits",), ("none",), "logits")
