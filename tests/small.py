"""A small student and its batches, in float64, where equality means equality."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from fkd import methods, optim
from fkd.data import Batch
from fkd.distillation import Distillation, State, distill, step
from fkd.model import functional

CLASSES, EXAMPLES = 3, 6


class Small(nn.Module):
    """A student with all that makes a step hard: BatchNorm, dropout, attention's dropout, a path
    that is dropped, and features by name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.2, batch_first=True)
        self.path = StochasticDepth(0.2, "row")
        self.drop = nn.Dropout(0.2)
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        pre_activation = self.norm(self.conv(x))
        feature_map = self.pool(pre_activation.relu())
        tokens = feature_map.flatten(2).mT
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        hidden = self.drop((tokens + self.path(mixed)).flatten(1))
        return {
            "logits": self.classifier(hidden),
            "hidden": hidden,
            "feature_map": feature_map,
            "pre_activation": pre_activation,
        }


def small() -> nn.Module:
    return Small().double()


def batches(steps: int, examples: int = EXAMPLES) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(examples, *shape, generator=generator, dtype=torch.float64)

    for _ in range(steps):
        targets = {
            "labels": torch.randint(CLASSES, (examples,), generator=generator),
            "logits": normal(CLASSES),
            "hidden": normal(16),
            "feature_map": normal(5, 2, 2),
        }
        yield Batch(normal(3, 4, 4), targets)


def rule(
    method: methods.Method | None = None, optimizer: optim.Optimizer | None = None
) -> Distillation:
    """A distillation of `Small`: kd by default, with SGD, for Adam turns the rounding of a gradient
    near zero into a step of full size."""
    return distill(
        functional(small),
        method or methods.kd(),
        optimizer or optim.sgd(0.05, momentum=0.9),
        next(batches(1)),
    )


def steps_of(distillation: Distillation, state: State, number: int) -> State:
    """The state after some steps, batch by batch of `batches`."""
    for batch in batches(number):
        state, _ = step(distillation, state, batch)
    return state


def assert_same(one: object, other: object) -> None:
    """Equal to what float64 leaves of some thousand roundings."""
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
