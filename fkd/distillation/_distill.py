"""A distillation, of which everything is checked before any work; and its step."""

from __future__ import annotations  # the compiler cannot trace an annotation being evaluated

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fkd import _check, _random
from fkd.data import Batch
from fkd.data._source import check_batch
from fkd.distillation._loss import loss_of, scheduled
from fkd.distillation._split import check_split, reduce_over
from fkd.distillation._state import Distillation, Gradient, Loss, Parts, State
from fkd.methods import Context, Method, Term, fit
from fkd.model import Model, Tensors, check, lightly, outputs_like
from fkd.optim import Optimizer, Path, by_path, only
from fkd.schedules import Schedule
from fkd.split import Split


def distill(
    student: Model,
    method: Method,
    optimizer: Optimizer,
    batch: Batch,
    *,
    schedules: Mapping[str, Schedule] | None = None,
    context: Context | None = None,
    split: Split | None = None,
) -> Distillation:
    """Train `student` on what `method` says it must match.

    `batch`, inputs and targets (`{"labels": [batch]}` and the teacher's outputs), is one example
    batch: every name, shape and number is checked on it before any work, on the meta device where
    the student can run there; and a few of its examples show that the student is a pure function
    (`fkd.model.check`), unless they are on the meta device themselves. Targets receive no gradient.
    A schedule multiplies the number of its name (`lr`, `kd.weight`) by a function of the step;
    those that the method brings along are replaced by name. `context` holds what the method's terms
    need beyond shapes.

    A parameter that the loss does not reach (of a classifier that a method leaves out, of a layer
    that the module never calls) stays as it is, without decay and without a part in the optimizer's
    state, as torch.optim leaves one alone whose gradient is None. What is reached is found out here
    once, by the graph of the example batch: a layer that is left out at some steps only, by the
    numbers that it sees, is reached at every step, or at none.

    With a `split`, a part of each batch is computed here, and the other parts elsewhere at the same
    time: `loss` and `gradient` take the whole batch all the same, and are this part's shares;
    `reduce` is the sum of the shares. Dropout goes by the example's number in the whole batch,
    BatchNorm takes the whole batch's statistics, and a term that relates examples (`Term.whole`)
    sees all of them; so a step is that of the whole batch, but for rounding. That it is so for this
    student and method a few of the example batch show, in two parts, in float64.

    Raises ValueError for an argument of another kind, a batch without examples, an output, target,
    number or need that is not there, shapes that a loss or a head does not take, a loss that is not
    one value per example or that reaches no parameter, a schedule that gives anything but one
    number, parameters that the optimizer does not take, and a batch that cannot be split; `init`
    for a seed outside [0, 2³²).

    >>> from fkd import methods, optim
    >>> from fkd.model import functional
    >>> net = functional(lambda: torch.nn.Linear(4, 3))
    >>> batch = Batch(torch.ones(2, 4), {"labels": torch.tensor([0, 2])})
    >>> run = distill(net, methods.ce(), optim.sgd(0.1), batch)
    >>> state, metrics = step(run, run.init(0), batch)
    >>> sorted(metrics)
    ['ce', 'loss']
    """
    return distill_known(
        student,
        None,
        method,
        optimizer,
        batch,
        schedules=schedules,
        context=context,
        split=split,
    )


