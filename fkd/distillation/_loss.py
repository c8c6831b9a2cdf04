"""What is minimised, as a function of parameters, state and batch.

Of a split batch this is the part's share: what all parts minimise together is the sum of theirs.
"""

from __future__ import annotations  # the compiler cannot trace an annotation being evaluated

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from fkd import _random
from fkd._random import Key
from fkd.data import Batch
from fkd.distillation._state import Loss, Parts, State
from fkd.model import Tensors
from fkd.schedules import Schedule
from fkd.split._batch_norm import whole_batch_norm


def loss_of(parts: Parts, params: dict[str, Any], state: State, batch: Batch) -> Loss:
    """The weighted sum of the terms, with the buffers after it and the terms' means."""
    split, examples = parts.split, len(tree_leaves(batch.inputs)[0])
    numbers = scheduled(parts.schedules, state)
    targets = {name: target.detach() for name, target in batch.targets.items()}
    inputs, own_targets, first = batch.inputs, targets, 0
    if split is not None:
        inputs, own_targets = split.own((inputs, targets), examples)
        first = split.rows(examples).start
    with whole_batch_norm(split, examples):
        outputs, buffers = parts.student.apply(
            params["student"],
            state.buffers["student"],
            inputs,
            train=True,
            key=Key(state.key, state.step, first),
        )
    gathered: Tensors = {}
    head_buffers: dict[str, Tensors] = {}
    means: Tensors = {}
    for name, term in parts.method.items():
        hyper = {key: numbers[f"{name}.{key}"] for key in term.hyper}
        mask = None if term.mask is None else targets[term.mask]
        own = split is not None and not term.is_whole
        head = None
        if name in parts.heads:
            place = first if own else 0
            head = partial(_through_head, parts, name, params, state, head_buffers, place)
        if split is None:
            means[name] = term.values(outputs, targets, hyper, head, mask).mean()
        elif own:
            with whole_batch_norm(split, examples):
                values = term.values(outputs, own_targets, hyper, head, mask)
            means[name] = values.sum() / examples
        else:  # every part computes all of it, heads included, for a share of one over the parts
            for output in term.students:
                if output not in gathered:
                    gathered[output] = split.whole(outputs[output], examples)
            means[name] = term.values(gathered, targets, hyper, head, mask).mean() / split.parts
    weighted = [numbers[f"{name}.weight"] * mean for name, mean in means.items()]
    total = sum(weighted[1:], start=weighted[0])
    return total, ({"student": buffers, "heads": head_buffers}, means)


def _through_head(
    parts: Parts,
    name: str,
    params: dict[str, Any],
    state: State,
    buffers: dict[str, Tensors],
    first: int,
    inputs: tuple[Tensor, ...],
) -> Tensors:
    """The head's outputs; its buffers after them go into `buffers` under its name."""
    key = Key(_random.fold(state.key, parts.streams[name]), state.step, first)
    outputs, buffers[name] = parts.heads[name].apply(
        params["heads"][name], state.buffers["heads"][name], inputs, train=True, key=key
    )
    return outputs


def scheduled(schedules: Mapping[str, Schedule], state: State) -> Tensors:
    """The numbers at this step."""
    return {
        name: value * schedules[name](state.step) if name in schedules else value
        for name, value in state.hyper.items()
    }
