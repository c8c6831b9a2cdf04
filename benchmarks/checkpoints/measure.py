"""The cost of a checkpoint, of one ensemble."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch

from fkd import checkpoint, methods, optim
from fkd.compare._job.record import Record
from fkd.compare._job.standing import Standing
from fkd.compare._store.saver import Saver
from fkd.data import Batch, Resident
from fkd.distillation import distill
from fkd.execution import Compile, Plan
from fkd.model import functional
from fkd.models import named
from fkd.train import At, Students, train

NAME, CLASSES = "kd", 10
BATCHES = 4  # of the data, which are read again and again
ENDLESS = 10**9  # epochs; who measures stops
LONGER = 2.0  # times the writing that a block lasts


@dataclass(frozen=True)
class Cost:
    """What a checkpoint of so many members costs, in seconds.

    `copy` holds the training up, `write` is beside it, `read` is that of going on; each is a
    median, on its own. Of each round, `without` and `together` are the seconds of a block of
    `steps` steps without a checkpoint and with one.
    """

    members: int
    mebibytes: float
    step: float
    copy: float
    write: float
    read: float
    steps: int
    without: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)

    @property
    def extra(self) -> float:
        """The seconds by which a checkpoint makes a training longer: the median of the rounds."""
        return median(b - a for a, b in zip(self.without, self.together, strict=True))

    def per_cent(self, minutes: float) -> float:
        """Of the training's time, with a checkpoint each so many minutes."""
        return 100 * self.extra / (60 * minutes)

    def at_most(self, minutes: float) -> float:
        """The per cent, if the training stood still while the checkpoint is copied and written."""
        return 100 * (self.copy + self.write) / (60 * minutes)


def students(members: int, batch: int, image: int) -> tuple[Students, Record, Resident]:
    """LightNN as kd trains it, its record, and random images with what stands for the teacher's
    logits."""
    generator = torch.Generator().manual_seed(0)
    count = batch * BATCHES
    images = torch.randn(count, 3, image, image, generator=generator)
    targets = {
        "labels": torch.randint(CLASSES, (count,), generator=generator),
        "logits": torch.randn(count, CLASSES, generator=generator),
    }
    example = Batch(images[:batch], {name: target[:batch] for name, target in targets.items()})
    model = functional(named("lightnn", CLASSES))
    one = distill(model, methods.kd(), optim.adam(1e-3), example)
    seeds, source = range(members), Resident(images, targets, batch_size=batch)
    return Students(one, seeds), Record(model, seeds, [{}]), source


def measure(
    members: int,
    folder: Path,
    *,
    batch: int = 128,
    image: int = 32,
    rounds: int = 5,
    seconds: float = 5.0,
    compile: Compile = "step",
) -> Cost:
    """The cost of a checkpoint in the folder. A block lasts at least so many seconds."""
    ensemble, record, source = students(members, batch, image)
    plan = Plan(compile=compile)
    training = train({NAME: ensemble}, source, epochs=ENDLESS, plan=plan)
    next(training)  # which compiles
    begin = time.perf_counter()
    at = next(training)
    step = time.perf_counter() - begin

    path = folder / f"{members}.safetensors"
    copies, writes, reads = [], [], []
    for _ in range(rounds):
        taken, (tensors, about) = timed(Standing(at, {NAME: record}).taken)
        copies.append(taken)
        writes.append(timed(checkpoint.write, path, tensors, about)[0])
        reads.append(timed(checkpoint.read, path)[0])
    steps = max(2, math.ceil(max(seconds, LONGER * median(writes)) / step))
    cost = Cost(
        members=members,
        mebibytes=path.stat().st_size / 2**20,
        step=step,
        copy=median(copies),
        write=median(writes),
        read=median(reads),
        steps=steps,
    )
    saver = Saver(folder, 1.0)
    for number in range(rounds):  # which comes first alternates too
        for saves in (number % 2 == 0, number % 2 == 1):
            taken = block(training, record, steps, saver if saves else None)
            (cost.together if saves else cost.without).append(taken)
    saver.close()
    return cost


def block(training: Iterator[At], record: Record, steps: int, saver: Saver | None) -> float:
    """The seconds of so many steps; with a saver, of a checkpoint at the first of them too."""
    begin = time.perf_counter()
    for number, at in enumerate(islice(training, steps)):
        if saver and number == 0:
            saver.save(Standing(at, {NAME: record}))
    if saver:
        saver.wait()
    return time.perf_counter() - begin


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """The seconds that a call takes, and what it returns."""
    begin = time.perf_counter()
    value = function(*arguments)
    return time.perf_counter() - begin, value
