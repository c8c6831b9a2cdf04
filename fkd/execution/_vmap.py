"""Whether vmap can run a student's step, found out on a few examples."""

import warnings

from torch.utils._pytree import tree_map

from fkd import _check
from fkd._draws import placed
from fkd.data import Batch
from fkd.distillation import Distillation, State
from fkd.ensemble import Order, ensemble, part
from fkd.execution._ensemble_layers import EnsembleLayers

FEW = 4  # examples that a step is tried on: enough for BatchNorm and relations


def why_not_vmap(
    distillation: Distillation, state: State, batch: Batch, order: Order = "shared"
) -> str | None:
    """Why vmap cannot take the step of stacked students, with the layer, or None where it can.

    It is tried on the first two members and the first examples of a batch, which stay as they are,
    with the layers that an ensemble has on their device, but for kernels that would be compiled for
    so few examples. Branches on a tensor's value, `.item()`, and operators that torch has no
    batching rule for are what stops it. An operator that torch takes a member at a time stops
    nothing; torch warns of it. Raises ValueError for an argument of another kind.
    """
    _check.kind("why_not_vmap", Distillation, distillation=distillation)
    _check.kind("why_not_vmap", State, state=state)
    _check.kind("why_not_vmap", Batch, batch=batch)
    _check.known("why_not_vmap", "order", order, ("shared", "own"))
    few = slice(0, 2)
    examples = FEW if distillation.reduce is None else None  # each part of a batch must have some
    if order == "own":
        batch = tree_map(lambda leaf: leaf[few, :examples], batch)
    else:
        batch = tree_map(lambda leaf: leaf[:examples], batch)
    layers = EnsembleLayers(kernels=False)
    with placed() as places, layers, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself will warn
        try:
            members, run = part(state, few), ensemble(distillation, order=order)
            run.update(members, run.gradient(members, batch))
        except Exception as error:  # models fail in as many ways as there are models
            reason = str(error).strip().split("\n")[0].partition(". ")[0]
            where = str(places) if places.layers else "the loss, its gradient or the update"
            return f"{where}: {reason.removesuffix('.') or type(error).__name__}"
    return None
