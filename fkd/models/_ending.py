"""How a module ends: what stands between its last map and its classifier, as torch.fx reads it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fkd import _check
from fkd.models._traced import traces

# What may stand between the average and the classifier, for it moves no number.
LAYERS = (nn.Dropout, nn.Flatten, nn.Identity)
CALLS = ("flatten", "reshape", "squeeze", "view")  # of a tensor
FUNCTIONS = (F.dropout, torch.flatten, torch.reshape, torch.squeeze)
SIZES = (1, (1, 1), [1, 1])  # of an average over all positions
RELUS = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")


def rectified(module: nn.Module, classifier: str) -> bool:
    """Whether a ReLU gives the map that the layer `classifier` of the module reads, averaged over
    its positions or flattened.

    Of torchvision's DenseNet the last layer's map is before that ReLU; of most it is behind, and a
    second ReLU leaves it as it is. False for a ReLU behind the average, and for a module that
    torch.fx cannot read.

    >>> from torchvision.models import DenseNet
    >>> rectified(DenseNet(4, (1, 1), 8, 2), "classifier")
    True
    """
    _check.instance("rectified", nn.Module, "an nn.Module", module=module)
    _check.text("rectified", classifier=classifier)
    try:
        *_, evaluation = traces(module)
    except Exception:  # reading a forward pass raises whatever it does with no tensors
        return False
    inside = (node for node in evaluation.graph.nodes if _is_in(node, classifier))
    node = next(inside, None)
    if node is None or not node.all_input_nodes:
        return False
    node = moved_from(module, node.all_input_nodes[0])
    if averages(module, node):
        node = moved_from(module, node.all_input_nodes[0])
    if not isinstance(layer_of(module, node), nn.ReLU) and node.target not in RELUS:
        return False
    return not averages(module, moved_from(module, node.all_input_nodes[0]))


def moved_from(module: nn.Module, node: fx.Node) -> fx.Node:
    """The node, or that whose numbers it holds in another shape."""
    while moves_no_number(module, node):
        node = node.all_input_nodes[0]
    return node


def _is_in(node: fx.Node, layer: str) -> bool:
    """Whether the node is a call of the layer, or of one within it."""
    return node.op == "call_module" and f"{node.target}.".startswith(f"{layer}.")


def layer_of(module: nn.Module, node: fx.Node) -> nn.Module | None:
    """The layer that the node is a call of, if it is one."""
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def moves_no_number(module: nn.Module, node: fx.Node) -> bool:
    """Whether the node reshapes, or drops out, and no more."""
    if node.op == "call_method":
        return node.target in CALLS
    return isinstance(layer_of(module, node), LAYERS) or node.target in FUNCTIONS


def averages(module: nn.Module, node: fx.Node) -> bool:
    """Whether the node is the mean over all positions of a map."""
    layer = layer_of(module, node)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return layer.output_size in SIZES
    if node.target is F.adaptive_avg_pool2d:
        return _second(node, "output_size") in SIZES
    axes = _second(node, "dim") if node.target in ("mean", torch.mean) else None
    return isinstance(axes, tuple | list) and sorted(axis % 4 for axis in axes) == [2, 3]


def _second(node: fx.Node, name: str) -> Any:
    """The second argument of a call, which goes by that name."""
    return node.args[1] if len(node.args) > 1 else node.kwargs.get(name)
