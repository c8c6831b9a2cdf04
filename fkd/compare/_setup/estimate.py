"""The memory that a comparison will take, held against what is free before it begins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fkd.compare._counted import gib
from fkd.compare._setup.forward import forward
from fkd.compare._setup.free import free_memory
from fkd.compare._setup.task import Candidates, Task, size_of
from fkd.compare.environment import ranks_here
from fkd.data import Data, Resident, Source
from fkd.distributed import Mesh
from fkd.execution import Plan

TIGHT = 0.8  # of what is free; more is told
# Logits of a split: those of its batches, then all together, then what the scores make of them.
COPIES_OF_LOGITS = 3
# torch.func keeps the backward pass too, from which a second derivative could be taken.
KEPT_BY_FUNC = 2
FEWER = "choose fewer seeds or settings of a sweep, or a smaller network"
# What each part is called, the argument that it grows with, and what makes it smaller.
PARTS = {
    "states": ("the students' states", "seeds", FEWER),
    "copy": (
        "a copy of these, to begin with and for each checkpoint, or of all students that may join",
        "seeds",
        f"{FEWER}, or a lower max_seeds",
    ),
    "step": ("a step", "batch_size", "choose a smaller batch, or a chunk of members at once"),
    "outputs": (
        "the teacher's outputs",
        "teacher_memory",
        "give less, and the teacher is asked about each batch",
    ),
    "logits": (
        "the logits of an evaluation",
        "seeds",
        "choose fewer seeds or settings, or fewer examples to test on",
    ),
}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Estimate:
    """Bytes that a comparison takes beside what it holds already, at the training that takes most.

    `states` are those of all members (parameters, buffers, optimizer, numbers), to the byte. `copy`
    is as much again, in the computer's own memory: while they are made, and while a checkpoint of
    them is written; or the trained students of as many seeds as a run in two stages may come to,
    where that is more, for new ones join those before in one file. `step` is what a step takes
    beside the states: the gradient and the new state of the members that are computed at once, and
    what autograd keeps of their forward pass, found on the meta device; what an operator or the
    backward pass needs for a moment is not in it, nor is what the compiler takes. `outputs` are
    those of the teacher that are kept, and `logits` what an evaluation takes. `data` is held
    already, and in no sum.
    """

    members: int
    states: int
    copy: int
    step: int
    outputs: int
    logits: int
    data: int

    def on(self, place: torch.device, device: torch.device) -> dict[str, int]:
        """The parts that lie in a place, where the students are trained on this device."""
        places = {name: CPU if name == "copy" else device for name in PARTS}
        return {name: getattr(self, name) for name in PARTS if places[name].type == place.type}


def check_memory(
    task: Task, methods: Mapping[str, Candidates], teacher: Candidates | None, mesh: Mesh
) -> list[str]:
    """What a user should know of the memory that a comparison will take on this rank.

    Raises ValueError, which begins with the argument to change, where more is needed than is free
    for each of the ranks that share this machine.
    """
    device = task.data.train.device
    estimate = estimated(task, methods, teacher, mesh)
    notes = []
    for place in (CPU,) if device.type == "cpu" else (device, CPU):
        parts, free = estimate.on(place, device), free_memory(place) / sharers(place, mesh)
        need = sum(parts.values())
        told = (
            f"the largest training (members: {estimate.members}) takes about {gib(need)} beside "
            f"{gib(estimate.data)} of data, and {gib(free)} of the {place.type}'s memory are free"
        )
        if need > free:
            most = max(parts, key=parts.__getitem__)
            _, argument, remedy = PARTS[most]
            each = ", ".join(f"{PARTS[name][0]} {gib(size)}" for name, size in parts.items())
            raise ValueError(f"{argument}: {told}: {each}; {remedy}")
        if need > TIGHT * free:
            notes.append(f"Memory is tight: {told}")
    return notes


def check_data(data: Data, device: torch.device) -> None:
    """Raise ValueError where data that lie in memory do not fit on a device to which they go."""
    size, free = _resident(data.train, data.test), free_memory(device)
    if device != data.train.device and size > free:
        raise ValueError(
            f"memory: the data take {gib(size)}, and {gib(free)} of the {device.type}'s memory "
            "are free; allow less than they take, and images are read from disk"
        )


def estimated(
    task: Task, methods: Mapping[str, Candidates], teacher: Candidates | None, mesh: Mesh
) -> Estimate:
    """The estimate of this rank's part of a task whose methods have these candidates; `teacher` is
    the one that is trained first, if one is."""
    trainings = []
    for names in task.groups:
        plans = {name: task.plan_of(task.members([name]), task.epochs) for name in names}
        group = [(methods[name], members_here(task, name, mesh), plans[name]) for name in names]
        trainings.append(_training(task, group, _outputs(task), mesh))
    if teacher is not None:
        alone = (teacher, 1, task.plan_of(1, task.teacher_epochs))
        trainings.append(_training(task, [alone], 0, mesh))
    most = max(trainings, key=_total)
    if task.resolution is None:  # else no training has more seeds than the pilot
        return most
    joined = task.resolution.max_seeds * max(one.sizes.student for one in methods.values())
    return replace(most, copy=max(most.copy, joined))


def sharers(place: torch.device, mesh: Mesh) -> int:
    """How many ranks share the memory of a place: this machine's, or one of its GPUs'."""
    ranks = ranks_here(mesh.ranks)
    return ranks if place.type == "cpu" else math.ceil(ranks / torch.cuda.device_count())


def members_here(task: Task, name: str, mesh: Mesh) -> int:
    """How many of a method's students this rank has."""
    here = mesh.members(task.members([name]))
    return here.stop - here.start


