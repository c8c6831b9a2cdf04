"""The sides: one network, trained with the teacher's logits by a plain loop or by fkd."""

import resource
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from benchmarks.speed.timed import Run
from fkd import execution, methods, optim
from fkd.data import Batch
from fkd.distillation import distill
from fkd.ensemble import ensemble
from fkd.execution import Plan
from fkd.model import functional
from fkd.models import named

CLASSES = 10
RATE, MOMENTUM, DECAY, TEMPERATURE = 0.05, 0.9, 5e-4, 4.0


@dataclass(frozen=True)
class Side:
    """Who trains so many students of one network, side by side: `plain` or `fkd`.

    The plain loop trains one, as often as there are students. Of fkd's sides `layout` and
    `compile` are the plan's.
    """

    loop: str
    network: str
    members: int = 1
    batch: int = 64
    image: int = 32
    layout: str = "loop"
    compile: str = "none"
    device: str = "cpu"

    def __str__(self) -> str:
        if self.loop == "plain":
            return f"plain loop, {self.network}"
        how = "compiled" if self.compile == "step" else "eager"
        return f"fkd, {self.network}, {self.members} students, {self.layout}, {how}"


def make(side: Side) -> Run:
    """`run(steps)` takes that many steps of all students."""
    return plain(side) if side.loop == "plain" else ours(side)


def peak(side: Side) -> float:
    """The most memory that this process, or on a GPU its tensors, held so far, in MiB."""
    if side.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def example(side: Side) -> tuple[Tensor, Tensor, Tensor]:
    """Random images, labels, and what stands for the teacher's logits."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(side.batch, 3, side.image, side.image, generator=generator)
    labels = torch.randint(CLASSES, (side.batch,), generator=generator)
    logits = torch.randn(side.batch, CLASSES, generator=generator)
    return images.to(side.device), labels.to(side.device), logits.to(side.device)


def plain(side: Side) -> Run:
    execution.keep_freed()  # as fkd does, so that it is no part of the ratio
    images, labels, target = example(side)
    torch.manual_seed(0)
    net: nn.Module = named(side.network, CLASSES)().to(side.device).train()
    optimizer = torch.optim.SGD(net.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    soft = F.softmax(target / TEMPERATURE, -1)

    def run(steps: int) -> None:
        for _ in range(steps):
            outputs = net(images)
            logits = outputs if isinstance(outputs, Tensor) else outputs["logits"]
            match = F.cross_entropy(logits / TEMPERATURE, soft) * TEMPERATURE**2
            loss = 0.1 * F.cross_entropy(logits, labels) + 0.9 * match
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _wait(side)

    return run


def ours(side: Side) -> Run:
    execution.keep_freed()
    images, labels, target = example(side)
    batch = Batch(images, {"labels": labels, "logits": target})
    model = functional(named(side.network, CLASSES))
    optimizer = optim.sgd(RATE, momentum=MOMENTUM, weight_decay=DECAY)
    method = methods.kd(weight=0.9, temperature=TEMPERATURE, ce=0.1)
    student = distill(model, method, optimizer, batch)
    state = ensemble(student).init(range(side.members))
    state = tree_map(lambda leaf: leaf.to(side.device), state)
    plan = Plan(layout=side.layout, compile=side.compile)  # type: ignore[arg-type]
    advance = execution.lay(student, plan)

    def run(steps: int) -> None:
        for _ in range(steps):
            advance(state, batch)
        _wait(side)

    return run


def _wait(side: Side) -> None:
    if side.device == "cuda":
        torch.cuda.synchronize()
