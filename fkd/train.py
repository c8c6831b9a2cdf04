"""The loop over epochs and steps: the only place where training has side effects."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fkd import _capture, _check, _memory, data
from fkd.distillation import Distillation, Gradient, State, in_place
from fkd.ensemble import Order, size
from fkd.model import Tensors

STEPS_PER_GRAPH = 16  # enough that a GPU waits for Python once in milliseconds
Teacher = Callable[[Tensor], Mapping[str, Tensor]]


class Trained(NamedTuple):
    """A trained ensemble and how it went.

    `curves` holds by name one list an epoch of one number a member: the terms' means over the
    epoch, and what `on_epoch` returned. `seconds` holds `first_step` (with compilation; on a GPU
    the first graph of steps), `steps` (the others) and `evaluation`.
    """

    state: State
    curves: dict[str, list[list[float]]]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Students:
    """An ensemble to train: its seeds, one value a member of each hyperparameter, its evaluation.

    `on_epoch` is called after each epoch with the state, to return one number a member by name; the
    next epoch writes over that state. With `diverged="keep"` a member whose loss is not finite is
    kept, for one does not touch another, and its curve of the loss is not finite from there on.
    """

    ensemble: Distillation
    seeds: Sequence[int]
    hyper: Mapping[str, Sequence[float]] = field(default_factory=dict)
    on_epoch: Callable[[State], Mapping[str, Tensor]] = lambda state: {}
    diverged: Literal["raise", "keep"] = "raise"


def train(
    ensemble: Distillation,
    seeds: Sequence[int],
    images: Tensor,
    targets: Mapping[str, Tensor],
    *,
    epochs: int,
    batch_size: int,
    hyper: Mapping[str, Sequence[float]] | None = None,
    teacher: Teacher | None = None,
    order: Order = "shared",
    order_seed: int = 0,
    graph: int = STEPS_PER_GRAPH,
    diverged: Literal["raise", "keep"] = "raise",
    on_step: Callable[[], None] = lambda: None,
    on_epoch: Callable[[State], Mapping[str, Tensor]] = lambda state: {},
    reduce: Callable[[Gradient], Gradient] | None = None,
) -> Trained:
    """Train one ensemble (`Students`) as `train_together` does several.

    Raises FloatingPointError that names the member, epoch and step where a loss is not finite.
    """
    students = Students(ensemble, seeds, hyper or {}, on_epoch, diverged)
    trained = train_together(
        *({"": students}, images, targets),
        epochs=epochs,
        batch_size=batch_size,
        teacher=teacher,
        order=order,
        order_seed=order_seed,
        graph=graph,
        on_step=on_step,
        reduce=reduce,
    )[""]
    if isinstance(trained, FloatingPointError):
        raise trained
    return trained


def train_together(
    students: Mapping[str, Students],
    images: Tensor,
    targets: Mapping[str, Tensor],
    *,
    epochs: int,
    batch_size: int,
    teacher: Teacher | None = None,
    order: Order = "shared",
    order_seed: int = 0,
    graph: int = STEPS_PER_GRAPH,
    on_step: Callable[[], None] = lambda: None,
    reduce: Callable[[Gradient], Gradient] | None = None,
) -> dict[str, Trained | FloatingPointError]:
    """Train ensembles (made with the same `order`) side by side, to the last epoch.

    `images` are uint8 [examples, 3, height, width] and `targets` lead with the same axis; both stay
    on their device. What `teacher` makes of a batch of normalised images is matched beside them.
    With `order="shared"` all members of all ensembles read the order of `order_seed`, and the
    teacher sees each batch once for all; with "own" each reads that of its own seed. `on_step` is
    called after each step; `reduce` stands between gradient and update, where ranks average. On a
    GPU, `graph` steps at once are captured in a CUDA graph, or none where it is 0. On a CPU, memory
    that was freed stays with the process from here on, which makes a step faster.

    Where a member's loss is not finite and is not to be kept, its ensemble's result is the
    FloatingPointError.
    """
    _check.not_negative("train", graph=graph)
    for one in students.values():
        _check.known("train", "diverged", one.diverged, ("raise", "keep"))
    device = images.device
    if device.type == "cpu":
        _memory.keep_freed()
    states = {
        name: tree_map(lambda leaf: leaf.to(device), one.ensemble.init(one.seeds, one.hyper))
        for name, one in students.items()
    }
    advances = {name: _advance(one.ensemble, reduce) for name, one in students.items()}
    sizes = [size(state) for state in states.values()]

    def read(index: Tensor) -> tuple[Tensor, Tensors]:
        x, matched = data.take(images, targets, index)
        return x, matched | (_taught(teacher, x) if teacher else {})

    def body(index: Tensor) -> dict[str, Tensors]:
        shared = order == "shared"
        batches = [read(index)] * len(sizes) if shared else map(read, index.split(sizes))
        return {
            name: advances[name](state, *batch)
            for (name, state), batch in zip(states.items(), batches, strict=True)
        }

    run, at_once = runner(body, states, device, graph)
    curves: dict[str, dict[str, list[list[float]]]] = {name: {} for name in students}
    seconds = {name: {"first_step": 0.0, "steps": 0.0, "evaluation": 0.0} for name in students}
    errors: dict[str, FloatingPointError] = {}
    seeds = [seed for one in students.values() for seed in one.seeds]
    for epoch in range(epochs):
        begin, metrics, first = time.perf_counter(), [], 0.0
        indices = _indices(seeds, epoch, len(images), batch_size, order, order_seed).to(device)
        for rows in indices.split(at_once):
            metrics.append(run(rows))
            if not first:
                _wait(device)
                first = time.perf_counter() - begin
            for _ in rows:
                on_step()
        by_step = tree_map(lambda *parts: torch.cat(parts).cpu(), *metrics)  # [steps, members]
        # What the ensembles did together is shared out equally.
        taken = time.perf_counter() - begin
        for name, one in students.items():
            begin = time.perf_counter()
            error = _not_finite(by_step[name]["loss"], one, epoch)
            if error and one.diverged == "raise":
                errors.setdefault(name, error)
                continue
            found = {key: values.mean(0) for key, values in by_step[name].items()}
            for key, values in (found | dict(one.on_epoch(states[name]))).items():
                curves[name].setdefault(key, []).append(values.tolist())
            seconds[name]["evaluation"] += time.perf_counter() - begin
            compiled = first if epoch == 0 else 0.0
            seconds[name]["first_step"] += compiled / len(students)
            seconds[name]["steps"] += (taken - compiled) / len(students)
        if len(errors) == len(students):
            break
    return {
        name: errors.get(name) or Trained(states[name], curves[name], seconds[name])
        for name in students
    }


def runner(
    body: Callable[[Tensor], Any],
    state: Any,
    device: torch.device,
    graph: int = STEPS_PER_GRAPH,
) -> tuple[Callable[[Tensor], Any], int]:
    """What takes steps by their rows of the order, and how many rows it is given at once.

    `body(row)` takes one step and writes `state` in place: on a GPU many are captured in a graph.
    What it returns comes back stacked over the rows.
    """
    if device.type == "cuda" and graph:
        return _capture.Captured(body, state), graph
    return partial(_capture.stacked, body), 1


def _advance(
    ensemble: Distillation, reduce: Callable[[Gradient], Gradient] | None
) -> Callable[..., Tensors]:
    if reduce is None:
        return ensemble.advance
    return in_place(lambda *given: reduce(ensemble.gradient(*given)), ensemble.update)


@torch.no_grad()
def _taught(teacher: Teacher, x: Tensor) -> Tensors:
    """The teacher's outputs for [batch, ...], or for [members, batch, ...]."""
    outputs = teacher(x.flatten(0, -4))
    return {name: output.unflatten(0, x.shape[:-3]) for name, output in outputs.items()}


def _indices(
    seeds: Sequence[int], epoch: int, examples: int, batch_size: int, order: Order, order_seed: int
) -> Tensor:
    """[steps, batch], or [steps, members, batch] where each member has its own order."""
    if order == "shared":
        return data.order(order_seed, epoch, examples, batch_size)
    return torch.stack([data.order(seed, epoch, examples, batch_size) for seed in seeds], dim=1)


def _not_finite(losses: Tensor, students: Students, epoch: int) -> FloatingPointError | None:
    """`losses` are [steps, members]."""
    bad = (~losses.isfinite()).nonzero()
    if not len(bad):
        return None
    number, k = bad[0].tolist()
    numbers = (f"{name} {values[k]:g}" for name, values in students.hyper.items())
    who = ", ".join([f"seed {students.seeds[k]}", *numbers])
    return FloatingPointError(
        f"member {k} ({who}): the loss became {losses[number, k].item()} in epoch "
        f"{epoch + 1}, step {number + 1} of {len(losses)}; a lower learning rate may help"
    )


def _wait(device: torch.device) -> None:
    """A GPU runs behind Python: a clock is read only when it has caught up."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
