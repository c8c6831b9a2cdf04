"""What a student in training is, and how it takes a step: the types."""

from __future__ import annotations  # the compiler cannot trace an annotation being evaluated

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from fkd import _check
from fkd.data import Batch
from fkd.methods import Method
from fkd.model import Model, Tensors
from fkd.optim import AverageState, Optimizer, merge
from fkd.schedules import Schedule
from fkd.split import Split


class State(NamedTuple):
    """All that a student in training is: a pytree of tensors.

    `params` and `buffers` hold `student` (by name) and `heads` (by term, then by name); `hyper`
    holds each hyperparameter as a scalar, under `kd.temperature` or `lr`, in float32 whatever the
    parameters are in, so that a rate of 0.1 is 0.1 · (1 + 2⁻²⁶); `key` is the seed, from which the
    student's random numbers come, and `step` counts the steps.
    """

    params: dict[str, Any]
    buffers: dict[str, Any]
    optimizer: Any
    hyper: Tensors
    key: Tensor
    step: Tensor


class Gradient(NamedTuple):
    """What a batch says: the gradient by `params`, the buffers after it, and means by name.

    `metrics` holds `loss`, the weighted sum, and each term's unweighted mean under its own name.
    """

    params: dict[str, Any]
    buffers: dict[str, Any]
    metrics: Tensors


Loss = tuple[Tensor, tuple[dict[str, Any], Tensors]]  # what is minimised, (buffers, metrics)


class Distillation(NamedTuple):
    """How a student starts and how it takes a step, as pure functions.

    `init(seed, hyper, place) -> State`, where `hyper` replaces defaults by name, and `place`, where
    it is given, says how params and buffers are held before the optimizer's state is made of them;
    `loss(params, state, batch)` is what is minimised, with the buffers after it and the terms'
    means; `gradient(state, batch) -> Gradient` differentiates it; and
    `update(state, gradient) -> State`. Between the two `reduce(gradient) -> Gradient` is where
    those meet who work on one batch, or None where nobody does.
    """

    init: Callable[..., State]
    loss: Callable[[dict[str, Any], State, Batch], Loss]
    gradient: Callable[[State, Batch], Gradient]
    update: Callable[[State, Gradient], State]
    reduce: Callable[[Gradient], Gradient] | None = None


@dataclass(frozen=True)
class Parts:
    """What a distillation is made of, once it is known to fit together.

    `streams` gives each head a number of its own, by which its random numbers are its own, so that
    it is the same in whatever company. With a `split`, a part of each batch is computed.
    """

    student: Model
    method: Method
    optimizer: Optimizer
    heads: dict[str, Model]
    streams: dict[str, int]
    schedules: Mapping[str, Schedule]
    split: Split | None = None


def student_of(state: State) -> tuple[Tensors, Tensors]:
    """The student's own (params, buffers), without the heads: what is kept after training.

    Raises ValueError for what is no `State`.
    """
    _check.kind("student_of", State, state=state)
    return state.params["student"], state.buffers["student"]


def average_of(state: State) -> tuple[Tensors, Tensors]:
    """The running average of the student's own parameters, and its last buffers, as `student_of`.

    Raises ValueError where the optimizer keeps none: it must be `fkd.optim.averaged(...)`.
    """
    _check.kind("average_of", State, state=state)
    if not isinstance(state.optimizer, AverageState):
        raise ValueError(
            "average_of: the optimizer of this state keeps no average of the parameters; train "
            "with optim.averaged(optimizer), or take the last ones with student_of"
        )
    params = merge(state.params["student"], state.optimizer.mean["student"])
    return params, state.buffers["student"]
