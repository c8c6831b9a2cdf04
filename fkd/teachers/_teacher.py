"""A trained model that is asked about each batch."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from fkd import _check
from fkd.data import Transform, unchanged
from fkd.model import Model, Tensors, functional, state_dict
from fkd.model._module import refuse_computed
from fkd.model._parallel import refuse_parallel


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained model: it is evaluated, and receives no gradient, whatever is asked of it.

    Called with a batch of inputs it gives its outputs by name: all of them, or those of `names`.
    `transform(inputs, None)` comes before the model: what this teacher wants of inputs that the
    student takes as they are, such as its own statistics (`Renormalize`). Its buffers stay as they
    are, so its running statistics do not move.

    Raises ValueError for an argument of another kind and names that are not a sequence of at least
    one; when it is called, for an output that the model has not, and for inputs, parameters or
    buffers that are not the model's.

    >>> from fkd.model import functional
    >>> net = functional(lambda: nn.Linear(2, 3))
    >>> Teacher(net, *net.init(0))(torch.ones(4, 2))["logits"].shape
    torch.Size([4, 3])
    """

    model: Model
    params: Tensors
    buffers: Tensors
    transform: Transform = unchanged
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check.kind("Teacher", Model, model=self.model)
        _check.mapping("Teacher", params=self.params, buffers=self.buffers)
        _check.tensor("Teacher", **{**self.params, **self.buffers})
        _check.function("Teacher", transform=self.transform)
        check_names("Teacher", self.names)

    @torch.no_grad()
    def __call__(self, inputs: Any) -> Tensors:
        own = self.transform(inputs, None)
        with _check.fitting("Teacher", "inputs, params and buffers must be the model's"):
            outputs, _ = self.model.apply(self.params, self.buffers, own, train=False)
        return chosen("Teacher", outputs, self.names)


def teacher_of_module(
    module: nn.Module, *, names: Sequence[str] | None = None, transform: Transform = unchanged
) -> Teacher:
    """The teacher that a trained module is now, on the module's device.

    The module is copied: its mode, hooks and tensors stay as they are, and what becomes of it later
    is not the teacher's. Raises ValueError for what is no module, for one that torch has made
    parallel or that keeps what is computed from its parameters, and as `Teacher`.

    >>> module = nn.Sequential(nn.Linear(2, 3), nn.Dropout())
    >>> teacher = teacher_of_module(module)
    >>> torch.equal(teacher(torch.ones(1, 2))["logits"], module[0](torch.ones(1, 2)))
    True
    >>> module.training
    True
    """
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"teacher_of_module: module must be an nn.Module, but it is a {type(module).__name__}; "
            "call a function that builds one, and load its state_dict"
        )
    refuse_parallel("teacher_of_module: module", module)
    refuse_computed("teacher_of_module: module", module)
    model = functional(partial(copy.deepcopy, copy.deepcopy(module)))
    return Teacher(model, *model.init(0), transform, names)


def module_of(teacher: Teacher) -> nn.Module:
    """The teacher as a module of its own, evaluated and frozen, whose layers a method may copy.

    It is without the teacher's transform. Raises ValueError for what is no `Teacher`, and for
    parameters that are not the module's.
    """
    _check.kind("module_of", Teacher, teacher=teacher)
    with torch.random.fork_rng(devices=[]):
        # A copy, for `build` may give a module that is another's.
        module = copy.deepcopy(teacher.model.build()).eval().requires_grad_(False)
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    # Not load_state_dict, which knows no buffer that is not persistent.
    with _check.fitting("module_of", "params and buffers must be the module's"):
        for name, value in state_dict(teacher.params, teacher.buffers).items():
            tensors[name].copy_(value)
    return module


def chosen(where: str, outputs: Tensors, names: Sequence[str] | None) -> Tensors:
    """The outputs of these names, or all. Raises ValueError for an output that there is not."""
    _check.mapping(where, outputs=outputs)
    if names is None:
        return outputs
    for name in names:
        _check.known(where, "output", name, outputs)
    return {name: outputs[name] for name in names}


def check_names(where: str, names: Sequence[str] | None) -> None:
    """Raise ValueError for one name in place of a sequence of them, and for none at all."""
    if names is None:
        return
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ValueError(
            f"{where}: names must be a sequence of at least one output's name, but it is "
            f"{_check.shown(names)}"
        )
    _check.words(where, names=names)
