"""The sides: students of kd on a mesh of processes, and which are held against which."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice

import torch

from benchmarks.speed.rivals import MEAN, STD
from fkd import execution, optim
from fkd.data import Normalize, Resident
from fkd.distillation import distill
from fkd.distributed import Mesh
from fkd.ensemble import ensemble
from fkd.execution import Compile, Plan
from fkd.methods import METHODS
from fkd.model import functional
from fkd.models import named

CLASSES, BATCHES = 10, 4  # batches of the data, which are read again and again

Run = Callable[[int], None]


@dataclass(frozen=True)
class Side:
    """`members` students of one network on so many processes, a batch of `batch` for each step.

    `threads` are of each process; `counted` is a launch that counts what is sent.
    """

    network: str
    members: int
    batch: int
    member_ranks: int = 1
    data_ranks: int = 1
    threads: int = 1
    compile: Compile = "step"
    image: int = 32
    method: str = "kd"
    counted: bool = False

    @property
    def ranks(self) -> int:
        return self.member_ranks * self.data_ranks

    def __str__(self) -> str:
        mesh = f"{self.member_ranks} x {self.data_ranks}"
        if self.threads > 1:
            mesh += f", {self.threads} threads"
        return f"{self.network}, {self.members} students, batch {self.batch}, {mesh}"


def make(side: Side, mesh: Mesh) -> Run:
    """This rank's part of the side: `run(steps)` takes that many steps."""
    torch.set_num_threads(side.threads)
    execution.keep_freed()
    generator = torch.Generator().manual_seed(0)
    count = BATCHES * side.batch
    shape = count, 3, side.image, side.image
    images = torch.randint(256, shape, generator=generator).byte()
    targets = {
        "labels": torch.randint(CLASSES, (count,), generator=generator),
        "logits": torch.randn(count, CLASSES, generator=generator),
    }
    source = Resident(images, targets, batch_size=side.batch, transform=Normalize(MEAN, STD))
    model = functional(named(side.network, CLASSES))
    example = next(source.in_order(side.batch))
    rule = distill(model, METHODS[side.method](), optim.adam(1e-3), example, split=mesh.split)
    seeds = range(side.members)[mesh.members(side.members)]
    state = ensemble(rule).init(seeds)
    advance = execution.lay(rule, Plan("loop", compile=side.compile, graph=0))
    feeds = cycle(list(source.feeds(seed=0, epoch=0)))

    def run(steps: int) -> None:
        for feed in islice(feeds, steps):
            advance(state, source.read(feed))

    return run
