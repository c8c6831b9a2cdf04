"""A step that transforms its batch itself."""

from __future__ import annotations  # the compiler cannot trace an annotation being evaluated

from functools import partial
from typing import Any

from fkd.data import Batch
from fkd.data._source import Transform
from fkd.distillation._state import Distillation, Gradient, Loss, State


def transformed(distillation: Distillation, transform: Transform) -> Distillation:
    """The same distillation for batches whose inputs are still to be transformed, without a key.

    What is compiled then reads the bytes of images, and never writes what they become.
    """
    return distillation._replace(
        loss=partial(_loss, distillation, transform),
        gradient=partial(_gradient, distillation, transform),
    )


def _loss(
    distillation: Distillation,
    transform: Transform,
    params: dict[str, Any],
    state: State,
    batch: Batch,
) -> Loss:
    return distillation.loss(params, state, _shown(transform, batch))


def _gradient(
    distillation: Distillation, transform: Transform, state: State, batch: Batch
) -> Gradient:
    return distillation.gradient(state, _shown(transform, batch))


def _shown(transform: Transform, batch: Batch) -> Batch:
    return Batch(transform(batch.inputs, None), batch.targets)
