"""The sides: one network, trained with the teacher's logits by a plain loop or by fkd.

Images are bytes on the device and normalised there; with `augment` they are cropped and flipped as
well, each on its own.
"""

import resource
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from benchmarks.speed.rivals import MEAN, STD, endless
from benchmarks.speed.rivals.batches import ResidentLoader
from benchmarks.speed.timed import Run
from fkd import execution, methods, optim
from fkd._random import Key
from fkd.data import Crop, Flip, Normalize, Resident, chain
from fkd.distillation import distill
from fkd.ensemble import ensemble
from fkd.execution import PRECISIONS, Compile, Layout, Plan
from fkd.model import functional
from fkd.models import named

CLASSES, EXAMPLES, PADDING = 10, 1024, 4
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
    layout: Layout = "loop"
    compile: Compile = "none"
    device: str = "cpu"
    precision: str = "fp32"
    augment: bool = False

    def __str__(self) -> str:
        if self.loop == "plain":
            return f"plain loop, {self.network}"
        how = "compiled" if self.compile == "step" else "eager"
        return f"fkd, {self.network}, {self.members} students, {self.layout}, {how}"


def make(side: Side) -> Run:
    """`run(steps)` takes that many steps of all students."""
    run = plain(side) if side.loop == "plain" else ours(side)
    if side.device == "cuda":  # a peak is of training, not of setting up
        torch.cuda.reset_peak_memory_stats()
    return run


def peak(side: Side) -> float:
    """The most memory that this process, or on a GPU its tensors, held so far, in MiB."""
    if side.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def examples(side: Side) -> tuple[Tensor, Tensor, Tensor]:
    """Random images uint8, labels, and what stands for the teacher's logits, on the device."""
    generator = torch.Generator().manual_seed(0)
    count = max(EXAMPLES, side.batch)
    shape = count, 3, side.image, side.image
    images = torch.randint(256, shape, generator=generator).byte()
    labels = torch.randint(CLASSES, (count,), generator=generator)
    logits = torch.randn(count, CLASSES, generator=generator)
    return images.to(side.device), labels.to(side.device), logits.to(side.device)


def plain(side: Side) -> Run:
    """The usual loop; in bf16 by autocast."""
    execution.keep_freed()  # as fkd does, so that it is no part of the ratio
    execution.multiply_in(side.precision)
    casting: Any = nullcontext
    if side.precision == "bf16":
        casting = partial(torch.autocast, torch.device(side.device).type, torch.bfloat16)
    images, labels, logits = examples(side)
    torch.manual_seed(0)
    net: nn.Module = named(side.network, CLASSES)().to(side.device).train()
    optimizer = torch.optim.SGD(net.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    batches = endless(ResidentLoader(images, labels, side.batch, seed=0))

    def run(steps: int) -> None:
        for inputs, labels, numbers in islice(batches, steps):
            inputs = shown(inputs) if side.augment else inputs
            soft = F.softmax(logits[numbers] / TEMPERATURE, -1)
            optimizer.zero_grad()
            with casting():
                outputs = net(inputs)
                own = outputs if isinstance(outputs, Tensor) else outputs["logits"]
                match = F.cross_entropy(own / TEMPERATURE, soft) * TEMPERATURE**2
                loss = 0.1 * F.cross_entropy(own, labels) + 0.9 * match
            loss.backward()
            optimizer.step()
        _wait(side)

    return run


def shown(images: Tensor) -> Tensor:
    """Each image cropped after padding, and flipped or not, all at once on their device."""
    batch, _, height, width = images.shape
    padded = F.pad(images, [PADDING] * 4)
    top, left = torch.randint(2 * PADDING + 1, (2, batch, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    flipped = torch.rand(batch, 1, device=images.device) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)
    each = torch.arange(batch, device=images.device)[:, None, None]
    return padded.movedim(1, -1)[each, rows[:, :, None], columns[:, None]].movedim(-1, 1)


def ours(side: Side) -> Run:
    """As `fkd.train` has it: on a GPU steps are captured in a graph."""
    execution.keep_freed()
    execution.multiply_in(side.precision)
    images, labels, logits = examples(side)
    targets = {"labels": labels, "logits": logits}
    # In `transform`, for what stands for the teacher's logits follows any image.
    moved = (Crop(PADDING), Flip()) if side.augment else ()
    normalize = Normalize(MEAN, STD)
    transform = chain(*moved, normalize) if moved else normalize
    source = Resident(images, targets, batch_size=side.batch, transform=transform)
    example = next(source.in_order(side.batch))
    model = functional(named(side.network, CLASSES), PRECISIONS[side.precision])
    optimizer = optim.sgd(RATE, momentum=MOMENTUM, weight_decay=DECAY)
    method = methods.kd(weight=0.9, temperature=TEMPERATURE, ce=0.1)
    student = distill(model, method, optimizer, example)
    state = ensemble(student).init(range(side.members))
    state = tree_map(lambda leaf: leaf.to(side.device), state)
    plan = Plan(side.layout, compile=side.compile)
    plan = plan.settle(torch.device(side.device), EXAMPLES, side.members)
    advance = execution.lay(student, plan)
    number = torch.zeros((), dtype=torch.int64, device=side.device)

    def step(rows: Tensor) -> Any:
        batch = source.read(rows, Key(torch.zeros_like(number), number))
        number.add_(1)
        return advance(state, batch)

    take = execution.runner(step, (state, number), plan.graph)
    feeds = endless(list(source.feeds(seed=0, epoch=0)))

    def run(steps: int) -> None:
        few = islice(feeds, steps)
        while rows := list(islice(few, max(plan.graph, 1))):
            take(rows)
        _wait(side)

    return run


def _wait(side: Side) -> None:
    if side.device == "cuda":
        torch.cuda.synchronize()