def _total(estimate: Estimate) -> int:
    return sum(estimate.on(CPU, CPU).values())


def _outputs(task: Task) -> int:
    """The bytes of the teacher's outputs that are kept."""
    if task.kept is None:
        return 0
    targets = task.recipe.batch.targets
    return task.kept.examples * sum(_of_example(targets[name]) for name in task.wanted)


def _training(
    task: Task, group: Sequence[tuple[Candidates, int, Plan]], outputs: int, mesh: Mesh
) -> Estimate:
    """The estimate of candidates that are trained side by side, so many of each here, by a plan."""
    batch = task.recipe.batch
    # A sweep measures all students on both: after each epoch on the one, once on the other.
    examined = max(x.examples for x in (task.data.test, task.validation) if x is not None)
    members = sum(count for _, count, _ in group)
    here = batch if mesh.split is None else mesh.split.own(batch, task.data.train.batch_size)
    states, step, logits = 0, 0, 0
    for one, count, plan in group:
        size = one.sizes
        kept = (one.forward if here is batch else forward(one.distillation, here)).kept
        if (plan.layout, plan.compile) == ("vmap", "none"):
            kept *= KEPT_BY_FUNC
        alone = size.params + size.state + kept  # the gradient, the new state
        at_once = 1 if plan.layout == "loop" else min(plan.chunk or count, count)
        states, step = states + count * size.state, max(step, at_once * alone)
        of_example = sum(
            _of_example(x) for name, x in one.network.examined.items() if name == "logits"
        )
        logits = max(logits, COPIES_OF_LOGITS * count * examined * of_example)
    reads = size_of((batch.inputs, [batch.targets[name] for name in (*task.own, *task.wanted)]))
    step += reads * (members if task.order == "own" else 1)
    data = _resident(task.data.train, task.data.test, task.validation)
    return Estimate(members, states, states, step, outputs, logits, data)


def _resident(*sources: Source | None) -> int:
    return sum(size_of((x.inputs, x.targets)) for x in sources if isinstance(x, Resident))


def _of_example(output: Tensor) -> int:
    return math.prod(output.shape[1:]) * output.itemsize