def distill_known(
    student: Model,
    outputs: Tensors | None,
    method: Method,
    optimizer: Optimizer,
    batch: Batch,
    *,
    schedules: Mapping[str, Schedule] | None = None,
    context: Context | None = None,
    split: Split | None = None,
) -> Distillation:
    """`distill` for a student that many methods train, which needs to be tried only once.

    `outputs` are what `outputs_like` says of the batch in training, of a student that
    `fkd.model.check` has let pass; with None it is tried here.
    """
    context = Context() if context is None else context
    schedules = {} if schedules is None else schedules
    _check.kind("distill", Model, student=student)
    _check.kind("distill", Optimizer, optimizer=optimizer)
    _check.kind("distill", Batch, batch=batch)
    _check.kind("distill", Context, context=context)
    if split is not None:
        _check.kind("distill", Split, split=split)
    _check.mapping("distill", method=method, schedules=schedules, targets=batch.targets)
    if check_batch("distill", batch.inputs, batch.targets) == 0:
        raise ValueError("distill: the batch holds no examples; give at least one")
    if outputs is None:
        check(student, batch.inputs)
        outputs = outputs_like(student, batch.inputs, train=True)
    targets = tree_map(partial(torch.empty_like, device="meta"), dict(batch.targets))
    heads = _check_and_build_heads(student, method, outputs, targets, context)
    defaults = dict(optimizer.hyper)
    factors: dict[str, Schedule] = {}
    for name, term in method.items():
        for key, value in term.numbers.items():
            if f"{name}.{key}" in optimizer.hyper:
                raise ValueError(
                    f"distill: {name}.{key} is a number of the term {name!r} and of the optimizer "
                    "too; give one of them another name"
                )
            defaults[f"{name}.{key}"] = value
        for key, schedule in term.schedules.items():
            factors[f"{name}.{key}"] = schedule(context)
    for name, schedule in schedules.items():
        _check.known("distill", "hyperparameter of a schedule", name, defaults)
        factors[name] = schedule
    for name, schedule in factors.items():
        _check_schedule(name, schedule)
    streams = {name: zlib.crc32(name.encode()) for name in heads}
    parts = Parts(student, method, optimizer, heads, streams, factors)
    parts = replace(parts, optimizer=_of_reached(parts, defaults, batch))
    check_numbers = cache(partial(_check_numbers, parts, outputs, targets, context))  # of a sweep
    if split is not None:
        check_split(parts, _untrained(parts, defaults, seed=0), batch)
        parts = replace(parts, split=split)
    loss = partial(loss_of, parts)
    return Distillation(
        partial(_init, parts, defaults, check_numbers),
        loss,
        partial(_gradient, loss),
        partial(_update, parts),
        None if split is None else partial(reduce_over, split),
    )


def step(distillation: Distillation, state: State, batch: Batch) -> tuple[State, Tensors]:
    """One step of training: the gradient, its sum over parts where the batch is split, the update.

    Raises ValueError for an argument of another kind, and for a batch or a state that is not of
    this distillation's shapes.
    """
    _check.kind("step", Distillation, distillation=distillation)
    _check.kind("step", State, state=state)
    _check.kind("step", Batch, batch=batch)
    if distillation.reduce is None:
        wanted = (
            "batch and state must be as distill was given and init made them, and what the module "
            "does must be known to torch.func"
        )
        with _check.fitting("step", wanted):
            gradient = distillation.gradient(state, batch)
    else:  # what fails there may be another rank
        gradient = distillation.reduce(distillation.gradient(state, batch))
    return distillation.update(state, gradient), gradient.metrics


def _check_schedule(name: str, schedule: Schedule) -> None:
    """Raise where a schedule gives anything but one number: a factor would be broadcast."""
    _check.function("distill", **{f"schedule of {name!r}": schedule})
    factor = schedule(torch.zeros((), dtype=torch.int64))
    if not isinstance(factor, Tensor) or factor.ndim:
        form = tuple(factor.shape) if isinstance(factor, Tensor) else type(factor).__name__
        raise ValueError(
            f"distill: the schedule of {name!r} must give a tensor of one number, [], at a step, "
            f"but it gives {form}"
        )


