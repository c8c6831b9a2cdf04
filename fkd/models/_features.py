"""A module's inner tensors among its outputs, by name, without a change to its code."""

from collections.abc import Mapping
from functools import partial, wraps
from typing import Any

import torch
from torch import fx, nn

from fkd import _check
from fkd.models._traced import (
    Build,
    Trace,
    fresh,
    named_outputs,
    reason_of,
    traces,
    with_forward,
    with_nodes,
)

Sources = Mapping[str, str]  # by the new name


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
    module = fresh("features", build)
    try:
        passes = tuple(traces(module))
    except Exception as error:  # reading a forward pass raises whatever it does with no tensors
        return partial(_with_own_outputs, build, names, reason_of(error))
    for trace in passes:
        known = trace.outputs.keys() | trace.nodes.keys()
        for source in names.values():
            _check.near("features", "output or node", source, known)
    if all(trace.outputs.keys() >= set(names.values()) for trace in passes):
        return partial(_with_own_outputs, build, names, "")
    return partial(_with_nodes, build, names)


def _with_own_outputs(build: Build, names: Sources, reason: str) -> nn.Module:
    module = fresh("features", build)
    plain = type(module).forward

    @wraps(plain)
    def forward(self: nn.Module, *arguments: Any, **named: Any) -> dict[str, Any]:
        outputs = named_outputs(plain(self, *arguments, **named))
        for source in names.values():
            if source not in outputs:
                raise ValueError(
                    f"features: {source!r} is no output of the {type(self).__name__}, which gives "
                    f"{', '.join(outputs)}; its inner tensors cannot be taken, for torch.fx "
                    f"cannot read its forward pass ({reason}); let it return a dict that has them"
                )
        return outputs | {name: outputs[source] for name, source in names.items()}

    return with_forward(module, forward)


def _with_nodes(build: Build, names: Sources) -> nn.Module:
    module = fresh("features", build)
    return with_nodes(module, ((trace, _inner(trace, names)) for trace in traces(module)))


def _inner(trace: Trace, names: Sources) -> dict[str, fx.Node]:
    inner = {}
    for name, source in names.items():
        node = trace.outputs.get(source)
        if node is None:
            node = trace.nodes[source]
            with trace.graph.inserting_after(node):
                node = trace.graph.call_function(_taken, (node, source))
        inner[name] = node
    return inner


def _taken(value: Any, source: str) -> torch.Tensor | fx.Proxy:
    """A node's tensor as it is now. Raises ValueError where the node is none, as LSTM's is not."""
    if not isinstance(value, torch.Tensor | fx.Proxy):  # a proxy where torch.fx reads this again
        raise ValueError(
            f"features: {source!r} must be one tensor, but it is a {type(value).__name__}; name "
            "what is computed from it, as `getitem`"
        )
    return value.clone()
