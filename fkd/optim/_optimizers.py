"""The optimizers of the field, each a short chain."""

from fkd import _check
from fkd.optim._chain import Link, Optimizer, Where, chain, masked
from fkd.optim._transforms import (
    add_decay,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_momentum,
    scale_by_trust_ratio,
)


def adam(
    lr: float = 1e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decayed: Where | None = None,
) -> Optimizer:
    """Adam with L2 decay, as torch.optim.Adam; `lr` and `weight_decay` are leaves of the state.

    Of the parameters those decay that the mask `decayed` accepts, as `is_matrix`; all by default.

    Raises ValueError for an `lr` or `weight_decay` that is no number of zero or more, a mask that
    is no function, or what `scale_by_adam` refuses.

    Kingma and Ba, "Adam" (2015), algorithm 1.

    >>> adam(lr=3e-4).hyper
    {'lr': 0.0003, 'weight_decay': 0.0}
    """
    _check_numbers("adam", lr=lr, weight_decay=weight_decay)
    rule = scale_by_adam(betas=betas, eps=eps)
    links = chain(_decay(weight_decay, decayed), rule, scale_by_learning_rate(lr))
    return _in_order(links, "lr", "weight_decay")


def adamw(
    lr: float = 1e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    decayed: Where | None = None,
) -> Optimizer:
    """Adam with decoupled decay, as torch.optim.AdamW; numbers and mask are those of `adam`.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.

    >>> adamw().hyper["weight_decay"]
    0.01
    """
    _check_numbers("adamw", lr=lr, weight_decay=weight_decay)
    rule = scale_by_adam(betas=betas, eps=eps)
    links = chain(rule, _decay(weight_decay, decayed), scale_by_learning_rate(lr))
    return _in_order(links, "lr", "weight_decay")


def lamb(
    lr: float = 1e-3,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    decayed: Where | None = None,
) -> Optimizer:
    """AdamW's direction, scaled in each leaf to the norm of its parameters: for large batches.

    The numbers and the mask are those of `adam`.

    You et al., "Large Batch Optimization for Deep Learning" (2020), algorithm 2.

    >>> list(lamb().hyper)
    ['lr', 'weight_decay']
    """
    _check_numbers("lamb", lr=lr, weight_decay=weight_decay)
    rule = scale_by_adam(betas=betas, eps=eps)
    rate = scale_by_learning_rate(lr)
    links = chain(rule, _decay(weight_decay, decayed), scale_by_trust_ratio(), rate)
    return _in_order(links, "lr", "weight_decay")


def sgd(
    lr: float = 0.1,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    decayed: Where | None = None,
) -> Optimizer:
    """Stochastic gradient descent with momentum and L2 decay, as torch.optim.SGD.

    `lr`, `weight_decay` and `momentum` are leaves of the state; without momentum there is no
    velocity and no leaf for it. The mask `decayed` is that of `adam`. Raises ValueError for a
    negative number, `nesterov` without momentum, or what `scale_by_momentum` refuses.

    >>> sgd(0.1, momentum=0.9).hyper
    {'lr': 0.1, 'weight_decay': 0.0, 'momentum': 0.9}
    """
    _check_numbers("sgd", lr=lr, momentum=momentum, weight_decay=weight_decay)
    _check.plain("sgd", dampening=dampening)
    _check.kind("sgd", bool, nesterov=nesterov)
    decay, rate = _decay(weight_decay, decayed), scale_by_learning_rate(lr)
    if momentum:
        velocity = scale_by_momentum(momentum, dampening=dampening, nesterov=nesterov)
        return _in_order(chain(decay, velocity, rate), "lr", "weight_decay", "momentum")
    if nesterov or dampening:
        option = "nesterov" if nesterov else "dampening"
        raise ValueError(f"sgd: {option} needs momentum, but momentum is 0; give one above zero")
    return _in_order(chain(decay, rate), "lr", "weight_decay")


def _check_numbers(where: str, **numbers: float) -> None:
    _check.plain(where, **numbers)
    _check.not_negative(where, **numbers)


def _decay(weight_decay: float, decayed: Where | None) -> Link:
    decay = add_decay(weight_decay)
    return decay if decayed is None else masked(decay, decayed)


def _in_order(optimizer: Optimizer, *numbers: str) -> Optimizer:
    """The optimizer with its numbers listed in this order rather than in that of its links."""
    return optimizer._replace(hyper={number: optimizer.hyper[number] for number in numbers})
