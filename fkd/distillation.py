"""Distillation as a pure function of state: `gradient`, a seam where ranks may meet, `update`."""

from __future__ import annotations  # the compiler cannot trace an annotation being evaluated

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check, _random
from fkd.methods import Method, Term
from fkd.model import Model, Tensors, functional, outputs_like
from fkd.optim import Optimizer


class State(NamedTuple):
    """All that a student in training is: a pytree of tensors.

    `params` and `buffers` hold `student` (by name) and `heads` (by term, then by name); `hyper`
    holds each hyperparameter as a scalar, under `kd.temperature` or `lr`; `step` counts the steps.
    """

    params: dict[str, Any]
    buffers: dict[str, Any]
    optimizer: Any
    hyper: Tensors
    step: Tensor


class Gradient(NamedTuple):
    """What a batch says: the gradient by `params`, the buffers after it, and means by name.

    `metrics` holds `loss`, the weighted sum, and each term's unweighted mean under its own name.
    """

    params: dict[str, Any]
    buffers: dict[str, Any]
    metrics: Tensors


class Distillation(NamedTuple):
    """How a student starts and how it takes a step, as three pure functions and one that is not.

    `init(seed, hyper) -> State`, where `hyper` replaces defaults by name;
    `gradient(state, images, targets) -> Gradient`; `update(state, gradient) -> State`.
    `advance(state, images, targets) -> metrics` is both in one and faster, for it writes the new
    state over the old one: call it on a state that nobody else reads.
    """

    init: Callable[..., State]
    gradient: Callable[[State, Tensor, Mapping[str, Tensor]], Gradient]
    update: Callable[[State, Gradient], State]
    advance: Callable[[State, Tensor, Mapping[str, Tensor]], Tensors]


def distill(
    student: Model,
    method: Method,
    optimizer: Optimizer,
    images: Tensor,
    targets: Mapping[str, Tensor],
    *,
    steps_per_epoch: int = 1,
) -> Distillation:
    """Train `student` on what `method` says it must match.

    `images` [batch, ...] and `targets` (`{"labels": [batch]}` and the teacher's outputs) are one
    example batch, of which only shapes and dtypes are read: every name, shape and number is checked
    on the meta device before anything runs. Targets receive no gradient. `steps_per_epoch` is the
    unit of the terms' warm-up.

    Raises ValueError for an empty method, an output or target that is not there, shapes that a loss
    refuses, a hyperparameter out of its range, or a student that draws random numbers from torch's
    global generator.

    >>> from fkd import methods, optim
    >>> net = functional(lambda: torch.nn.Linear(4, 3))
    >>> images, targets = torch.ones(2, 4), {"labels": torch.tensor([0, 2])}
    >>> run = distill(net, methods.supervised(), optim.sgd(0.1), images, targets)
    >>> state, metrics = step(run, run.init(0), images, targets)
    >>> sorted(metrics)
    ['ce', 'loss']
    """
    images, targets = tree_map(partial(torch.empty_like, device="meta"), (images, dict(targets)))
    heads = _check_and_build_heads(student, method, images, targets)
    defaults = dict(optimizer.hyper)
    for name, term in method.items():
        defaults |= {f"{name}.{key}": value for key, value in term.numbers.items()}

    @cache  # a sweep comes back to a setting with every seed
    def check_numbers(hyper: tuple[tuple[str, float], ...]) -> None:
        _check_and_build_heads(student, _with_numbers(method, dict(hyper)), images, targets)

    def init(seed: int, hyper: Mapping[str, float] | None = None) -> State:
        for name in hyper or {}:
            _check.known("init", "hyperparameter", name, defaults)
        if hyper:  # other numbers are checked as the first ones were
            _check.not_negative("init", **{k: v for k, v in hyper.items() if k in optimizer.hyper})
            check_numbers(tuple(hyper.items()))
        params, buffers = student.init(seed)
        # A head draws from a stream of its own, so that it is the same in whatever company.
        made = {
            name: head.init(int(_random.fold(torch.tensor(seed), zlib.crc32(name.encode()))))
            for name, head in heads.items()
        }
        all_params = {"student": params, "heads": {name: p for name, (p, _) in made.items()}}
        all_buffers = {"student": buffers, "heads": {name: b for name, (_, b) in made.items()}}
        numbers = defaults | dict(hyper or {})
        leaves = {k: torch.tensor(v, dtype=torch.float32) for k, v in numbers.items()}
        step = torch.zeros((), dtype=torch.int64)
        return State(all_params, all_buffers, optimizer.init(all_params), leaves, step)

    def gradient(state: State, images: Tensor, targets: Mapping[str, Tensor]) -> Gradient:
        targets = {name: target.detach() for name, target in targets.items()}

        def loss(params: dict[str, Any]) -> tuple[Tensor, tuple[dict[str, Any], Tensors]]:
            outputs, buffers = student.apply(
                params["student"], state.buffers["student"], images, train=True
            )
            total, means, head_buffers = torch.zeros((), device=images.device), {}, {}

            def through(name: str, inputs: tuple[Tensor, ...]) -> Tensors:
                made, head_buffers[name] = heads[name].apply(
                    params["heads"][name], state.buffers["heads"][name], inputs, train=True
                )
                return made

            for name, term in method.items():
                head = partial(through, name) if name in heads else None
                hyper = {key: state.hyper[f"{name}.{key}"] for key in term.hyper}
                means[name] = term.values(outputs, targets, hyper, head).mean()
                weight = state.hyper[f"{name}.weight"]
                if term.warmup:
                    epoch = state.step // steps_per_epoch + 1
                    weight = weight * (epoch / term.warmup).clamp(max=1)
                total = total + weight * means[name]
            return total, ({"student": buffers, "heads": head_buffers}, means)

        grads, (total, (buffers, means)) = torch.func.grad_and_value(loss, has_aux=True)(
            state.params
        )
        return Gradient(grads, buffers, {"loss": total} | means)

    def update(state: State, gradient: Gradient) -> State:
        params, moved = optimizer.update(
            gradient.params, state.optimizer, state.params, state.hyper
        )
        return State(params, gradient.buffers, moved, state.hyper, state.step + 1)

    return Distillation(init, gradient, update, in_place(gradient, update))


