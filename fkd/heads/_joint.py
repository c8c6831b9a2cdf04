"""Joint heads, named as nouns of their papers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd import _check, losses
from fkd.heads._regressors import classifier_of, connector, pointwise, rectified_connector
from fkd.heads._shapes import (
    Arguments,
    channels,
    check_batch,
    check_inputs,
    check_maps,
    check_normalised,
    check_shapes,
    pairs,
)
from fkd.losses._transport import check_cost


class Variational(nn.Module):
    """VID's mean, three 1x1 convolutions, and its variance, one number a channel.

    v = softplus(a) + 1e-5, with a such that v starts at 5. Both are trained.

    Ahn et al., "Variational Information Distillation" (2019), section 2.1.
    """

    def __init__(self, student: torch.Size, target: torch.Size):
        super().__init__()
        inputs, outputs = channels("Variational", student, target)
        self.inputs = inputs
        self.mean = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1, bias=False),
        )
        self.log_scale = nn.Parameter(torch.full((outputs,), math.log(math.expm1(5 - 1e-5))))

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
        check_batch("Variational", student=student, teacher=teacher)
        check_inputs("Variational", self.log_scale, student=student)
        check_maps("Variational", self.inputs, student=student)
        check_maps("Variational", len(self.log_scale), teacher=teacher)
        variance = F.softplus(self.log_scale) + 1e-5
        return {"student": self.mean(student), "teacher": teacher, "variance": variance}


class Temperature(nn.Module):
    """CTKD's learnt temperature, 1 + 20 sigmoid(θ), which is trained against the student.

    Its gradient is turned round: the temperature rises where the student would have it fall.

    Li et al., "Curriculum Temperature for Knowledge Distillation" (2023), with one temperature for
    all examples; the paper lets the strength of the reversal grow, here it is 1 throughout.
    """

    def __init__(self, student: torch.Size, target: torch.Size):
        super().__init__()
        check_shapes("Temperature", student=student, target=target)
        self.theta = nn.Parameter(torch.ones(()))

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
        check_batch("Temperature", student=student, teacher=teacher)
        _check.same_shape("Temperature", student=student, teacher=teacher)
        reversed_theta = 2 * self.theta.detach() - self.theta
        temperature = 1 + 20 * torch.sigmoid(reversed_theta)
        return {"student": student, "teacher": teacher, "temperature": temperature}


class Interrelations(nn.Module):
    """WKD-L's cost of moving probability between classes, kept among the buffers.

    Takes the teacher's logits and the labels. Give `cost` [classes, classes], ≥ 0, as
    `losses.class_cost` has it of the teacher's features; otherwise it is
    1 − exp(−(1 − cos(w_i, w_j))) of the weights of the last linear layer of `teacher`. Raises
    ValueError where that has not a row for each class, and where neither is given.

    Lv, Yang and Li, "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge
    Distillation" (2024), whose code has both; the paper has that of features.
    """

    cost: Tensor

    def __init__(
        self,
        student: torch.Size,
        target: tuple[torch.Size, ...],
        *,
        teacher: nn.Module | None = None,
        cost: Tensor | None = None,
    ):
        super().__init__()
        _check.instance("Interrelations", tuple, "the shapes of logits and labels", target=target)
        check_shapes("Interrelations", student=student)
        if not student:
            raise ValueError("Interrelations: student must have an axis of classes, but it is ()")
        classes = student[-1]
        if teacher is not None:
            _check.instance("Interrelations", nn.Module, "an nn.Module", teacher=teacher)
        if cost is None:
            cost = _cost_of_weights(teacher, classes)
        check_cost("Interrelations", cost, classes)
        self.register_buffer("cost", cost.detach().clone())

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Arguments:
        check_batch("Interrelations", student=student, teacher=teacher)
        _check.same_shape("Interrelations", student=student, teacher=teacher)
        _check.tensor("Interrelations", student=student, labels=labels)
        _check.integral("Interrelations", labels=labels)
        _check.agree("Interrelations", "batch", student=student, labels=labels)
        return {"student": student, "teacher": teacher, "labels": labels, "cost": self.cost}


def _cost_of_weights(teacher: nn.Module | None, classes: int) -> Tensor:
    if teacher is None:
        raise ValueError("Interrelations: give cost, or the teacher, whose weights have one")
    layers = [layer for layer in teacher.modules() if isinstance(layer, nn.Linear)]
    if not layers or layers[-1].out_features != classes:
        found = f"{layers[-1].out_features}" if layers else "no linear layer"
        raise ValueError(
            f"Interrelations: the teacher, a {type(teacher).__name__}, must end in a linear layer "
            f"of {classes} classes, but it has {found}; give cost"
        )
    rows = F.normalize(layers[-1].weight.detach(), dim=1)
    return -torch.expm1((rows @ rows.mT).clamp(max=1.0) - 1)


class Factors(nn.Module):
    """FT's translator of the student, and its paraphraser, an autoencoder of the teacher's map.

    The paper trains the paraphraser first; here both are trained side by side, and the factor that
    the student is to match carries no gradient.

    Kim et al., "Paraphrasing Complex Network" (2018), sections 3.1 and 3.2; the factor has half the
    teacher's channels.
    """

    def __init__(self, student: torch.Size, target: torch.Size):
        super().__init__()
        inputs, outputs = channels("Factors", student, target)
        self.inputs, self.outputs = inputs, outputs
        factors = max(outputs // 2, 1)
        self.translator = self._layers(inputs, factors)
        self.encoder = self._layers(outputs, factors)
        self.decoder = self._layers(factors, outputs)

    @staticmethod
    def _layers(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(0.1),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
        check_inputs("Factors", next(self.parameters()), student=student, teacher=teacher)
        check_maps("Factors", self.inputs, student=student)
        check_maps("Factors", self.outputs, teacher=teacher)
        check_normalised("Factors", self.training, student=student, teacher=teacher)
        factor = self.encoder(teacher)
        return {
            "student": self.translator(student),
            "teacher": factor.detach(),
            "map": teacher,
            "rebuilt": self.decoder(factor),
        }


class Margin(nn.Module):
    """OFD's connector, and its margin: the teacher's mean negative response, channel by channel.

    Give `margin` [channels] (see `batchnorm_margin`) for a teacher that ends in BatchNorm;
    otherwise it is the running mean over the batches so far, kept among the buffers.

    Heo et al., "A Comprehensive Overhaul of Feature Distillation" (2019), section 3.
    """

    margin: Tensor
    batches: Tensor

    def __init__(self, student: torch.Size, target: torch.Size, margin: Tensor | None = None):
        super().__init__()
        self.inputs, outputs = channels("Margin", student, target)
        self.connector = connector(student, target)
        self.known = margin is not None
        if margin is None:
            margin = torch.zeros(outputs)
        else:
            self._check_margin(margin, outputs)
        self.register_buffer("margin", margin.detach().clone())
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @staticmethod
    def _check_margin(margin: Tensor, channels: int) -> None:
        _check.dimensions("Margin", "channels", margin=margin)
        _check.floating("Margin", margin=margin)
        if len(margin) != channels:
            raise ValueError(
                f"Margin: margin must have the target's {channels} channels, but it is "
                f"{tuple(margin.shape)}"
            )
        _, largest = _check.extremes(margin) or (0.0, 0.0)
        if largest > 0:
            raise ValueError(f"Margin: margin must be zero or less, but it goes to {largest}")

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
        check_batch("Margin", student=student, teacher=teacher)
        check_inputs("Margin", next(self.parameters()), student=student)
        check_maps("Margin", self.inputs, student=student)
        check_maps("Margin", len(self.margin), teacher=teacher)
        check_normalised("Margin", self.training, student=student)
        if not self.known:
            self.batches.add_(1)
            self.margin.add_((losses.mean_negative(teacher) - self.margin) / self.batches)
        margin = self.margin.clone()
        return {"student": self.connector(student), "teacher": teacher, "margin": margin}


class SoftmaxRegression(nn.Module):
    """SRRL's connector of the student, and a frozen copy of the teacher's classifier behind it.

    Gives, of both sides, the features that the classifier reads, the map's average or the map
    flattened, and its logits. Of a classifier that reads the map itself the features are its
    average. The copy stays in evaluation, so that no dropout fires in it. Raises ValueError where
    `teacher` has no classifier for the target's map (see `classifier_of`).

    Yang et al., "Knowledge Distillation via Softmax Regression Representation Learning" (2021).
    """

    def __init__(self, student: torch.Size, target: torch.Size, *, teacher: nn.Module):
        super().__init__()
        self.channels = channels("SoftmaxRegression", student, target)
        self.connector = rectified_connector(student, target)
        *read, classifier = classifier_of(teacher, target)
        self.read = nn.Sequential(*read)
        self.classifier = classifier.requires_grad_(False).eval()
        self.target = tuple(target)

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
        check_batch("SoftmaxRegression", student=student, teacher=teacher)
        weight = next(self.parameters())
        check_inputs("SoftmaxRegression", weight, student=student, teacher=teacher)
        check_maps("SoftmaxRegression", self.channels[0], student=student)
        check_normalised("SoftmaxRegression", self.training, student=student)
        for name, x in (("student", student), ("teacher", teacher)):
            if x.shape[2:] != self.target[1:]:
                raise ValueError(
                    f"SoftmaxRegression: {name} must be of the target's size, {self.target[1:]}, "
                    f"but it is {tuple(x.shape)}"
                )
        check_maps("SoftmaxRegression", self.channels[1], teacher=teacher)
        own, given = self.read(self.connector(student)), self.read(teacher)
        return {
            "student": _averaged(own),
            "teacher": _averaged(given),
            "student_logits": self.classifier(own),
            "teacher_logits": self.classifier(given),
        }


def _averaged(read: Tensor) -> Tensor:
    """Vectors as they are, and maps averaged over their positions."""
    return read.mean((2, 3)) if read.ndim == 4 else read


class Flows(nn.Module):
    """The two maps of the student that FSP and KDSVD compare, brought by 1x1 convolutions to the
    channels of the teacher's.

    Yim et al., "A Gift from Knowledge Distillation" (2017) chooses networks of equal channels.
    """

    def __init__(self, student: tuple[torch.Size, ...], target: tuple[torch.Size, ...]):
        super().__init__()
        both = pairs("Flows", student, target)
        if len(both) != 2:
            raise ValueError(f"Flows: it takes two maps of each side, but they are {len(both)}")
        self.first_channels, self.last_channels = (channels("Flows", s, t) for s, t in both)
        self.first, self.last = (pointwise(s, t) for s, t in both)

    def forward(
        self, first: Tensor, last: Tensor, teacher_first: Tensor, teacher_last: Tensor
    ) -> Arguments:
        teachers = {"teacher_first": teacher_first, "teacher_last": teacher_last}
        check_batch("Flows", first=first, last=last, **teachers)
        check_inputs("Flows", next(self.parameters()), first=first, last=last)
        check_maps("Flows", self.first_channels[0], first=first)
        check_maps("Flows", self.first_channels[1], teacher_first=teacher_first)
        check_maps("Flows", self.last_channels[0], last=last)
        check_maps("Flows", self.last_channels[1], teacher_last=teacher_last)
        return {
            "student_first": self.first(first),
            "student_last": self.last(last),
            "teacher_first": teacher_first,
            "teacher_last": teacher_last,
        }


class Fusion(nn.Module):
    """ReviewKD's attention-based fusion: each level is reviewed with the deeper ones.

    Levels go from shallow to deep; the deepest stands alone, and each shallower one is mixed with
    what came from below by a learnt attention before it is compared.

    Chen et al., "Distilling Knowledge via Knowledge Review" (2021), section 3.3.
    """

    def __init__(
        self, student: tuple[torch.Size, ...], target: tuple[torch.Size, ...], width: int = 64
    ):
        super().__init__()
        _check.whole("Fusion", 1, width=width)
        joined = [channels("Fusion", s, t) for s, t in pairs("Fusion", student, target)]
        self.channels = [inputs for inputs, _ in joined] + [outputs for _, outputs in joined]
        self.enter = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))
            for inputs, _ in joined
        )
        self.attention = nn.ModuleList(nn.Conv2d(2 * width, 2, 1) for _ in joined[:-1])
        self.leave = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out))
            for _, out in joined
        )

    def _check(self, maps: tuple[Tensor, ...]) -> None:
        if len(maps) != len(self.channels):
            raise ValueError(
                f"Fusion: maps must be {len(self.channels)}, half of them the student's, but they "
                f"are {len(maps)}"
            )
        named = {f"maps[{level}]": x for level, x in enumerate(maps)}
        check_batch("Fusion", **named)
        for count, (name, x) in zip(self.channels, named.items(), strict=True):
            check_maps("Fusion", count, **{name: x})
        students = {name: named[name] for name in list(named)[: len(self.enter)]}
        check_inputs("Fusion", next(self.parameters()), **students)
        check_normalised("Fusion", self.training, **students)

    def forward(self, *maps: Tensor) -> Arguments:
        levels = len(self.enter)
        self._check(maps)
        students, teachers = maps[:levels], maps[levels:]
        arguments, below = {}, None
        for level in reversed(range(levels)):
            here = self.enter[level](students[level])
            if below is not None:
                below = F.interpolate(below, here.shape[-2:], mode="nearest")
                both = torch.cat([here, below], dim=1)
                share = torch.sigmoid(self.attention[level](both))
                here = here * share[:, :1] + below * share[:, 1:]
            below = here
            arguments[f"student_{level}"] = self.leave[level](here)
            arguments[f"teacher_{level}"] = teachers[level]
        return arguments
