"""The loop over epochs and steps: the only place where training has side effects."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fkd import _check, _memory, data
from fkd.distillation import Distillation, Gradient, State, step
from fkd.ensemble import Order


class Trained(NamedTuple):
    """A trained ensemble and how it went.

    `curves` holds by name one list an epoch of one number a member: the terms' means over the
    epoch, and what `on_epoch` returned. `seconds` holds `first_step` (with compilation), `steps`
    (the others) and `evaluation`.
    """

    state: State
    curves: dict[str, list[list[float]]]
    seconds: dict[str, float]


def train(
    ensemble: Distillation,
    seeds: Sequence[int],
    images: Tensor,
    targets: Mapping[str, Tensor],
    *,
    epochs: int,
    batch_size: int,
    hyper: Mapping[str, Sequence[float]] | None = None,
    order: Order = "shared",
    order_seed: int = 0,
    diverged: Literal["raise", "keep"] = "raise",
    on_step: Callable[[], None] = lambda: None,
    on_epoch: Callable[[State], Mapping[str, Tensor]] = lambda state: {},
    reduce: Callable[[Gradient], Gradient] | None = None,
) -> Trained:
    """Train an ensemble (one made with the same `order`) from its seeds, to the last epoch.

    `images` are uint8 [examples, 3, height, width] and `targets` lead with the same axis; both stay
    on their device. `hyper` holds one value a member by name, as for `ensemble.init`. With
    `order="shared"` all members read the order of `order_seed`; with "own" each reads that of its
    own seed. `on_step` is called after each step, and `on_epoch` after each epoch with the state,
    to return one number a member by name; the next epoch writes over that state. `reduce` stands
    between gradient and update, where ranks average. On a CPU, memory that was freed stays with
    the process from here on, which makes a step faster.

    Raises FloatingPointError that names the member, epoch and step where a loss is not finite; with
    `diverged="keep"` it goes on, for one member does not touch another, and that member's curve of
    the loss is not finite from that epoch on.
    """
    _check.known("train", "diverged", diverged, ("raise", "keep"))
    if images.device.type == "cpu":
        _memory.keep_freed()
    state = tree_map(lambda leaf: leaf.to(images.device), ensemble.init(seeds, hyper))
    curves: dict[str, list[list[float]]] = {}
    seconds = {"first_step": 0.0, "steps": 0.0, "evaluation": 0.0}
    for epoch in range(epochs):
        begin, metrics = time.perf_counter(), []
        for number, index in enumerate(
            _indices(seeds, epoch, len(images), batch_size, order, order_seed).to(images.device)
        ):
            batch = data.take(images, targets, index)
            if reduce is None:
                means = ensemble.advance(state, *batch)
            else:
                state, means = step(ensemble, state, *batch, reduce)
            metrics.append(means)
            if epoch == number == 0:
                _wait(images.device)
                seconds["first_step"] = time.perf_counter() - begin
                begin = time.perf_counter()
            on_step()
        by_step = {name: torch.stack([m[name] for m in metrics]).cpu() for name in metrics[0]}
        seconds["steps"] += time.perf_counter() - begin
        if diverged == "raise":
            _check_finite(by_step["loss"], seeds, hyper or {}, epoch)
        begin = time.perf_counter()
        by_epoch = {name: values.mean(0) for name, values in by_step.items()} | dict(
            on_epoch(state)
        )
        for name, values in by_epoch.items():
            curves.setdefault(name, []).append(values.tolist())
        seconds["evaluation"] += time.perf_counter() - begin
    return Trained(state, curves, seconds)


def _indices(
    seeds: Sequence[int], epoch: int, examples: int, batch_size: int, order: Order, order_seed: int
) -> Tensor:
    """[steps, batch], or [steps, members, batch] where each member has its own order."""
    if order == "shared":
        return data.order(order_seed, epoch, examples, batch_size)
    return torch.stack([data.order(seed, epoch, examples, batch_size) for seed in seeds], dim=1)


def _check_finite(
    losses: Tensor, seeds: Sequence[int], hyper: Mapping[str, Sequence[float]], epoch: int
) -> None:
    """`losses` are [steps, members]."""
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        number, k = bad[0].tolist()
        who = ", ".join([f"seed {seeds[k]}", *(f"{name} {hyper[name][k]:g}" for name in hyper)])
        raise FloatingPointError(
            f"member {k} ({who}): the loss became {losses[number, k].item()} in epoch "
            f"{epoch + 1}, step {number + 1} of {len(losses)}; a lower learning rate may help"
        )


def _wait(device: torch.device) -> None:
    """A GPU runs behind Python: a clock is read only when it has caught up."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