def in_place(
    gradient: Callable[..., Gradient], update: Callable[[State, Gradient], State]
) -> Callable[..., Tensors]:
    """The `advance` of these two."""

    def advance(state: State, images: Tensor, targets: Mapping[str, Tensor]) -> Tensors:
        found = gradient(state, images, targets)
        for old, new in zip(tree_leaves(state), tree_leaves(update(state, found)), strict=True):
            if new is not old:
                old.copy_(new)
        return found.metrics

    return advance


def step(
    distillation: Distillation,
    state: State,
    images: Tensor,
    targets: Mapping[str, Tensor],
    reduce: Callable[[Gradient], Gradient] = lambda gradient: gradient,
) -> tuple[State, Tensors]:
    """One step of training: the gradient, `reduce` where ranks average it, the update."""
    gradient = reduce(distillation.gradient(state, images, targets))
    return distillation.update(state, gradient), gradient.metrics


def student_of(state: State) -> tuple[Tensors, Tensors]:
    """The student's own (params, buffers), without the heads: what is kept after training."""
    return state.params["student"], state.buffers["student"]


def _check_and_build_heads(
    student: Model, method: Method, images: Tensor, targets: Mapping[str, Tensor]
) -> dict[str, Model]:
    """Run everything once on the meta device: what does not fit is named before any work."""
    if not method:
        raise ValueError("distill: the method has no terms, so there is nothing to train on")
    outputs = outputs_like(student, images, train=True)
    heads = {}
    for name, term in method.items():
        for wanted in term.students:
            if wanted not in outputs:
                raise ValueError(
                    f"term {name!r} wants student output {wanted!r}; "
                    f"this model gives: {', '.join(sorted(outputs))}"
                )
        for wanted in term.targets:
            if wanted not in targets:
                raise ValueError(
                    f"term {name!r} wants target {wanted!r}; "
                    f"these are given: {', '.join(sorted(targets))}"
                )
        try:
            through = None
            if term.head is not None:
                builder = _head_builder(term, outputs, targets)
                head = heads[name] = functional(builder, student.dtype)
                through = partial(outputs_like, head, train=True)
            value = term.values(outputs, targets, term.hyper, through)
        except ValueError as error:
            raise ValueError(f"term {name!r}: {error}") from error
        if value.ndim != 1 or not value.is_floating_point():
            raise ValueError(
                f"term {name!r}: a loss must return one floating-point value per example, but this "
                f"one returned {tuple(value.shape)} of {value.dtype}"
            )
    return heads


def _with_numbers(method: Method, hyper: Mapping[str, float]) -> Method:
    """The method with the weights and hyperparameters that `hyper` names."""
    replaced = {}
    for name, term in method.items():
        numbers = {key: hyper.get(f"{name}.{key}", value) for key, value in term.numbers.items()}
        replaced[name] = replace(term, weight=numbers.pop("weight"), hyper=numbers)
    return replaced


def _head_builder(
    term: Term, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
) -> Callable[[], nn.Module]:
    assert term.head is not None
    students = tuple(outputs[name].shape[1:] for name in term.students)
    matched = tuple(targets[name].shape[1:] for name in term.targets)
    one = isinstance(term.student, str), isinstance(term.target, str)
    return partial(
        term.head, students[0] if one[0] else students, matched[0] if one[1] else matched
    )
