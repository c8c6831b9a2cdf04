"""What the forward pass of a student's step takes, found out on the meta device: nothing is
computed, and no time is measured."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

from fkd.data import Batch
from fkd.distillation import Distillation, State
from fkd.model import lightly

# What a processor computes while it moves a byte, and moves while it begins an operator: roughly,
# for processors differ. By these all 57 methods were told to take 376 seconds, as soon as those of
# the first were known for an epoch, and took 402 (benchmarks/results/digits-all-cpu).
FLOPS_PER_BYTE = 4
BYTES_PER_OPERATOR = 2**16


class Forward(NamedTuple):
    """The bytes that autograd `kept` for the backward pass of one student, beside its state and the
    batch, and the pass's `work`: the bytes that its operators read and write, and as many for its
    arithmetic and its operators as a processor moves meanwhile. Of two methods the one with twice
    the work takes about twice the time. Each is 0 where it cannot be found out."""

    kept: int
    work: float


def forward(distillation: Distillation, batch: Batch) -> Forward:
    """That of one student's step on a batch. What is kept cannot be found out of a loss that takes
    derivatives of its own."""
    state = distillation.init(0)
    for pass_ in (_kept, _run):
        try:
            return lightly(partial(_counted, pass_, distillation), state, batch)
        except Exception:  # whatever it is, a training may still run
            continue
    return Forward(0, 0.0)


def relative_work(each: Mapping[str, Forward]) -> dict[str, float]:
    """The work of each, on average 1; that of one that is not known is the mean of the others.

    >>> relative_work({"ce": Forward(0, 2.0), "kd": Forward(0, 6.0), "mine": Forward(0, 0.0)})
    {'ce': 0.5, 'kd': 1.5, 'mine': 1.0}
    """
    known = [one.work for one in each.values() if one.work]
    mean = sum(known) / len(known) if known else 1.0
    return {name: (one.work or mean) / mean for name, one in each.items()}


class _Operators(TorchDispatchMode):
    """Counts the operators that are run, but for views, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.bytes = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            leaves = tree_leaves((args, kwargs, outputs))
            self.number += 1
            self.bytes += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))
        return outputs


def _counted(
    run: Callable[[Distillation, State, Batch], int],
    distillation: Distillation,
    state: State,
    batch: Batch,
) -> Forward:
    with _Operators() as operators, FlopCounterMode(display=False) as flops:
        kept = run(distillation, state, batch)
    arithmetic = flops.get_total_flops() / FLOPS_PER_BYTE
    return Forward(kept, operators.bytes + arithmetic + operators.number * BYTES_PER_OPERATOR)


def _run(distillation: Distillation, state: State, batch: Batch) -> int:
    distillation.loss(state.params, state, batch)
    return 0


def _kept(distillation: Distillation, state: State, batch: Batch) -> int:
    params = tree_map(lambda leaf: leaf.detach().requires_grad_(), state.params)
    own = {_storage(leaf) for leaf in tree_leaves((params, state, batch))}
    kept: list[Tensor] = []  # as long as they live no other has their storage
    hooks = torch.autograd.graph.saved_tensors_hooks(partial(_keep, kept), _unchanged)
    with torch.enable_grad(), hooks:
        distillation.loss(params, state, batch)
    sizes = {_storage(leaf): leaf.untyped_storage().nbytes() for leaf in kept}
    return sum(size for storage, size in sizes.items() if storage not in own)


def _keep(kept: list[Tensor], tensor: Tensor) -> Tensor:
    kept.append(tensor.detach())
    return tensor


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
