"""A running average of the parameters beside the last ones."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fkd import _check
from fkd.optim._chain import Hyper, Optimizer
from fkd.optim._transforms import zero_steps


class AverageState(NamedTuple):
    """How many steps were taken, the average of the parameters, and the optimizer's own state."""

    steps: Tensor
    mean: Any
    inner: Any


def averaged(optimizer: Optimizer, decay: float = 0.999) -> Optimizer:
    """The optimizer, with an exponential moving average of the parameters kept in its state.

    mean ← decay · mean + (1 - decay) · p after each step, starting as the parameters after the
    first: torch.optim.swa_utils.AveragedModel with `get_ema_multi_avg_fn(decay)`. So the weights
    sum to one from the start, nothing is to be corrected, and the untrained parameters have no
    part; the first step's have decayᵗ⁻¹ of it after t. `decay` is the number `ema_decay`, and the
    parameters themselves are those without an average. It must be the outermost optimizer:
    `fkd.distillation.average_of(state)` is the average. Raises ValueError for a decay outside
    [0, 1), and where the optimizer is none or has a number of that name.

    Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992), for the
    plain mean; the moving one is torch's.

    >>> from fkd.optim import sgd
    >>> averaged(sgd(0.1), decay=0.99).hyper
    {'lr': 0.1, 'weight_decay': 0.0, 'ema_decay': 0.99}
    """
    _check.kind("averaged", Optimizer, optimizer=optimizer)
    _check.plain("averaged", decay=decay)
    _check.share("averaged", decay=decay)
    if "ema_decay" in optimizer.hyper:
        raise ValueError(
            "averaged: the optimizer has a number 'ema_decay' already; average it once, or give "
            "that number another name"
        )
    return Optimizer(
        optimizer.hyper | {"ema_decay": decay},
        partial(_init, optimizer),
        partial(_update, optimizer),
        shares=(*optimizer.shares, "ema_decay"),
    )


def _init(optimizer: Optimizer, params: Any) -> AverageState:
    return AverageState(zero_steps(params), tree_map(torch.clone, params), optimizer.init(params))


def _update(
    optimizer: Optimizer, gradient: Any, state: AverageState, params: Any, hyper: Hyper
) -> tuple[Any, AverageState]:
    params, inner = optimizer.update(gradient, state.inner, params, hyper)
    decay = torch.where(state.steps == 0, 0.0, hyper["ema_decay"])
    mean = tree_map(lambda m, p: p + decay * (m - p), state.mean, params)
    return params, AverageState(state.steps + 1, mean, inner)
