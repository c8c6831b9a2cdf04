"""What a rank gives into sums in a step, worked by hand: what is counted must equal it."""

from torch import nn

from benchmarks.scalings.sides import CLASSES, Side
from benchmarks.scalings.traffic import Call
from fkd.methods import METHODS
from fkd.models import named

FLOAT = 4  # bytes
MOMENTS = 2  # of a channel: the mean, and the squares about it
NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d


def by_hand(side: Side) -> list[Call]:
    """The sums of a step, by size; none where members alone are dealt.

    Members' gradients with their metrics in one sum: P + 1 + terms numbers a member, for `loss` is
    a metric too. Of each member each layer of BatchNorm has a sum forward and one backward: its
    moments, with a place for each rank's. It is for terms that take each example apart, as kd's do;
    one that relates examples gathers them besides.
    """
    if side.data_ranks == 1:
        return []
    net = named(side.network, CLASSES)()
    members = side.members // side.member_ranks
    parameters = sum(parameter.numel() for parameter in net.parameters())
    numbers = parameters + 1 + len(METHODS[side.method]())
    sizes = [FLOAT * members * numbers]
    for layer in net.modules():
        if isinstance(layer, NORMS):
            sizes += [FLOAT * side.data_ranks * MOMENTS * layer.num_features] * 2 * members
    return sorted(Call("all_reduce", size) for size in sizes)
