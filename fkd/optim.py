"""Optimizers as pure functions: `update(gradient, state, params, hyper) -> (params, state)`.

torch.optim keeps its numbers in an object and takes one learning rate for a parameter group; here
the state is a pytree and the learning rate and weight decay are tensors, so that each member of an
ensemble can have its own.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check

Schedule = Callable[[Tensor], Tensor | float]
Hyper = Mapping[str, Tensor]


class Optimizer(NamedTuple):
    """An optimizer as data: its hyperparameters, `init(params) -> state`, and `update`.

    `hyper` gives the numbers that become leaves of a student's state, with their defaults.
    """

    hyper: dict[str, float]
    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, Hyper], tuple[Any, Any]]


def constant(steps: Tensor) -> float:
    """The learning rate as given, at every step."""
    return 1.0


def warmup_cosine(total: int, warmup: int = 0) -> Schedule:
    """A factor that rises linearly over `warmup` steps, then falls as a half cosine to 0.

    Loshchilov and Hutter, "SGDR" (2017), section 3, without restarts.

    >>> schedule = warmup_cosine(10, warmup=2)
    >>> [round(float(schedule(torch.tensor(i))), 2) for i in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    _check.positive("warmup_cosine", total=total)
    _check.between("warmup_cosine", 0, total - 1, warmup=warmup)

    def factor(steps: Tensor) -> Tensor:
        done = ((steps - warmup) / (total - warmup)).clamp(0, 1)
        rise = ((steps + 1) / max(warmup, 1)).clamp(max=1)
        return rise * (1 + torch.cos(math.pi * done)) / 2

    return factor


class AdamState(NamedTuple):
    """How many steps were taken, and the running means of the gradient and of its square."""

    steps: Tensor
    mean: Any
    square: Any


def adam(
    lr: float = 1e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    schedule: Schedule = constant,
) -> Optimizer:
    """Adam; with `decoupled`, AdamW. `lr` and `weight_decay` are leaves, one value a member.

    Raises ValueError for a negative `lr` or `weight_decay`, betas outside [0, 1), or `eps` not
    above zero.

    Kingma and Ba, "Adam" (2015), algorithm 1; Loshchilov and Hutter, "Decoupled Weight Decay
    Regularization" (2019), algorithm 2.

    >>> adam(lr=3e-4).hyper
    {'lr': 0.0003, 'weight_decay': 0.0}
    """
    _check.not_negative("adam", lr=lr, weight_decay=weight_decay)
    _check.positive("adam", eps=eps)
    for name, beta in zip(("beta1", "beta2"), betas, strict=True):
        _check.between("adam", 0, math.nextafter(1, 0), **{name: beta})
    beta1, beta2 = betas

    def init(params: Any) -> AdamState:
        zeros = tree_map(torch.zeros_like, params)
        return AdamState(_zero_steps(params), zeros, tree_map(torch.zeros_like, params))

    def update(gradient: Any, state: AdamState, params: Any, hyper: Hyper) -> tuple[Any, AdamState]:
        rate = hyper["lr"] * schedule(state.steps)
        decay = hyper["weight_decay"]
        steps = state.steps + 1
        # 1 - beta^steps by expm1: the plain difference loses three digits of float32 at step one.
        correction1 = -torch.expm1(steps * math.log(beta1)) if beta1 else 1.0
        correction2 = -torch.expm1(steps * math.log(beta2)) if beta2 else 1.0
        if not decoupled:
            gradient = tree_map(lambda g, p: g + decay * p, gradient, params)
        mean = tree_map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mean, gradient)
        square = tree_map(lambda v, g: beta2 * v + (1 - beta2) * g * g, state.square, gradient)

        def move(p: Tensor, m: Tensor, v: Tensor) -> Tensor:
            if decoupled:
                p = p * (1 - rate * decay)
            return p - rate * (m / correction1) / ((v / correction2).sqrt() + eps)

        return tree_map(move, params, mean, square), AdamState(steps, mean, square)

    return Optimizer({"lr": lr, "weight_decay": weight_decay}, init, update)


def adamw(lr: float = 1e-3, *, weight_decay: float = 1e-2, **options: Any) -> Optimizer:
    """Adam with decoupled weight decay; the other arguments are those of `adam`.

    >>> adamw().hyper["weight_decay"]
    0.01
    """
    return adam(lr, weight_decay=weight_decay, decoupled=True, **options)


class SgdState(NamedTuple):
    """How many steps were taken, and the velocity, which is empty without momentum."""

    steps: Tensor
    velocity: Any


def sgd(
    lr: float = 0.1,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    schedule: Schedule = constant,
) -> Optimizer:
    """Stochastic gradient descent with momentum and L2 decay, in torch.optim.SGD's convention.

    v ← momentum · v + g, p ← p − lr · v, where torch starts v at the first gradient and so does
    this. All three numbers are leaves; without momentum there is no velocity and no leaf for it.
    Raises ValueError for a negative number, or `nesterov` without momentum.

    Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013),
    section 2, with the learning rate outside the velocity.

    >>> sgd(0.1, momentum=0.9).hyper
    {'lr': 0.1, 'weight_decay': 0.0, 'momentum': 0.9}
    """
    _check.not_negative("sgd", lr=lr, momentum=momentum, weight_decay=weight_decay)
    if nesterov and momentum == 0:
        raise ValueError("sgd: nesterov needs momentum, but momentum is 0; give one above zero")

    def init(params: Any) -> SgdState:
        velocity = tree_map(torch.zeros_like, params) if momentum else {}
        return SgdState(_zero_steps(params), velocity)

    def update(gradient: Any, state: SgdState, params: Any, hyper: Hyper) -> tuple[Any, SgdState]:
        rate, decay = hyper["lr"] * schedule(state.steps), hyper["weight_decay"]
        direction = tree_map(lambda g, p: g + decay * p, gradient, params)
        velocity = state.velocity
        if momentum:
            mu = hyper["momentum"]
            velocity = tree_map(lambda v, g: mu * v + g, velocity, direction)
            if nesterov:
                direction = tree_map(lambda v, g: g + mu * v, velocity, direction)
            else:
                direction = velocity
        params = tree_map(lambda p, d: p - rate * d, params, direction)
        return params, SgdState(state.steps + 1, velocity)

    hyper = {"lr": lr, "weight_decay": weight_decay}
    return Optimizer(hyper | ({"momentum": momentum} if momentum else {}), init, update)


def _zero_steps(params: Any) -> Tensor:
    leaves = tree_leaves(params)
    device = leaves[0].device if leaves else torch.device("cpu")
    return torch.zeros((), dtype=torch.int64, device=device)
