"""What each rank of a side does: so many further steps of each student."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from benchmarks.speed.rivals import LEARNING_RATE, MEAN, STD, endless
from benchmarks.speed.rivals.batches import Pictures, normalizer
from benchmarks.speed.rivals.tutorial import loss_of, student_of, teacher_of
from fkd import execution, optim
from fkd.data import Normalize, Resident
from fkd.distillation import distill
from fkd.distributed import Mesh
from fkd.ensemble import ensemble
from fkd.execution import Plan
from fkd.methods import METHODS
from fkd.model import functional
from fkd.models import DeepNN, LightNN

CLASSES, EXAMPLES = 10, 2048
PICTURES = 50_000  # of a DataLoader, so that it starts its workers as rarely as it would
CPU = torch.device("cpu")

Take = Callable[[int], list[float]]  # so many steps: each student's loss at the last of them
Fed = tuple[Tensor, Tensor, Tensor]  # inputs, labels, the teacher's logits


@dataclass(frozen=True)
class Side:
    """Who trains so many students on so many ranks: `tutorial`, under DDP on several, or `fkd`.

    `data_ranks` of fkd's ranks split each batch, and the others deal the students. With a `live`
    teacher the tutorial's loop is as it stands: a DataLoader decodes the images, and the teacher
    runs on each batch. Without `dropout` all sides come to the same losses.
    """

    loop: str
    ranks: int
    members: int
    data_ranks: int = 1
    live: bool = False
    batch: int = 128
    compiled: bool = False
    dropout: bool = True

    def __str__(self) -> str:
        if self.loop == "fkd":
            member_ranks = self.ranks // self.data_ranks
            return f"fkd, {member_ranks} member ranks x {self.data_ranks} data ranks"
        name = "the tutorial's loop" if self.ranks == 1 else f"DDP, {self.ranks} ranks"
        return f"{name}, live teacher" if self.live else name


def student(side: Side) -> LightNN:
    net = LightNN(CLASSES)
    if not side.dropout:
        for layer in net.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
    return net


def examples(count: int) -> Fed:
    """Random images uint8, labels, and what stands for the teacher's logits."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return images, labels, torch.randn(count, CLASSES, generator=generator)


def order(side: Side) -> Iterator[Tensor]:
    """The numbers of each batch's examples, one shuffled epoch again and again."""
    shuffled = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(1))
    return endless(shuffled.split(side.batch))


def looked_up(side: Side, mesh: Mesh) -> Iterator[Fed]:
    """This rank's rows of each batch, from images and logits in memory."""
    images, labels, logits = examples(EXAMPLES)
    normalize = normalizer(CPU)
    for numbers in order(side):
        own = numbers.tensor_split(mesh.ranks)[mesh.rank]
        yield normalize(images[own]), labels[own], logits[own]


def live(side: Side, mesh: Mesh) -> Iterator[Fed]:
    """As the tutorial stands, with the sampler that DDP's tutorial gives its DataLoader."""
    images, labels, _ = examples(PICTURES)
    pictures = Pictures(images, labels)
    sampler = DistributedSampler(pictures, mesh.ranks, mesh.rank)
    loader = DataLoader(
        pictures, batch_size=side.batch // mesh.ranks, sampler=sampler, num_workers=2
    )
    teacher = teacher_of("kd", DeepNN(CLASSES)).eval()
    for inputs, targets in endless(loader):
        with torch.no_grad():
            logits, _ = teacher(inputs)
        yield inputs, targets, logits


def tutorial_loop(side: Side, mesh: Mesh) -> Take:
    """The tutorial's loop, student after student, each under DDP where there are several ranks."""
    execution.keep_freed()  # as fkd does, so that it is no part of the ratio
    feed = live if side.live else looked_up
    loss_function = loss_of("kd")
    runs = []
    for seed in range(side.members):
        torch.manual_seed(seed)
        net: nn.Module = student_of("kd", student(side)).train()
        if mesh.ranks > 1:
            net = DistributedDataParallel(net)
        adam = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
        runs.append(partial(_tutorial_steps, net, adam, loss_function, feed(side, mesh)))
    return lambda steps: [run(steps) for run in runs]


def _tutorial_steps(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_function: Callable[..., Tensor],
    batches: Iterator[Fed],
    steps: int,
) -> float:
    last = 0.0
    for inputs, labels, target in islice(batches, steps):
        optimizer.zero_grad()
        logits, hidden = net(inputs)
        loss = loss_function(logits, hidden, target, labels)
        loss.backward()
        optimizer.step()
        last = loss.item()
    return last


def fkd_loop(side: Side, mesh: Mesh) -> Take:
    """This rank's students side by side, laid out as `fkd.train` does."""
    execution.keep_freed()
    images, labels, logits = examples(EXAMPLES)
    targets = {"labels": labels, "logits": logits}
    source = Resident(images, targets, batch_size=side.batch, transform=Normalize(MEAN, STD))
    rule = distill(
        functional(partial(student, side)),
        METHODS["kd"](),
        optim.adam(LEARNING_RATE),
        next(source.in_order(side.batch)),
        split=mesh.split,
    )
    seeds = range(side.members)[mesh.members(side.members)]
    state = ensemble(rule).init(seeds)
    plan = Plan(compile="step" if side.compiled else "none")
    advance = execution.lay(rule, plan.settle(CPU, EXAMPLES, len(seeds)))
    batches = order(side)

    def take(steps: int) -> list[float]:
        metrics = {"loss": torch.zeros(len(seeds))}
        for numbers in islice(batches, steps):
            metrics = advance(state, source.read(numbers))
        return metrics["loss"].tolist()

    return take


LOOPS: dict[str, Callable[[Side, Mesh], Take]] = {"tutorial": tutorial_loop, "fkd": fkd_loop}
