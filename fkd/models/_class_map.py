"""A module's class maps among its outputs: what its classifier says at each position."""

from functools import partial

from torch import fx, nn

from fkd import _check
from fkd.models._ending import averages, layer_of, moved_from
from fkd.models._traced import Build, Trace, fresh, reason_of, traces, with_nodes


def class_map(build: Build) -> Build:
    """What builds the module that `build` does, with its class maps as the output `class_map` too.

    The module ends in an average over all positions of a map [batch, channels, height, width],
    flattens it or not, and gives it to one linear layer, whose output is its logits. So do the
    networks of the field, and torchvision's and timm's ResNet, MobileNetV2, ShuffleNet, DenseNet.
    `class_map` [batch, classes, height, width] is what that layer, its weight and its bias, makes
    of the map at each position: Σ_k w_ck f_k + b_c. Each position has the whole bias, so the mean
    over the positions is the logits, bias included once. `losses.sdd` compares such maps; so does
    `losses.class_attention_transfer`, whose authors' networks have no bias.

    The network runs once, and only its last layer again. Gradients reach that layer's weights
    through both outputs. A dropout before it does not reach the maps, so with one it is in
    evaluation that their mean is the logits. Otherwise the module is what it was, as with
    `features`, which can stand around this one, or within it.

    Raises ValueError for what is no function, for a module that torch.fx cannot read, and for one
    that ends otherwise, as LightNN does, whose classifier reads a flattened map.

    >>> import torch
    >>> from fkd import losses
    >>> from fkd.methods import Term
    >>> from torchvision.models import shufflenet_v2_x0_5
    >>> outputs = class_map(shufflenet_v2_x0_5)()(torch.zeros(2, 3, 64, 64))
    >>> {name: tuple(x.shape) for name, x in outputs.items()}
    {'logits': (2, 1000), 'class_map': (2, 1000, 2, 2)}

    With student and teacher so built, this is the term of CAT-KD. Its authors give the mean over
    four cells a weight of 400; the loss is their sum, so here it is 100.

    >>> term = Term(losses.class_attention_transfer, "class_map", "class_map", 100.0)
    >>> method = {"cat-kd": term, "ce": Term(losses.cross_entropy, target="labels")}
    >>> term.values(outputs, outputs, term.hyper, None).shape
    torch.Size([2])
    """
    _check.function("class_map", build=build)
    module = fresh("class_map", build)
    try:
        passes = tuple(traces(module))
    except Exception as error:  # reading a forward pass raises whatever it does with no tensors
        raise ValueError(
            f"class_map: torch.fx cannot read the forward pass of the {type(module).__name__} "
            f"({reason_of(error)}); let it return its class maps itself"
        ) from error
    for trace in passes:
        _ending(module, trace)
    return partial(_with_class_map, build)


def _with_class_map(build: Build) -> nn.Module:
    module = fresh("class_map", build)
    return with_nodes(
        module, ((trace, {"class_map": _inserted(module, trace)}) for trace in traces(module))
    )


def _inserted(module: nn.Module, trace: Trace) -> fx.Node:
    """The node of the class maps: the classifier once more, at each position of the map."""
    average, classifier = _ending(module, trace)
    with trace.graph.inserting_before(average):  # what follows could write over the map
        last = trace.graph.call_method("movedim", (average.all_input_nodes[0], 1, -1))
        logits = trace.graph.call_module(str(classifier.target), (last,))
        maps = trace.graph.call_method("movedim", (logits, -1, 1))
        # With channels last, torch pools maps one member at a time.
        return trace.graph.call_method("contiguous", (maps,))


def _ending(module: nn.Module, trace: Trace) -> tuple[fx.Node, fx.Node]:
    """The nodes of the average and of the classifier. Raises ValueError where it ends otherwise."""
    classifier = trace.outputs.get("logits")
    if classifier is None:
        raise ValueError(
            f"class_map: the {type(module).__name__} must give `logits`, but its outputs are "
            f"{', '.join(trace.outputs)}"
        )
    node = classifier
    if type(layer_of(module, node)) is nn.Linear:
        node = moved_from(module, node.all_input_nodes[0])
        if averages(module, node):
            return node, classifier
    what = layer_of(module, node)
    raise ValueError(
        f"class_map: the {type(module).__name__} must end in an average over all positions of a "
        "map, as nn.AdaptiveAvgPool2d(1) or a mean over axes 2 and 3, and one nn.Linear behind it, "
        f"with a flatten between them, but there is {node.name if what is None else what}; let it "
        "return its class maps itself"
    )