def _init(
    parts: Parts,
    defaults: dict[str, float],
    check: Callable[[tuple[tuple[str, float], ...]], None],
    seed: int,
    hyper: Mapping[str, float] | None = None,
    place: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> State:
    _check.seed("init", seed=seed)
    hyper = {} if hyper is None else hyper
    _check.mapping("init", hyper=hyper)
    for name, value in hyper.items():
        _check.known("init", "hyperparameter", name, defaults)
        _check.plain("init", **{name: value})
        _check.scalar("init", **{name: value})
    rates = {name: value for name, value in hyper.items() if name in parts.optimizer.hyper}
    _check.not_negative("init", **rates)
    shares = {name: rates[name] for name in parts.optimizer.shares if name in rates}
    _check.share("init", **shares)
    of_terms = tuple((name, value) for name, value in hyper.items() if name not in rates)
    if of_terms:  # other numbers are checked as the first ones were
        check(of_terms)
    state = _untrained(parts, {**defaults, **hyper}, seed)
    if place is not None:
        state = state._replace(params=place(state.params), buffers=place(state.buffers))
    return state._replace(optimizer=parts.optimizer.init(state.params))


def _untrained(parts: Parts, hyper: Mapping[str, float], seed: int) -> State:
    """The state of that seed, but for its optimizer's."""
    student = parts.student.init(seed)
    heads = {
        name: head.init(int(_random.fold(torch.tensor(seed), parts.streams[name])))
        for name, head in parts.heads.items()
    }
    return State(
        params={"student": student[0], "heads": {name: pair[0] for name, pair in heads.items()}},
        buffers={"student": student[1], "heads": {name: pair[1] for name, pair in heads.items()}},
        optimizer=(),
        hyper={name: torch.tensor(value, dtype=torch.float32) for name, value in hyper.items()},
        key=torch.tensor(seed, dtype=torch.int64),
        step=torch.zeros((), dtype=torch.int64),
    )


def _of_reached(parts: Parts, hyper: Mapping[str, float], batch: Batch) -> Optimizer:
    """The optimizer for those parameters alone that the loss reaches, which it is tried on."""
    state = _untrained(parts, hyper, seed=0)
    paths, reached = lightly(partial(_reach, parts), state, batch)
    if not reached:
        raise ValueError(
            "distill: the loss reaches no parameter, neither of the student nor of a head, so "
            "there is nothing to train; take what its terms compare from a layer that has some, "
            "and see that nothing on the way is detached or frozen, and torch.inference_mode off"
        )
    optimizer = parts.optimizer
    if reached < paths:
        optimizer = only(optimizer, reached)
    optimizer.init(state.params)  # which refuses what it cannot train, as Adam a complex number
    return optimizer


def _reach(parts: Parts, state: State, batch: Batch) -> tuple[frozenset[Path], frozenset[Path]]:
    """The paths of all parameters, and of those to which the loss has a gradient."""
    params = tree_map(lambda leaf: leaf.detach().requires_grad_(), state.params)
    leaves = by_path(params)
    with torch.enable_grad():
        total, _ = loss_of(parts, params, state, batch)
    if not total.requires_grad:
        return frozenset(leaves), frozenset()
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    for path, gradient in zip(leaves, gradients, strict=True):
        if gradient is not None and gradient.layout != torch.strided:
            raise ValueError(
                f"distill: the gradient of {'.'.join(path)} must be dense, but it is "
                f"{gradient.layout}; leave out sparse=True of nn.Embedding"
            )
    reached = [path for path, g in zip(leaves, gradients, strict=True) if g is not None]
    return frozenset(leaves), frozenset(reached)


def _gradient(loss: Callable[..., Loss], state: State, batch: Batch) -> Gradient:
    differentiate = torch.func.grad_and_value(loss, has_aux=True)
    grads, (total, (buffers, means)) = differentiate(state.params, state, batch)
    return Gradient(grads, buffers, {"loss": total} | means)


def _update(parts: Parts, state: State, gradient: Gradient) -> State:
    params, optimizer = parts.optimizer.update(
        gradient.params, state.optimizer, state.params, scheduled(parts.schedules, state)
    )
    return State(params, gradient.buffers, optimizer, state.hyper, state.key, state.step + 1)


def _check_and_build_heads(
    student: Model, method: Method, outputs: Tensors, targets: Tensors, context: Context
) -> dict[str, Model]:
    """Run every loss once on the meta device: what does not fit is named before any work."""
    if not method:
        raise ValueError("distill: the method has no terms, so there is nothing to train on")
    heads = {}
    for name, term in method.items():
        _check.kind("distill", Term, **{f"term {name!r}": term})
        for output in term.students:
            if output not in outputs:
                raise ValueError(
                    f"term {name!r} wants student output {output!r}; "
                    f"this model gives: {', '.join(sorted(outputs))}; {_remedy(term)}"
                )
        for target in term.targets if term.mask is None else (*term.targets, term.mask):
            if target not in targets:
                raise ValueError(
                    f"term {name!r} wants target {target!r}; "
                    f"these are given: {', '.join(sorted(targets))}"
                )
        try:
            head, value = fit(term, outputs, targets, context, student.dtype)
        except ValueError as error:
            raise ValueError(f"term {name!r}: {error}") from error
        if head is not None:
            heads[name] = head
        if value.ndim != 1 or not value.is_floating_point():
            remedy = "; of torch's losses give reduction='none'" if value.ndim == 0 else ""
            raise ValueError(
                f"term {name!r}: a loss must return one floating-point value per example or more, "
                f"[batch, ...], but this one returned {tuple(value.shape)} of {value.dtype}{remedy}"
            )
    return heads


def _remedy(term: Term) -> str:
    """Where an output comes from that the student does not give."""
    if term.wrap is not None:
        return "fkd.methods.wrapped builds the student that a method adds outputs to"
    return (
        "where it goes by another, let a module around this one return it by that name; "
        "fkd.models.features names inner layers"
    )


def _check_numbers(
    parts: Parts,
    outputs: Tensors,
    targets: Tensors,
    context: Context,
    hyper: tuple[tuple[str, float], ...],
) -> None:
    method = {name: term.with_numbers(name, dict(hyper)) for name, term in parts.method.items()}
    _check_and_build_heads(parts.student, method, outputs, targets, context)
