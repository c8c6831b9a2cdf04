"""A forward pass as a graph of torch.fx, and a module whose pass gives more of its nodes."""

import copy
import inspect
import math
import random
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx, nn

from fkd.model import by_name
from fkd.model._module import numbers

Build = Callable[[], nn.Module]


class Trace(NamedTuple):
    """A forward pass as a graph, its outputs by name, and its nodes, by name as torchvision does.

    A layer's name is a node's too: that of the last thing that is computed in it.
    """

    graph: fx.Graph
    outputs: dict[str, fx.Node]
    nodes: dict[str, fx.Node]


def fresh(where: str, build: Build) -> nn.Module:
    """The module that `build()` makes, or a copy with its layers, for it may have made none."""
    module = build()
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"{where}: build() must return an nn.Module, but it returned a {type(module).__name__}"
        )
    return copy.copy(module)


def reason_of(error: Exception) -> str:
    """The first line of what it says, or its type."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def with_forward(module: nn.Module, forward: Callable[..., Any]) -> nn.Module:
    """The module with another forward pass."""
    # A class of its own: copies of the module are of it too, which an attribute's would not be.
    module.__class__ = type(type(module).__name__, (type(module),), {"forward": forward})
    return module


def with_nodes(module: nn.Module, passes: Iterable[tuple[Trace, dict[str, fx.Node]]]) -> nn.Module:
    """The module whose pass gives these nodes beside its outputs, in training and in evaluation."""
    # Each is code for the module itself: it computes with the layers that it finds there.
    training, evaluation = (_code(module, trace, inner) for trace, inner in passes)

    @wraps(type(module).forward)
    def forward(self: nn.Module, *arguments: Any, **named: Any) -> dict[str, Any]:
        own, inner = (training if self.training else evaluation)(self, *arguments, **named)
        return named_outputs(own) | inner

    return with_forward(module, forward)


def named_outputs(own: Any) -> dict[str, Any]:
    """The outputs by name, also where torch.fx reads the pass once more, and they are proxies."""
    if isinstance(own, fx.Proxy):
        return {"logits": own}
    if isinstance(own, dict) and any(isinstance(value, fx.Proxy) for value in own.values()):
        return own
    return by_name(own)


def _code(module: nn.Module, trace: Trace, inner: dict[str, fx.Node]) -> Callable[..., Any]:
    """`forward(module, ...)` that returns what it did, and these nodes."""
    output = _output(trace.graph)
    output.args = ((output.args[0], inner),)
    return type(fx.GraphModule(module, trace.graph)).forward


def _output(graph: fx.Graph) -> fx.Node:
    return next(node for node in reversed(graph.nodes) if node.op == "output")


def traces(module: nn.Module) -> Iterator[Trace]:
    """The forward pass in training and in evaluation; the module's modes are what they were."""
    if "forward" in vars(module):
        raise ValueError("its forward is an attribute, not a method")
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield _trace(module if module.training else module.train())
        yield _trace(module.eval())
    finally:
        for part, mode in modes:
            part.training = mode


def _beside(module: nn.Module) -> tuple[Any, ...]:
    """What a pass may leave otherwise than it was, of which nothing would be in its graph: random
    generators, and numbers that the module's parts keep as attributes."""
    numpy = np.random.get_state(legacy=False)
    place = numpy["state"]["pos"], numpy["state"]["key"].tobytes()
    return numbers(module), random.getstate(), place, torch.get_rng_state().tolist()


def _trace(module: nn.Module) -> Trace:
    from torchvision import ops
    from torchvision.models.feature_extraction import NodePathTracer

    leaves = [part for part in vars(ops).values() if isinstance(part, type)]
    tracer = NodePathTracer(
        leaf_modules=[part for part in leaves if issubclass(part, nn.Module)],
        autowrap_modules=(math, ops),
    )
    tracer.proxy_buffer_attributes = True  # else what is made of a buffer alone is a constant
    # Where a pass branches on an argument, the branch of its default is read, and no other value
    # is taken afterwards.
    parameters = inspect.signature(module.forward).parameters
    fixed = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.default is None or isinstance(parameter.default, bool)
    }
    before = _beside(module)
    graph = tracer.trace(module, fixed or None)
    if _beside(module) != before:
        raise ValueError("it draws random numbers, or counts, where no tensor goes in")
    for node in graph.nodes:  # torch.fx calls a fixed argument `mask_1`
        if node.op == "placeholder" and node.target not in parameters:
            node.target = node.target.rpartition("_")[0]
    output = _output(graph)
    # Each node that is returned gets a tensor of its own in its place, to be found by.
    tensors = {node: torch.empty(0) for node in output.all_input_nodes}
    found = {id(tensor): node for node, tensor in tensors.items()}
    named = by_name(fx.map_arg(output.args[0], tensors.__getitem__))
    outputs = {name: found[id(tensor)] for name, tensor in named.items()}
    nodes = {}
    for node, name in tracer.node_to_qualname.items():
        parts = name.split(".")
        for stop in range(1, len(parts) + 1):
            nodes[".".join(parts[:stop])] = node
    return Trace(graph, outputs, nodes)
