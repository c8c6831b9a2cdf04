"""The sides of the speed comparison: LightNNs trained by fkd, the tutorial, torchdistill or JAX.

On random images, for nothing here depends on what they show. `make(side)` gives `run(steps)`.
"""

import importlib
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from benchmarks.speed import rivals
from benchmarks.speed.rivals import MEAN, STD, hfta, jax, torchdistill, tutorial
from benchmarks.speed.timed import Run, Unavailable
from fkd import evaluate, execution, optim
from fkd._random import Key
from fkd.data import Crop, Flip, Normalize, Resident, Source, chain
from fkd.data._late import late_transform
from fkd.data._members import member_reader
from fkd.distillation import distill
from fkd.distillation._transformed import transformed
from fkd.ensemble import Order, ensemble
from fkd.execution import PRECISIONS, Compile, Layout, Plan
from fkd.methods import METHODS
from fkd.model import functional
from fkd.models import DeepNN, named
from fkd.teachers import Teacher

BATCH, CLASSES = 128, 10
EXAMPLES = 2048  # of what is on the device
PICTURES = 50_000  # of what a DataLoader reads, so that it starts its workers as rarely as it would
TAUGHT = {"cpu": 512, "cuda": 2048}  # images a step of the side that runs the teacher
SHAPES = {"logits": (CLASSES,), "hidden": (1024,), "feature_map": (32, 8, 8)}  # the teacher's


@dataclass(frozen=True)
class Side:
    """Who trains, how it comes by its images and the teacher's outputs, and what it trains.

    `loop` is one of LOOPS; `resident` images are on the device, others go through a DataLoader;
    `cached` outputs of the teacher are looked up, others are computed with each batch; `kept` is
    for the tutorial on a CPU, with fkd's setting of the C library, whose default takes page faults
    at some steps and not at others. fkd's alone are the rest: the `network`, whether its members
    have one `order` of batches, whether images are cropped and flipped, and `layout` and `compile`
    of its plan.
    """

    loop: str
    method: str = "kd"
    precision: str = "fp32"
    members: int = 1
    resident: bool = True
    cached: bool = True
    kept: bool = False
    device: str = "cpu"
    layout: Layout = "auto"
    compile: Compile = "step"
    network: str = "lightnn"
    order: Order = "shared"
    augment: bool = False

    def __str__(self) -> str:
        return f"{self.name}, {self.method}, {self.precision}, members: {self.members}"

    @property
    def name(self) -> str:
        """The loop, and whether it comes by images or the teacher's outputs otherwise than fkd."""
        if not self.resident:
            return f"{self.loop} as it stands"
        if self.kept:
            return f"{self.loop}, memory kept"
        if self.compile == "none":
            return f"{self.loop}, eager"
        return self.loop if self.cached else f"{self.loop}, live teacher"


def make(side: Side) -> Run:
    """The side, set up on its device; raises `Unavailable` where it cannot run."""
    package = side.loop if side.loop in rivals.PACKAGES else "tutorial"
    if why := rivals.missing(package):
        raise Unavailable(why)
    run = LOOPS[side.loop](side)
    if side.device == "cuda":  # a peak is of training, not of setting up
        torch.cuda.reset_peak_memory_stats()
    return run


def peak(side: Side) -> float:
    """The most memory that this process, or on a GPU its tensors, held so far, in MiB."""
    if side.device == "cpu":  # without a DataLoader's workers
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    if side.loop == "jax":
        (device, *_) = importlib.import_module("jax").devices()
        return device.memory_stats()["peak_bytes_in_use"] / 2**20
    return torch.cuda.max_memory_allocated() / 2**20


