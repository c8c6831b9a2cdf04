"""What draws random numbers out of the reach of `Draws` is found and refused."""

import pickle
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

_WHY = "outside its key, so a run could not be repeated"


@contextmanager
def refusing() -> Iterator["Places"]:
    """Run a model's forward pass in it once, on the meta device, within `Draws`.

    Raises ValueError if an operator of torch draws from a generator, with its name and the layer,
    or if `random` or `numpy.random` has drawn.
    """
    before = _states()
    with placed() as places, _Generators(places):
        yield places
    for name, state in _states().items():
        if state != before[name]:
            raise ValueError(
                f"the model draws from {name} in its forward pass, {_WHY}; draw with torch.rand, "
                "torch.randint or torch.bernoulli, whose numbers are made of the key"
            )


@contextmanager
def placed() -> Iterator["Places"]:
    """Know the layers that a forward pass is in, also where it fails."""
    places = Places()
    enter = register_module_forward_pre_hook(places.enter)
    leave = register_module_forward_hook(places.leave)
    try:
        yield places
    finally:
        enter.remove()
        leave.remove()


def _states() -> dict[str, Any]:
    """The states of the generators that are not torch's."""
    states: dict[str, Any] = {"numpy.random": pickle.dumps(np.random.get_state(legacy=False))}
    if "beartype" not in sys.modules:  # which draws to choose what it checks
        states["Python's random"] = random.getstate()
    return states


class Places:
    """The layers that the forward pass is in, outermost first."""

    def __init__(self) -> None:
        self.names: dict[nn.Module, str] = {}
        self.layers: list[nn.Module] = []

    def enter(self, module: nn.Module, inputs: Any) -> None:
        if not self.layers:
            self.names = {layer: name for name, layer in module.named_modules()}
        self.layers.append(module)

    def leave(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        self.layers.pop()

    def __str__(self) -> str:
        if not self.layers:
            return "the model"
        layer = self.layers[-1]
        name = self.names.get(layer)
        return f"layer {name!r} ({type(layer).__name__})" if name else type(layer).__name__


class _Generators(TorchDispatchMode):
    """Raises where an operator draws from torch's generators."""

    def __init__(self, places: Places):
        super().__init__()
        self.places = places

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and _draws(func, args, kwargs):
            raise ValueError(
                f"{self.places} draws random numbers in {func} in its forward pass, {_WHY}; "
                "replace that call by one whose numbers are made of the key: dropout, attention, "
                "torch.rand, torch.randn, torch.randint, torch.bernoulli"
            )
        return func(*args, **kwargs)


def _draws(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the call draws: not in evaluation, nor where nothing is to be dropped."""
    if func is torch.ops.aten._fused_sdp_choice.default:  # it chooses, and draws nothing
        return False
    values = {argument.name: argument.default_value for argument in func._schema.arguments}
    values |= dict(zip(values, args, strict=False)) | kwargs
    evaluates = values.get("train") is False or values.get("training") is False
    return not evaluates and values.get("dropout_p") != 0
