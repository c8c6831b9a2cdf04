"""The layers that a command line names, and an error about one told by the flag that named it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from fkd.compare._command.options import in_flags

Nodes = Mapping[str, str]  # by the name of the output
TEACHER = "--teacher-model"


class Layer(NamedTuple):
    """An output by name and where it comes from, as the words behind a flag have it."""

    flag: str
    name: str
    node: str


@contextmanager
def layers_by_flag(layer: Nodes, teacher_layer: Nodes) -> Iterator[None]:
    """An error about one of these layers, which the library tells by its own function, tells the
    flag in its place."""
    try:
        yield
    except ValueError as error:
        raise ValueError(in_flag_of_layer(str(error), layer, teacher_layer)) from error


def in_flag_of_layer(message: str, layer: Nodes, teacher_layer: Nodes) -> str:
    """An error of `fkd.models.features` about a network with the flag that named the layer in the
    function's place, and what to type instead; any other as it is.

    >>> in_flag_of_layer("student: features: 'top' is no output", {"hidden": "top"}, {})
    "--layer: hidden=top in --student-model: 'top' is no output; it is of both networks, ..."
    """
    network, _, reason = in_flags(message).partition(": features: ")
    own = [Layer("--teacher-layer", *pair) for pair in teacher_layer.items()]
    both = [Layer("--layer", *pair) for pair in layer.items()]
    if network == TEACHER:  # which has its own in place of one of the same name for both
        both = own + [one for one in both if one.name not in teacher_layer]
    meant = [one for one in both if repr(one.node) in reason]
    if not meant:
        return message
    flag, name, node = min(meant, key=lambda one: reason.index(repr(one.node)))
    told = f"{flag}: {name}={node} in {network}: {reason}"
    if flag == "--teacher-layer":
        return told
    if network == TEACHER:
        return f"{told}; where it has another name in the teacher, add --teacher-layer {name}=NODE"
    return f"{told}; it is of both networks, and --teacher-layer {name}=NODE of the teacher alone"
