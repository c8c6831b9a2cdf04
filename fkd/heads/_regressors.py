"""Heads of the student alone: its output in the shape of the target; and a classifier."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd import _check
from fkd.heads import align
from fkd.heads._shapes import channels, check_shapes
from fkd.model import functional, outputs_like
from fkd.models._ending import rectified


def convolution_regressor(student: torch.Size, target: torch.Size) -> nn.Module:
    """A 3x3 convolution from the student's channels to the target's, at one resolution.

    Of vectors [width] and of as many tokens [tokens, width] on both sides it is a linear map from
    width to width. Raises ValueError for any other pair of shapes.

    >>> convolution_regressor(torch.Size([16, 8, 8]), torch.Size([32, 8, 8]))
    Conv2d(16, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    >>> convolution_regressor(torch.Size([197, 192]), torch.Size([197, 384]))
    Linear(in_features=192, out_features=384, bias=True)
    """
    check_shapes("convolution_regressor", student=student, target=target)
    if len(student) == len(target) and len(student) in (1, 2) and student[:-1] == target[:-1]:
        return nn.Linear(student[-1], target[-1])
    inputs, outputs = channels("convolution_regressor", student, target)
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def linear(student: torch.Size, target: torch.Size) -> nn.Module:
    """SRD's projector: a linear map without a bias from a vector [width] to one of the target's.

    >>> linear(torch.Size([512]), torch.Size([2048]))
    Linear(in_features=512, out_features=2048, bias=False)
    """
    check_shapes("linear", student=student, target=target)
    if len(student) != 1 or len(target) != 1:
        raise ValueError(
            f"linear: it joins vectors [width], but the student's is {tuple(student)} and the "
            f"target's is {tuple(target)}"
        )
    return nn.Linear(student[0], target[0], bias=False)


def pointwise(student: torch.Size, target: torch.Size) -> nn.Module:
    """A 1x1 convolution from the student's channels to the target's."""
    return nn.Conv2d(*channels("pointwise", student, target), kernel_size=1)


def connector(student: torch.Size, target: torch.Size) -> nn.Module:
    """A 1x1 convolution and a BatchNorm, which AB, OFD and ICKD put behind the student."""
    inputs, outputs = channels("connector", student, target)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def rectified_connector(student: torch.Size, target: torch.Size) -> nn.Module:
    """A `connector` and a ReLU, which SRRL and WKD-F put behind the student."""
    channels("rectified_connector", student, target)
    return nn.Sequential(connector(student, target), nn.ReLU())


def projector(student: torch.Size, target: torch.Size) -> nn.Module:
    """SimKD's three convolutions, 1x1, 3x3 and 1x1, each with BatchNorm and ReLU.

    Chen et al., "Knowledge Distillation with the Reused Teacher Classifier" (2022), section 3.2.
    """
    inputs, outputs = channels("projector", student, target)
    middle = max(outputs // 2, 1)
    sizes = ((inputs, middle, 1), (middle, middle, 3), (middle, outputs, 1))
    layers: list[nn.Module] = []
    for before, after, side in sizes:
        layers.append(nn.Conv2d(before, after, side, padding=side // 2, bias=False))
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class Masked(nn.Module):
    """Whole channels of each example set to zero, each with probability `share`, in training.

    What is left stays as it is, where dropout would scale it. Raises ValueError for a share outside
    [0, 1), and when it runs for what is no map [batch, channels, height, width].

    >>> Masked(0.5).eval()(torch.ones(1, 2, 1, 1)).sum()
    tensor(2.)
    """

    def __init__(self, share: float):
        super().__init__()
        _check.plain("Masked", share=share)
        _check.share("Masked", share=share)
        self.share = share

    def forward(self, map: Tensor) -> Tensor:
        _check.dimensions("Masked", "batch channels height width", map=map)
        _check.floating("Masked", map=map)
        kept = F.dropout2d(map, self.share, self.training)
        return kept * (1 - self.share) if self.training else kept

    def extra_repr(self) -> str:
        return f"share={self.share}"


def generator(student: torch.Size, target: torch.Size) -> nn.Module:
    """MGD's generator of the target's map from the student's, of which channels are masked: a 1x1
    convolution where the channels differ, and two of 3x3 with a ReLU between them.

    Yang et al., "Masked Generative Distillation" (2022), section 3.1, with the authors' share of
    0.15 of the channels for classification.
    """
    inputs, outputs = channels("generator", student, target)
    align: list[nn.Module] = [] if inputs == outputs else [nn.Conv2d(inputs, outputs, 1)]
    return nn.Sequential(
        *align,
        Masked(0.15),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
    )


class Aligned(nn.Module):
    """`align.maps` of the student's output beside a target [channels, height, width].

    It has no parameters.

    >>> Aligned(torch.Size([5, 4, 4]))(torch.ones(2, 17, 3)).shape
    torch.Size([2, 3, 4, 4])
    """

    def __init__(self, target: torch.Size):
        super().__init__()
        channels("Aligned", target, target)
        self.target = tuple(target)

    def forward(self, student: Tensor) -> Tensor:
        _check.dimensions("Aligned", "batch ...", student=student)
        # of which only the shape counts
        beside = student.new_zeros(()).expand(len(student), *self.target)
        return align.maps(student, beside)[0]


def classifier_of(teacher: nn.Module, map: torch.Size) -> nn.Sequential:
    """A copy of the teacher's classifier, from a map [channels, height, width] to its logits.

    It is looked for under the names that torchvision and timm use: `classifier`, `fc`, `head`. What
    it reads is the first of these that it makes logits [classes] of, which is tried on the meta
    device: the map averaged over its positions, the map flattened, the map itself, which timm's
    heads average inside, and the average as a map of one position, as torchvision's ConvNeXt has
    it. Where the teacher has a ReLU right before that, as torchvision's DenseNet behind `features`,
    so has the copy, and a map from behind the ReLU is the same to it. Whatever else the teacher
    computes between the map and its classifier is left away.

    Raises ValueError where there is no classifier, or where it takes none of them.

    >>> from torchvision.models import mobilenet_v2
    >>> classifier_of(mobilenet_v2(), torch.Size([1280, 7, 7]))(torch.ones(2, 1280, 7, 7)).shape
    torch.Size([2, 1000])
    """
    _check.instance("classifier_of", nn.Module, "an nn.Module", teacher=teacher)
    channels("classifier_of", map, map)
    layers = {name: layer for name, layer in teacher.named_children() if _has_parameters(layer)}
    names = [name for name in ("classifier", "fc", "head") if name in layers]
    if not names:
        raise ValueError(
            f"classifier_of: the teacher, a {type(teacher).__name__}, has no layer `classifier`, "
            "`fc` or `head` with parameters; give one of these names to its last layers"
        )
    classifier, average = copy.deepcopy(layers[names[0]]), nn.AdaptiveAvgPool2d(1)
    relu: list[nn.Module] = [nn.ReLU()] if rectified(teacher, names[0]) else []
    larger = torch.Size([map[0], map[1] + 1, map[2] + 1])
    for before, size in (
        ([nn.Sequential(*relu, average), nn.Flatten()], map),
        ([nn.Sequential(*relu, nn.Flatten())], map),
        (relu, larger),  # what averages inside takes any size, but no map whose channels stand last
        ([nn.Sequential(*relu, average)], map),
    ):
        whole = nn.Sequential(*before, classifier)
        if _gives_logits(whole, size):
            return whole
    linear = [layer for layer in classifier.modules() if isinstance(layer, nn.Linear)]
    takes = f" whose first linear layer takes {linear[0].in_features} features" if linear else ""
    raise ValueError(
        f"classifier_of: the teacher's {names[0]}, a {type(classifier).__name__}{takes}, gives "
        f"logits [classes] of none of these: the map {tuple(map)} in any size, its average "
        f"{(map[0],)} or {(map[0], 1, 1)}, the map flattened {(math.prod(map),)}; name the layer "
        "whose output it reads, a map with its channels first"
    )


def _has_parameters(layer: nn.Module) -> bool:
    return next(layer.parameters(), None) is not None


def _gives_logits(module: nn.Module, map: torch.Size) -> bool:
    """Whether the module makes one row of numbers of a map."""
    dtype = next(module.parameters()).dtype
    example = torch.empty(1, *map, dtype=dtype, device="meta")
    try:
        outputs = outputs_like(functional(lambda: module), example, train=False)
    except ValueError:
        return False
    return outputs["logits"].ndim == 2 if "logits" in outputs else False
