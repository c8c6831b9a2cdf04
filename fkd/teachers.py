"""Where targets come from: a teacher that is asked about each batch, or its answers looked up."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from fkd import evaluate
from fkd.data import Resident
from fkd.model import Model, Tensors, state_dict


class Teacher(NamedTuple):
    """A trained model: it is evaluated, and receives no gradient, whatever is asked of it.

    Called with a batch of inputs it gives its outputs by name, as targets.

    >>> from fkd.model import functional
    >>> net = functional(lambda: nn.Linear(2, 3))
    >>> Teacher(net, *net.init(0))(torch.ones(4, 2))["logits"].shape
    torch.Size([4, 3])
    """

    model: Model
    params: Tensors
    buffers: Tensors

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Tensors:
        return self.model.apply(self.params, self.buffers, inputs, train=False)[0]


def cached(teacher: Teacher, source: Resident, names: Sequence[str]) -> Resident:
    """The source with those outputs of the teacher among its targets.

    Without augmentation a teacher's answers never change, so each example is shown to it once.
    """
    return source.with_targets(evaluate.predict(*teacher, source, names=names))


def module_of(teacher: Teacher) -> nn.Module:
    """The teacher as a module of its own, evaluated and frozen, whose layers a method may copy."""
    module = teacher.model.build()
    module.load_state_dict(state_dict(teacher.params, teacher.buffers))
    return module.eval().requires_grad_(False)
