"""The sides of the speed comparison: LightNNs trained by fkd, the tutorial, torchdistill or JAX.

On random images, for nothing here depends on what they show. `make(side)` gives `run(steps)`.
"""

import importlib
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rivals
import rivals_jax
import torch
from options import PRECISIONS, multiply_in
from timed import Run, Unavailable
from torch import Tensor
from torch.utils._pytree import tree_map

from fkd import _memory, data, evaluate, optim, train
from fkd.distillation import distill
from fkd.ensemble import ensemble
from fkd.methods import METHODS
from fkd.model import functional
from fkd.models import DeepNN, LightNN

BATCH, CLASSES = 128, 10
EXAMPLES = 2048  # of what is on the device
PICTURES = 50_000  # of what a DataLoader reads, so that it starts its workers as rarely as it would
TAUGHT = {"cpu": 512, "cuda": 2048}  # images a step of the side that runs the teacher


@dataclass(frozen=True)
class Side:
    """Who trains, how it comes by its images and the teacher's outputs, and what it trains.

    `loop` is one of LOOPS; `resident` images are on the device, others go through a DataLoader;
    `cached` outputs of the teacher are looked up, others are computed with each batch; `kept` is
    for the tutorial on a CPU, with fkd's setting of the C library, whose default takes page faults
    at some steps and not at others.
    """

    loop: str
    method: str = "kd"
    precision: str = "fp32"
    members: int = 1
    resident: bool = True
    cached: bool = True
    kept: bool = False
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.name}, {self.method}, {self.precision}, members: {self.members}"

    @property
    def name(self) -> str:
        """The loop, and whether it comes by images or the teacher's outputs otherwise than fkd."""
        if not self.resident:
            return f"{self.loop} as it stands"
        if self.kept:
            return f"{self.loop}, memory kept"
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


def outputs(side: Side, *shape: int) -> Tensor:
    """What stands for a teacher's output."""
    drawn = torch.randn(EXAMPLES, *shape, generator=torch.Generator().manual_seed(1))
    return drawn.to(side.device)


def tutorial(side: Side) -> Run:
    if side.kept:
        _memory.keep_freed()
    given: dict[str, Any] = {"resident": side.resident, "cached": side.cached}
    return rivals.tutorial(
        *(side.method, *images_and_labels(side)),
        **{"teacher": DeepNN(CLASSES), "device": side.device, "precision": side.precision},
        **{"batch_size": BATCH, **given},
    )


def torchdistill(side: Side) -> Run:
    given: dict[str, Any] = {"teacher": DeepNN(CLASSES), "device": side.device}
    return rivals.torchdistill_kd(
        *images_and_labels(side), batch_size=BATCH, resident=side.resident, **given
    )


def jax(side: Side) -> Run:
    os.environ["JAX_PLATFORMS"] = side.device
    try:
        importlib.import_module("jax").devices()
    except RuntimeError as error:
        raise Unavailable(f"jax finds no {side.device} here: {error}") from error
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[side.precision]
    return rivals_jax.jax_kd(
        *images_and_labels(side),
        **{"teacher_logits": outputs(side, CLASSES), "seeds": range(side.members)},
        **{"batch_size": BATCH, "dtype": dtype},
    )


def fkd(side: Side) -> Run:
    """An ensemble that is advanced as `fkd.train` does."""
    images, labels = images_and_labels(side)
    multiply_in(side.precision)
    if side.device == "cpu":
        _memory.keep_freed()
    shapes = {"logits": (CLASSES,), "hidden": (1024,), "feature_map": (32, 8, 8)}
    method = METHODS[side.method]()
    wanted = {name for term in method.values() for name in term.targets} - {"labels"}
    targets = {"labels": labels} | {name: outputs(side, *shapes[name]) for name in wanted}
    example = data.take(images, targets, torch.arange(BATCH, device=side.device))
    net = functional(lambda: LightNN(CLASSES), PRECISIONS[side.precision])
    members = ensemble(distill(net, method, optim.adam(1e-3), *example), compile=True)
    state = tree_map(lambda leaf: leaf.to(side.device), members.init(range(side.members)))
    order = data.order(0, 0, EXAMPLES, BATCH).to(side.device)
    take_rows, at_once = train.runner(
        lambda row: members.advance(state, *data.take(images, targets, row)), state, order.device
    )
    done = 0

    def run(steps: int) -> None:
        nonlocal done
        rows = order[torch.arange(done, done + steps, device=order.device) % len(order)]
        for few in rows.split(at_once):
            take_rows(few)
        done += steps
        wait(side.device)

    return run


def taught(side: Side) -> Run:
    """The teacher over TAUGHT images a step, as it is run once over all."""
    images = images_and_labels(side)[0][: TAUGHT[side.device]]
    multiply_in(side.precision)
    if side.device == "cpu":
        _memory.keep_freed()
    teacher = functional(lambda: DeepNN(CLASSES), PRECISIONS[side.precision])
    params, buffers = tree_map(lambda leaf: leaf.to(side.device), teacher.init(0))
    names = ("logits", "hidden", "feature_map")

    def run(steps: int) -> None:
        for _ in range(steps):
            evaluate.predict(teacher, params, buffers, images, names=names)
        wait(side.device)

    return run


def wait(device: str) -> None:
    """A GPU runs behind Python."""
    if device == "cuda":
        torch.cuda.synchronize()


LOOPS: dict[str, Callable[[Side], Run]] = {
    "tutorial": tutorial,
    "torchdistill": torchdistill,
    "jax": jax,
    "fkd": fkd,
    "fkd's teacher": taught,
}
