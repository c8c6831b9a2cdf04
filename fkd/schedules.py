"""Schedules: a factor as a function of the step, to multiply a learning rate or any other number.

A schedule takes the step, an int64 scalar counted from 0, and returns a scalar in torch's default
dtype. It is a module-level function bound by `functools.partial`, so it can be pickled, compiled
and mapped over members. Time is in steps, whole numbers; `by_epoch` lets it go in epochs.
Everything here raises ValueError for what is no number of Python's, and for a number that float32
cannot hold.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from fkd import _check

Schedule = Callable[[Tensor], Tensor]


def constant(factor: float = 1.0) -> Schedule:
    """The same factor at every step. Raises ValueError for a negative one.

    >>> float(constant()(torch.tensor(7)))
    1.0
    """
    _check.plain("constant", factor=factor)
    _check.not_negative("constant", factor=factor)
    return partial(_constant, factor)


def _constant(factor: float, step: Tensor) -> Tensor:
    return torch.ones_like(step, dtype=torch.get_default_dtype()) * factor


def linear_warmup(steps: int) -> Schedule:
    """min((step + 1) / steps, 1): full from the last of `steps` steps on, and never zero.

    Raises ValueError where `steps` is not above zero.

    >>> [float(linear_warmup(4)(torch.tensor(i))) for i in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    _check.count("linear_warmup", steps=steps)
    return partial(_linear_warmup, steps)


def _linear_warmup(steps: int, step: Tensor) -> Tensor:
    return ((step + 1) / steps).clamp(max=1)


def cosine(total: int, *, final: float = 0.0) -> Schedule:
    """A half cosine from 1 to `final` over `total` steps: `CosineAnnealingLR` with
    `eta_min = final · lr`.

    After `total` steps it stays at `final`, where torch's class would rise again. Raises ValueError
    where `total` is not above zero or `final` is negative.

    Loshchilov and Hutter, "SGDR" (2017), equation 5, without restarts.

    >>> [round(float(cosine(4)(torch.tensor(i))), 3) for i in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    _check.count("cosine", total=total)
    _check.plain("cosine", final=final)
    _check.not_negative("cosine", final=final)
    return partial(_cosine, total, final)


def _cosine(total: int, final: float, step: Tensor) -> Tensor:
    return _half_cosine(1.0, final, (step / total).clamp(0, 1))


def _half_cosine(initial: float, final: float, done: Tensor) -> Tensor:
    return final + (initial - final) * ((1 + torch.cos(math.pi * done)) / 2)


def warmup_cosine(total: int, warmup: int = 0, *, final: float = 0.0) -> Schedule:
    """A linear rise over `warmup` steps, then a half cosine to `final` at step `total`.

    Raises ValueError where `warmup` is not in [0, total - 1], or for numbers that `cosine` refuses.

    Loshchilov and Hutter, "SGDR" (2017), equation 5; the warm-up is that of Goyal et al.,
    "Accurate, Large Minibatch SGD" (2017), section 2.2.

    >>> schedule = warmup_cosine(10, warmup=2)
    >>> [round(float(schedule(torch.tensor(i))), 2) for i in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    _check.count("warmup_cosine", total=total)
    _check.count("warmup_cosine", least=0, most=total - 1, warmup=warmup)
    _check.plain("warmup_cosine", final=final)
    _check.not_negative("warmup_cosine", final=final)
    return partial(_warmup_cosine, total, warmup, final)


def _warmup_cosine(total: int, warmup: int, final: float, step: Tensor) -> Tensor:
    rise = _linear_warmup(max(warmup, 1), step)
    return rise * _cosine(total - warmup, final, step - warmup)  # flat until `warmup`


def piecewise(milestones: Sequence[int], factor: float = 0.1) -> Schedule:
    """`factor` to the power of how many milestones were reached: `MultiStepLR`.

    Raises ValueError for no milestone, a milestone below 1, or a factor not above zero.

    >>> [round(float(piecewise([2, 4])(torch.tensor(i))), 3) for i in (0, 1, 2, 3, 4, 9)]
    [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    _check.sequence("piecewise", milestones=milestones)
    if not milestones:
        raise ValueError(
            "piecewise: milestones are empty, so the factor never changes; "
            "give at least one step, or use constant()"
        )
    for milestone in milestones:
        _check.count("piecewise", milestone=milestone)
    _check.plain("piecewise", factor=factor)
    _check.positive("piecewise", factor=factor)
    return partial(_piecewise, tuple(milestones), factor)


def _piecewise(milestones: tuple[int, ...], factor: float, step: Tensor) -> Tensor:
    reached = torch.zeros_like(step)
    for milestone in milestones:
        reached = reached + (step >= milestone)
    return torch.pow(factor, reached)


def exponential(factor: float) -> Schedule:
    """`factor` to the power of the step: `ExponentialLR`.

    `by_epoch(exponential(factor), n)` is `StepLR`, a fall after every n steps. Raises ValueError
    where `factor` is not above zero.

    >>> [float(exponential(0.5)(torch.tensor(i))) for i in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """
    _check.plain("exponential", factor=factor)
    _check.positive("exponential", factor=factor)
    return partial(_exponential, factor)


def _exponential(factor: float, step: Tensor) -> Tensor:
    # A power of `factor` in float32 would raise its rounding error to the power of the step, too.
    return torch.exp(step * math.log(factor))


def linear(total: int, *, initial: float = 1 / 3, final: float = 1.0) -> Schedule:
    """A straight line from `initial` to `final` over `total` steps, then flat: `LinearLR`.

    Raises ValueError where `total` is not above zero, or for a negative factor.

    >>> [float(linear(4, initial=0.0)(torch.tensor(i))) for i in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    _check.count("linear", total=total)
    _check.plain("linear", initial=initial, final=final)
    _check.not_negative("linear", initial=initial, final=final)
    return partial(_linear, total, initial, final)


def _linear(total: int, initial: float, final: float, step: Tensor) -> Tensor:
    return initial + (final - initial) * (step / total).clamp(0, 1)


def polynomial(total: int, power: float = 1.0) -> Schedule:
    """(1 - step / total)^power, then 0: `PolynomialLR`.

    Raises ValueError where a number is not above zero.

    >>> [float(polynomial(4, power=2.0)(torch.tensor(i))) for i in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """
    _check.count("polynomial", total=total)
    _check.plain("polynomial", power=power)
    _check.positive("polynomial", power=power)
    return partial(_polynomial, total, power)


def _polynomial(total: int, power: float, step: Tensor) -> Tensor:
    return (1 - (step / total).clamp(0, 1)) ** power


def one_cycle(
    total: int, *, rise: float = 0.3, initial: float = 1 / 25, final: float = 1 / 25e4
) -> Schedule:
    """A half cosine from `initial` up to 1 at step `rise · total - 1`, and one down to `final` at
    step `total - 1`: `OneCycleLR`, whose largest rate is the number that is multiplied.

    torch's `pct_start` is `rise`, its `div_factor` is 1 / initial, and its `final_div_factor` is
    initial / final; its momentum is not cycled. Later steps stay at `final`, where torch raises.
    Raises ValueError for a negative factor, or a rise that is not inside the run.

    Smith and Topin, "Super-Convergence" (2018), section 3, with fastai's cosines for its lines.

    >>> schedule = one_cycle(10, rise=0.5)
    >>> [round(float(schedule(torch.tensor(i))), 2) for i in (0, 2, 4, 6, 9)]
    [0.04, 0.52, 1.0, 0.65, 0.0]
    """
    _check.count("one_cycle", total=total)
    _check.plain("one_cycle", rise=rise, initial=initial, final=final)
    _check.scalar("one_cycle", rise=rise)
    _check.not_negative("one_cycle", initial=initial, final=final)
    if not 1 < rise * total < total:
        raise ValueError(
            f"one_cycle: rise must lie above 1 / total = {1 / total:.3g} and below 1, "
            f"so that the rise ends inside the run, but it is {rise}"
        )
    return partial(_one_cycle, total, rise, initial, final)


def _one_cycle(total: int, rise: float, initial: float, final: float, step: Tensor) -> Tensor:
    top = rise * total - 1
    up = _half_cosine(initial, 1.0, (step / top).clamp(0, 1))
    down = _half_cosine(1.0, final, ((step - top) / (total - 1 - top)).clamp(0, 1))
    return torch.where(step <= top, up, down)


def join(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after the other, each counting from 0 at its own boundary: `SequentialLR`.

    `boundaries[i]` is the first step of `schedules[i + 1]`. Raises ValueError where there is not
    one boundary between any two schedules, or where they do not rise from above 0.

    >>> schedule = join([linear(2, initial=0.5), exponential(0.5)], [2])
    >>> [float(schedule(torch.tensor(i))) for i in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.25]
    """
    _check.sequence("join", schedules=schedules, boundaries=boundaries)
    for schedule in schedules:
        _check.function("join", schedule=schedule)
    if not schedules:
        raise ValueError("join: a schedule is missing; give at least one")
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"join: {len(schedules)} schedules have {len(schedules) - 1} boundaries between them, "
            f"but {len(boundaries)} are given; give the first step of each schedule but the first"
        )
    for boundary in boundaries:
        _check.count("join", boundary=boundary)
    if any(later <= earlier for earlier, later in pairwise(boundaries)):
        raise ValueError(f"join: boundaries must rise, but they are {list(boundaries)}")
    return partial(_join, tuple(schedules), tuple(boundaries))


def _join(schedules: tuple[Schedule, ...], boundaries: tuple[int, ...], step: Tensor) -> Tensor:
    factor = schedules[0](step)
    for schedule, boundary in zip(schedules[1:], boundaries, strict=True):
        # Before its boundary a schedule is held at its start: what it is there is not used.
        own = schedule((step - boundary).clamp(min=0))
        factor = torch.where(step < boundary, factor, own)
    return factor


def times(first: Schedule, second: Schedule) -> Schedule:
    """The product of two schedules: `ChainedScheduler`. Raises ValueError for what is no function.

    >>> float(times(linear_warmup(2), exponential(0.5))(torch.tensor(0)))
    0.5
    """
    _check.function("times", first=first, second=second)
    return partial(_times, first, second)


def _times(first: Schedule, second: Schedule, step: Tensor) -> Tensor:
    return first(step) * second(step)


def by_epoch(schedule: Schedule, steps_per_epoch: int) -> Schedule:
    """`schedule` in units of epochs, counted from 0: it changes after every `steps_per_epoch`.

    Raises ValueError where `steps_per_epoch` is not above zero.

    >>> [float(by_epoch(linear_warmup(2), 3)(torch.tensor(i))) for i in range(5)]
    [0.5, 0.5, 0.5, 1.0, 1.0]
    """
    _check.function("by_epoch", schedule=schedule)
    _check.count("by_epoch", steps_per_epoch=steps_per_epoch)
    return partial(_by_epoch, schedule, steps_per_epoch)


def _by_epoch(schedule: Schedule, steps_per_epoch: int, step: Tensor) -> Tensor:
    return schedule(step // steps_per_epoch)
