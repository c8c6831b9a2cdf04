"""An ensemble's step in place, laid out as a plan says."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from fkd import _check
from fkd.data import Batch
from fkd.distillation import Distillation, Gradient, State
from fkd.ensemble import Order, ensemble, member, part, size, stack
from fkd.execution._compile import Compiled
from fkd.execution._ensemble_layers import EnsembleLayers
from fkd.execution._layers import FasterLayers
from fkd.execution._plan import Plan
from fkd.model import Tensors

Reduce = Callable[[Gradient], Gradient]


class Advance:
    """An ensemble's step in place: `advance(state, batch)` writes the new state over the old one,
    and returns the metrics, a number a member."""

    def __init__(self, run: Callable[[State, Batch], Tensors], plan: Plan, parts: Sequence[Any]):
        self._run, self._plan = run, plan
        self._compiled = [part for part in parts if isinstance(part, Compiled)]

    def __call__(self, state: State, batch: Batch) -> Tensors:
        return self._run(state, batch)

    @property
    def plan(self) -> Plan:
        """The plan by which the last step was taken: the one that was asked for, but not compiled
        where the compiler could not take the step, or a part of it."""
        if any(part.gave_way for part in self._compiled):
            return replace(self._plan, compile="none")
        return self._plan


def lay(
    distillation: Distillation,
    plan: Plan,
    *,
    order: Order = "shared",
    fall_back: bool = False,
) -> Advance:
    """`advance(state, batch)`: the ensemble's step, which writes over the stacked state.

    It returns the metrics, a number a member. Call it on a state that nobody else reads: no second
    state is made. `plan` is settled (see `Plan.settle`). The distillation's `reduce` stands between
    gradient and update, for all members at once; without it both are one. Where the compiler cannot
    take the step, the first call raises ValueError, or with `fall_back` warns and goes on without
    the compiler, as `advance.plan` says from then on.

    Raises ValueError for an argument of another kind, and for a plan that still has something to
    choose.
    """
    _check.kind("lay", Distillation, distillation=distillation)
    _check.kind("lay", Plan, plan=plan)
    _check.known("lay", "order", order, ("shared", "own"))
    _check.kind("lay", bool, fall_back=fall_back)
    if "auto" in (plan.layout, plan.compile):
        raise ValueError(
            f"lay: the plan must have nothing left to choose, but it is {plan}; settle it with "
            "plan.settle(device, steps, members)"
        )
    compiles = plan.compile == "step"
    if plan.layout == "loop":
        alone: Callable[..., Any] = partial(_by_autograd, distillation)
        step: Callable[..., Any] = partial(_advance, alone, distillation.update)
        if compiles:
            fast = partial(_advance, distillation.gradient, distillation.update)
            step = Compiled(partial(_faster, fast), step if fall_back else None)
            fast = partial(_faster, distillation.gradient)
            alone = Compiled(fast, alone if fall_back else None)
        gradient = partial(_one_by_one, alone, order)
        half, whole = alone, partial(_one_by_one, step, order)
    else:
        together = ensemble(distillation, order=order)
        wide: Callable[..., Any] = partial(_wide, together.gradient)
        step = partial(_advance, wide, together.update)
        if compiles:
            wide = Compiled(wide, wide if fall_back else None)
            step = Compiled(step, step if fall_back else None)
        gradient = partial(_in_chunks, wide, order, plan.chunk)
        half, whole = wide, partial(_in_chunks, step, order, plan.chunk)
    if distillation.reduce is None:
        return Advance(whole, plan, [step])
    update: Callable[..., Any] = torch.func.vmap(distillation.update)
    if compiles:
        update = Compiled(update, update if fall_back else None)
    reduced = partial(_advance, partial(_reduced, gradient, distillation.reduce), update)
    return Advance(reduced, plan, [half, update])


def _advance(
    gradient: Callable[[State, Batch], Gradient],
    update: Callable[[State, Gradient], State],
    state: State,
    batch: Batch,
) -> Tensors:
    step = gradient(state, batch)
    with torch.no_grad():
        for old, new in zip(tree_leaves(state), tree_leaves(update(state, step)), strict=True):
            if new is not old:
                old.copy_(new)
    return step.metrics


def _reduced(
    gradient: Callable[[State, Batch], Gradient], reduce: Reduce, state: State, batch: Batch
) -> Gradient:
    return reduce(gradient(state, batch))


def _faster(function: Callable[[State, Batch], Any], state: State, batch: Batch) -> Any:
    with FasterLayers():
        return function(state, batch)


def _wide(function: Callable[[State, Batch], Any], state: State, batch: Batch) -> Any:
    with EnsembleLayers():
        return function(state, batch)


def _by_autograd(distillation: Distillation, state: State, batch: Batch) -> Gradient:
    """`distillation.gradient`, which is recorded once only: `torch.func.grad` would keep what a
    second derivative needs, and takes a tenth longer where nothing is compiled."""
    leaves, structure = tree_flatten(state.params)
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    params = tree_unflatten(leaves, structure)
    with torch.enable_grad():
        total, (buffers, means) = distillation.loss(params, state, batch)
    gradients = torch.autograd.grad(total, leaves, materialize_grads=True)
    buffers, metrics = tree_map(torch.Tensor.detach, (buffers, {"loss": total} | means))
    return Gradient(tree_unflatten(gradients, structure), buffers, metrics)


def _one_by_one(
    run: Callable[[State, Batch], Any], order: Order, state: State, batch: Batch
) -> Any:
    """The members' results, stacked. A member's state is a view of the common tensors."""
    return stack(
        [
            run(member(state, k), batch if order == "shared" else member(batch, k))
            for k in range(size(state))
        ]
    )


def _in_chunks(
    run: Callable[[State, Batch], Any], order: Order, chunk: int | None, state: State, batch: Batch
) -> Any:
    members = size(state)
    if chunk is None or chunk >= members:
        return run(state, batch)
    results = []
    for start in range(0, members, chunk):
        few = slice(start, start + chunk)
        results.append(run(part(state, few), batch if order == "shared" else part(batch, few)))
    return tree_map(lambda *leaves: torch.cat(leaves), *results)
