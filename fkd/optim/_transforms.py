"""The links of a chain: each turns updates into updates, `u` in the formulas, with `p` the leaf.

A number that is given becomes a leaf of the state, under `name`. A number is one of Python's, which
float32 can hold, or ValueError is raised.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check
from fkd.optim._chain import Hyper, Transform, by_name


def scale_by_learning_rate(lr: float, *, name: str = "lr") -> Transform:
    """u ← lr · u: the last link of most chains. Raises ValueError for a negative number."""
    _check_number("scale_by_learning_rate", name, lr=lr)
    return Transform({name: lr}, _stateless, partial(_scale, name))


def _scale(name: str, updates: Any, state: Any, params: Any, hyper: Hyper) -> tuple[Any, Any]:
    rate = hyper[name]
    return tree_map(lambda u: rate * u, updates), state


def add_decay(weight_decay: float, *, name: str = "weight_decay") -> Transform:
    """u ← u + weight_decay · p: L2 decay before `scale_by_adam`, decoupled decay after it.

    Raises ValueError for a negative number.
    """
    _check_number("add_decay", name, weight_decay=weight_decay)
    return Transform({name: weight_decay}, _stateless, partial(_add_decay, name))


def _add_decay(name: str, updates: Any, state: Any, params: Any, hyper: Hyper) -> tuple[Any, Any]:
    decay = hyper[name]
    return tree_map(lambda u, p: u + decay * p, updates, params), state


def clip_by_norm(max_norm: float, *, name: str = "max_norm") -> Transform:
    """u ← u · min(max_norm / (‖u‖ + 1e-6), 1) with the norm of all leaves together.

    It is `torch.nn.utils.clip_grad_norm_`, for each member on its own. Raises ValueError for a
    negative number.

    Pascanu et al., "On the difficulty of training recurrent neural networks" (2013), section 3.2.
    """
    _check_number("clip_by_norm", name, max_norm=max_norm)
    return Transform({name: max_norm}, _stateless, partial(_clip_by_norm, name))


def _clip_by_norm(
    name: str, updates: Any, state: Any, params: Any, hyper: Hyper
) -> tuple[Any, Any]:
    leaves = tree_leaves(updates)
    if not leaves:
        return updates, state
    norms = torch.stack([torch.linalg.vector_norm(leaf) for leaf in leaves])
    scale = (hyper[name] / (torch.linalg.vector_norm(norms) + 1e-6)).clamp(max=1)
    return tree_map(lambda u: u * scale, updates), state


def clip_by_value(max_value: float, *, name: str = "max_value") -> Transform:
    """u ← u, held inside [-max_value, max_value]: `torch.nn.utils.clip_grad_value_`.

    Raises ValueError for a negative number, and by `init` for a complex parameter.
    """
    _check_number("clip_by_value", name, max_value=max_value)
    init = partial(_stateless_and_real, "clip_by_value")
    return Transform({name: max_value}, init, partial(_clip_by_value, name))


def _stateless_and_real(where: str, params: Any) -> tuple[()]:
    _refuse_complex(where, params)
    return ()


def _clip_by_value(
    name: str, updates: Any, state: Any, params: Any, hyper: Hyper
) -> tuple[Any, Any]:
    high = hyper[name]
    return tree_map(lambda u: torch.clamp(u, -high, high), updates), state


class AdamState(NamedTuple):
    """How many steps were taken, and the running means of the gradient and of its square."""

    steps: Tensor
    mean: Any
    square: Any


def scale_by_adam(*, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Transform:
    """u ← m / (√v + eps) with m and v the running means of u and u², corrected for their start.

    Raises ValueError for betas outside [0, 1) or `eps` not above zero, and by `init` for a complex
    parameter.

    Kingma and Ba, "Adam" (2015), algorithm 1.
    """
    _check.plain("scale_by_adam", eps=eps)
    _check.positive("scale_by_adam", eps=eps)
    _check.sequence("scale_by_adam", betas=betas)
    if len(betas) != 2:
        raise ValueError(f"scale_by_adam: betas must be two numbers, but they are {betas!r:.100}")
    _check.plain("scale_by_adam", beta1=betas[0], beta2=betas[1])
    _check.share("scale_by_adam", beta1=betas[0], beta2=betas[1])
    return Transform({}, _adam_init, partial(_adam_update, betas[0], betas[1], eps))


def _adam_init(params: Any) -> AdamState:
    _refuse_complex("scale_by_adam", params)
    zeros = tree_map(torch.zeros_like, params)
    return AdamState(zero_steps(params), zeros, tree_map(torch.zeros_like, params))


def _adam_update(
    beta1: float,
    beta2: float,
    eps: float,
    updates: Any,
    state: AdamState,
    params: Any,
    hyper: Hyper,
) -> tuple[Any, AdamState]:
    steps = state.steps + 1
    # Two calls each, for three and four: what is not compiled waits for every one.
    mean = tree_map(lambda m, u: torch.add(beta1 * m, u, alpha=1 - beta1), state.mean, updates)
    square = tree_map(
        lambda v, u: torch.addcmul(beta2 * v, u, u, value=1 - beta2), state.square, updates
    )
    # A correction in float32 would cost parameters in float64 half of their digits.
    corrections = {
        dtype: (_correction(beta1, steps, dtype), _correction(beta2, steps, dtype))
        for dtype in {leaf.dtype: None for leaf in tree_leaves(mean)}
    }

    def direction(m: Tensor, v: Tensor) -> Tensor:
        correction1, correction2 = corrections[m.dtype]
        return (m / correction1) / ((v / correction2).sqrt() + eps)

    return tree_map(direction, mean, square), AdamState(steps, mean, square)


def _correction(beta: float, steps: Tensor, dtype: torch.dtype) -> Tensor | float:
    """1 - beta^steps by expm1: the plain difference loses three digits of float32 at step one."""
    if not beta:
        return 1.0
    exact = steps.to(torch.promote_types(dtype, torch.float32))  # bfloat16 counts to 256
    return -torch.expm1(exact * math.log(beta))


class MomentumState(NamedTuple):
    """How many steps were taken, and the velocity."""

    steps: Tensor
    velocity: Any


def scale_by_momentum(
    momentum: float = 0.9,
    *,
    dampening: float = 0.0,
    nesterov: bool = False,
    name: str = "momentum",
) -> Transform:
    """v ← momentum · v + (1 - dampening) · u, then u ← v, or u + momentum · v with `nesterov`.

    As in torch.optim.SGD, v starts as the first u, without dampening. Raises ValueError for a
    negative momentum, dampening outside [0, 1], or both `nesterov` and dampening.

    Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013),
    section 2, with the learning rate outside the velocity.
    """
    _check_number("scale_by_momentum", name, momentum=momentum)
    _check.plain("scale_by_momentum", dampening=dampening)
    _check.between("scale_by_momentum", 0, 1, dampening=dampening)
    _check.kind("scale_by_momentum", bool, nesterov=nesterov)
    if nesterov and dampening:
        raise ValueError(
            f"scale_by_momentum: nesterov has no dampening, but it is {dampening}; leave one out"
        )
    update = partial(_momentum_update, dampening, nesterov, name)
    return Transform({name: momentum}, _momentum_init, update)


def _momentum_init(params: Any) -> MomentumState:
    return MomentumState(zero_steps(params), tree_map(torch.zeros_like, params))


def _momentum_update(
    dampening: float,
    nesterov: bool,
    name: str,
    updates: Any,
    state: MomentumState,
    params: Any,
    hyper: Hyper,
) -> tuple[Any, MomentumState]:
    momentum, fresh = hyper[name], updates
    if dampening:
        first = state.steps == 0
        fresh = tree_map(lambda u: torch.where(first, u, (1 - dampening) * u), updates)
    velocity = tree_map(lambda v, u: momentum * v + u, state.velocity, fresh)
    moved = velocity
    if nesterov:
        moved = tree_map(lambda v, u: u + momentum * v, velocity, updates)
    return moved, MomentumState(state.steps + 1, velocity)


def scale_by_trust_ratio() -> Transform:
    """u ← u · ‖p‖ / ‖u‖ for each leaf on its own; as it is where one of the norms is zero.

    You et al., "Large Batch Optimization for Deep Learning" (2020), algorithm 2, with the identity
    for its φ.
    """
    return Transform({}, _stateless, _trust_ratio)


def _trust_ratio(updates: Any, state: Any, params: Any, hyper: Hyper) -> tuple[Any, Any]:
    return tree_map(_trust, updates, params), state


def _trust(u: Tensor, p: Tensor) -> Tensor:
    size, weight = torch.linalg.vector_norm(u), torch.linalg.vector_norm(p)
    return u * torch.where((size > 0) & (weight > 0), weight / size, 1.0)


def _check_number(where: str, name: str, **number: float) -> None:
    """Raise where a leaf's number is none of zero or more, or its name no word."""
    _check.kind(where, str, name=name)
    _check.plain(where, **number)
    _check.not_negative(where, **number)


def _stateless(params: Any) -> tuple[()]:
    return ()


def _refuse_complex(where: str, params: Any) -> None:
    for name, leaf in by_name(params).items():
        if leaf.is_complex():
            raise ValueError(
                f"{where}: a parameter must be real, but {name} is {leaf.dtype}; "
                "hold its real and imaginary parts as torch.view_as_real gives them, or use sgd"
            )


def zero_steps(params: Any) -> Tensor:
    """A count of steps, where the parameters lie."""
    leaves = tree_leaves(params)
    device = leaves[0].device if leaves else torch.device("cpu")
    return torch.zeros((), dtype=torch.int64, device=device)
