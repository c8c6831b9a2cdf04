"""A module's inner tensors among its outputs, by name, without a change to its code."""

import copy
import inspect
import math
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx, nn

from fkd import _check
from fkd.model import by_name
from fkd.model._module import numbers

Build = Callable[[], nn.Module]
Sources = Mapping[str, str]  # by the new name


class Trace(NamedTuple):
    """A forward pass as a graph, the names of its outputs, and of its nodes, as torchvision does.

    A layer's name is a node's too: that of the last thing that is computed in it.
    """

    graph: fx.Graph
    outputs: frozenset[str]
    nodes: dict[str, fx.Node]


def features(build: Build, names: Sources) -> Build:
    """What builds the module that `build` does, with the tensors that `names` holds as outputs too.

    `names` maps a new name to where the tensor comes from: the name of one of the module's own
    outputs (its path, as `hidden_states.3`), or else a node of its forward pass by the names of
    `torchvision.models.feature_extraction.get_graph_node_names`: `layer4` is the last thing that is
    computed in that layer, `layer4.1.add` a sum within it. A tensor is taken as it was when it was
    computed, even if a ReLU changes it in place afterwards. A new name that is an output's already
    takes its place. The module keeps its class, its layers, its modes and the names in its
    state_dict.

    A node is taken by torch.fx, which reads the forward pass once for training and once for
    evaluation, with arguments that are None, True or False by default left at that. Of a module
    that torch.fx cannot read, such as those of transformers, own outputs alone can be named; so it
    is of one whose pass would be another each time that it is read, for it draws random numbers of
    no tensor's shape (`torch.rand(1) < p`) or counts on an attribute.

    Raises ValueError for what is no function and no mapping of names, and for a name that is
    neither output nor node; of a module that torch.fx cannot read, and for a node that is no tensor
    (all that nn.LSTM gives), its first forward pass does.

    >>> from torchvision.models import resnet18
    >>> build = features(resnet18, {"feature_map": "layer4", "hidden": "flatten"})
    >>> {name: tuple(x.shape) for name, x in build()(torch.zeros(2, 3, 32, 32)).items()}
    {'logits': (2, 1000), 'feature_map': (2, 512, 1, 1), 'hidden': (2, 512)}
    """
    _check.function("features", build=build)
    _check.mapping("features", names=names)
    _check.words("features", sources=list(names.values()))
    names = dict(names)
    module = _fresh(build)
    try:
        traces = tuple(_traces(module))
    except Exception as error:  # reading a forward pass raises whatever it does with no tensors
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        return partial(_with_own_outputs, build, names, reason)
    for trace in traces:
        known = trace.outputs | trace.nodes.keys()
        for source in names.values():
            _check.near("features", "output or node", source, known)
    if all(trace.outputs.issuperset(names.values()) for trace in traces):
        return partial(_with_own_outputs, build, names, "")
    return partial(_with_nodes, build, names)


def _with_own_outputs(build: Build, names: Sources, reason: str) -> nn.Module:
    module = _fresh(build)
    plain = type(module).forward

    @wraps(plain)
    def forward(self: nn.Module, *arguments: Any, **named: Any) -> dict[str, Any]:
        outputs = by_name(plain(self, *arguments, **named))
        for source in names.values():
            if source not in outputs:
                raise ValueError(
                    f"features: {source!r} is no output of the {type(self).__name__}, which gives "
                    f"{', '.join(outputs)}; its inner tensors cannot be taken, for torch.fx "
                    f"cannot read its forward pass ({reason}); let it return a dict that has them"
                )
        return outputs | {name: outputs[source] for name, source in names.items()}

    return _with_forward(module, forward)


def _with_nodes(build: Build, names: Sources) -> nn.Module:
    module = _fresh(build)
    # Each is code for the module itself: it computes with the layers that it finds there.
    training, evaluation = (_code(module, trace, names) for trace in _traces(module))

    @wraps(type(module).forward)
    def forward(self: nn.Module, *arguments: Any, **named: Any) -> dict[str, Any]:
        own, inner = (training if self.training else evaluation)(self, *arguments, **named)
        outputs = by_name(own)
        renamed = {name: outputs[names[name]] for name in names if name not in inner}
        return outputs | renamed | inner

    return _with_forward(module, forward)


def _fresh(build: Build) -> nn.Module:
    """The module that `build()` makes, or a copy with its layers, for it may have made none."""
    module = build()
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"features: build() must return an nn.Module, but it returned a {type(module).__name__}"
        )
    return copy.copy(module)


def _with_forward(module: nn.Module, forward: Callable[..., Any]) -> nn.Module:
    # A class of its own: copies of the module are of it too, which an attribute's would not be.
    module.__class__ = type(type(module).__name__, (type(module),), {"forward": forward})
    return module


def _traces(module: nn.Module) -> Iterator[Trace]:
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
    tensors = fx.map_arg(_output(graph).args[0], lambda node: torch.empty(0))
    nodes = {}
    for node, name in tracer.node_to_qualname.items():
        parts = name.split(".")
        for stop in range(1, len(parts) + 1):
            nodes[".".join(parts[:stop])] = node
    return Trace(graph, frozenset(by_name(tensors)), nodes)


def _code(module: nn.Module, trace: Trace, names: Sources) -> Callable[..., Any]:
    """`forward(module, ...)` that returns what it did, and the named nodes."""
    inner = {}
    for name, source in names.items():
        if source not in trace.outputs:
            node = trace.nodes[source]
            with trace.graph.inserting_after(node):
                inner[name] = trace.graph.call_function(_taken, (node, source))
    output = _output(trace.graph)
    output.args = ((output.args[0], inner),)
    return type(fx.GraphModule(module, trace.graph)).forward


def _taken(value: Any, source: str) -> torch.Tensor:
    """A node's tensor as it is now. Raises ValueError where the node is none, as LSTM's is not."""
    if not isinstance(value, torch.Tensor):
        raise ValueError(
            f"features: {source!r} must be one tensor, but it is a {type(value).__name__}; name "
            "what is computed from it, as `getitem`"
        )
    return value.clone()


def _output(graph: fx.Graph) -> fx.Node:
    return next(node for node in reversed(graph.nodes) if node.op == "output")