def images_and_labels(side: Side) -> tuple[Tensor, Tensor]:
    """uint8 [examples, 3, 32, 32] and int64 [examples]."""
    generator = torch.Generator().manual_seed(0)
    examples = EXAMPLES if side.resident else PICTURES
    images = torch.randint(256, (examples, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(CLASSES, (examples,), generator=generator)
    if side.resident:
        return images.to(side.device), labels.to(side.device)
    return images, labels


def outputs(side: Side, name: str) -> Tensor:
    """What stands for a teacher's output, one of SHAPES."""
    shape = (EXAMPLES, *SHAPES[name])
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(side.device)


def tutorial_side(side: Side) -> Run:
    if side.kept:
        execution.keep_freed()
    images, labels = images_and_labels(side)
    return tutorial.loop(
        side.method,
        images,
        labels,
        teacher=DeepNN(CLASSES),
        device=side.device,
        batch_size=BATCH,
        resident=side.resident,
        cached=side.cached,
        precision=side.precision,
    )


def torchdistill_side(side: Side) -> Run:
    images, labels = images_and_labels(side)
    return torchdistill.loop(
        images,
        labels,
        teacher=DeepNN(CLASSES),
        device=side.device,
        batch_size=BATCH,
        resident=side.resident,
    )


def jax_side(side: Side) -> Run:
    os.environ["JAX_PLATFORMS"] = side.device
    try:
        importlib.import_module("jax").devices()
    except RuntimeError as error:
        raise Unavailable(f"jax finds no {side.device} here: {error}") from error
    images, labels = images_and_labels(side)
    return jax.loop(
        images,
        labels,
        teacher_logits=outputs(side, "logits"),
        seeds=range(side.members),
        batch_size=BATCH,
        dtype={"fp32": "float32", "bf16": "bfloat16"}[side.precision],
    )


def hfta_side(side: Side) -> Run:
    images, labels = images_and_labels(side)
    execution.multiply_in(side.precision)
    return hfta.loop(
        images,
        labels,
        teacher_logits=outputs(side, "logits"),
        seeds=range(side.members),
        device=side.device,
        batch_size=BATCH,
        precision="fp32" if side.precision == "tf32" else side.precision,
    )


def fkd_side(side: Side) -> Run:
    """An ensemble that is advanced as `fkd.train` does."""
    images, labels = images_and_labels(side)
    execution.multiply_in(side.precision)
    if side.device == "cpu":
        execution.keep_freed()
    method = METHODS[side.method]()
    names = {name for term in method.values() for name in term.targets} - {"labels"}
    targets = {"labels": labels} | {name: outputs(side, name) for name in names}
    # In `transform`, for what stands for the teacher's outputs follows any image.
    moved = (Crop(), Flip()) if side.augment else ()
    normalize = Normalize(MEAN, STD)
    transform = chain(*moved, normalize) if moved else normalize
    source = Resident(images, targets, batch_size=BATCH, transform=transform)
    student = functional(named(side.network, CLASSES), PRECISIONS[side.precision])
    rule = distill(student, method, optim.adam(1e-3), next(source.in_order(BATCH)))
    state = ensemble(rule).init(range(side.members))
    state = tree_map(lambda leaf: leaf.to(side.device), state)
    plan = Plan(side.layout, compile=side.compile)
    plan = plan.settle(torch.device(side.device), EXAMPLES, side.members)
    if plan.compile == "step" and plan.layout == "vmap":
        source, late = late_transform(source)
        rule = transformed(rule, late)
    advance = execution.lay(rule, plan, order=side.order)
    step = torch.zeros((), dtype=torch.int64, device=side.device)
    if side.order == "shared":
        read = partial(source.read, key=Key(torch.zeros_like(step), step))
    else:
        key = Key(torch.arange(side.members, device=side.device), step)
        read = partial(member_reader(source, rows(source, side)[0], key), key=key)
    take = execution.runner(lambda feed: advance(state, read(feed)), state, plan.graph)
    at_once = max(plan.graph, 1)
    feeds = rivals.endless(rows(source, side))

    def run(steps: int) -> None:
        few = islice(feeds, steps)
        while batches := list(islice(few, at_once)):
            take(batches)
        wait(side.device)

    return run


def rows(source: Source, side: Side) -> list[Tensor]:
    """The rows of an epoch's batches: [batch], or of an order for each member [members, batch]."""
    if side.order == "shared":
        return list(source.feeds(seed=0, epoch=0))
    each = [source.feeds(seed, epoch=0) for seed in range(side.members)]
    return [torch.stack(feeds) for feeds in zip(*each, strict=True)]


def teacher_side(side: Side) -> Run:
    """The teacher over TAUGHT images a step, as it is run once over all."""
    images = images_and_labels(side)[0][: TAUGHT[side.device]]
    execution.multiply_in(side.precision)
    if side.device == "cpu":
        execution.keep_freed()
    source = Resident(images, {}, transform=Normalize(MEAN, STD))
    model = functional(lambda: DeepNN(CLASSES), PRECISIONS[side.precision])
    teacher = Teacher(model, *tree_map(lambda leaf: leaf.to(side.device), model.init(0)))

    def run(steps: int) -> None:
        for _ in range(steps):
            evaluate.predict(teacher, source, names=tuple(SHAPES))
        wait(side.device)

    return run


def wait(device: str) -> None:
    """A GPU runs behind Python."""
    if device == "cuda":
        torch.cuda.synchronize()


LOOPS: dict[str, Callable[[Side], Run]] = {
    "tutorial": tutorial_side,
    "torchdistill": torchdistill_side,
    "jax": jax_side,
    "hfta": hfta_side,
    "fkd": fkd_side,
    "fkd's teacher": teacher_side,
}
