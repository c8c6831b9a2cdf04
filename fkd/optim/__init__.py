"""Optimizers as pure functions, made of small transforms in a chain, as in optax.

torch.optim keeps its numbers in an object and takes one learning rate for a parameter group; here
the state is a pytree, and the learning rate, the weight decay and their like are tensors in it, so
that each member of an ensemble can have its own and a schedule can multiply any of them.
"""

from fkd.optim._average import AverageState, averaged
from fkd.optim._chain import (
    Hyper,
    MaskedState,
    Optimizer,
    Transform,
    Where,
    chain,
    is_matrix,
    masked,
)
from fkd.optim._only import Path, by_path, merge, only
from fkd.optim._optimizers import adam, adamw, lamb, sgd
from fkd.optim._transforms import (
    AdamState,
    MomentumState,
    add_decay,
    clip_by_norm,
    clip_by_value,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_momentum,
    scale_by_trust_ratio,
)

__all__ = [
    "AdamState",
    "AverageState",
    "Hyper",
    "MaskedState",
    "MomentumState",
    "Optimizer",
    "Path",
    "Transform",
    "Where",
    "adam",
    "adamw",
    "add_decay",
    "averaged",
    "by_path",
    "chain",
    "clip_by_norm",
    "clip_by_value",
    "is_matrix",
    "lamb",
    "masked",
    "merge",
    "only",
    "scale_by_adam",
    "scale_by_learning_rate",
    "scale_by_momentum",
    "scale_by_trust_ratio",
    "sgd",
]
