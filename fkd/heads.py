"""Trainable modules between a student's output and a loss, built from the shapes on both sides.

A shape is without its batch axis. Modules named as nouns of a paper are joint heads: they take the
student's outputs and the targets, and return what their loss takes, by argument.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd import _check, _random, losses

Arguments = dict[str, Tensor]


def _channels(where: str, student: torch.Size, target: torch.Size) -> tuple[int, int]:
    if len(student) != 3 or len(target) != 3:
        raise ValueError(
            f"{where}: it joins feature maps [channels, height, width], but the "
            f"student's is {tuple(student)} and the target's is {tuple(target)}"
        )
    return student[0], target[0]


def convolution_regressor(student: torch.Size, target: torch.Size) -> nn.Module:
    """A 3x3 convolution from the student's channels to the target's, at one resolution.

    >>> convolution_regressor(torch.Size([16, 8, 8]), torch.Size([32, 8, 8]))
    Conv2d(16, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """
    inputs, outputs = _channels("convolution_regressor", student, target)
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def pointwise(student: torch.Size, target: torch.Size) -> nn.Module:
    """A 1x1 convolution from the student's channels to the target's."""
    return nn.Conv2d(*_channels("pointwise", student, target), kernel_size=1)


def connector(student: torch.Size, target: torch.Size) -> nn.Module:
    """A 1x1 convolution and a BatchNorm, which AB, OFD and ICKD put behind the student."""
    inputs, outputs = _channels("connector", student, target)
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def projector(student: torch.Size, target: torch.Size) -> nn.Module:
    """SimKD's three convolutions, 1x1, 3x3 and 1x1, each with BatchNorm and ReLU.

    Chen et al., "Knowledge Distillation with the Reused Teacher Classifier" (2022), section 3.2.
    """
    inputs, outputs = _channels("projector", student, target)
    middle = max(outputs // 2, 1)
    sizes = ((inputs, middle, 1), (middle, middle, 3), (middle, outputs, 1))
    layers: list[nn.Module] = []
    for before, after, side in sizes:
        layers.append(nn.Conv2d(before, after, side, padding=side // 2, bias=False))
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def classifier_of(teacher: nn.Module, map: torch.Size) -> nn.Module:
    """A copy of the teacher's classifier, from a map [channels, height, width] to its logits.

    It is looked for under the names that torchvision and timm use: `classifier`, `fc`, `head`. Its
    first linear layer tells whether it takes the map flattened or averaged over its positions.
    Raises ValueError where there is none, or where it takes neither.
    """
    names = [name for name in ("classifier", "fc", "head") if hasattr(teacher, name)]
    if not names:
        raise ValueError(
            f"classifier_of: the teacher, a {type(teacher).__name__}, has no layer `classifier`, "
            "`fc` or `head`; give one of these names to its last layers"
        )
    classifier = copy.deepcopy(getattr(teacher, names[0]))
    linear = [layer for layer in classifier.modules() if isinstance(layer, nn.Linear)]
    width = linear[0].in_features if linear else None
    if width == map.numel():
        return nn.Sequential(nn.Flatten(), classifier)
    if width == map[0]:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)
    raise ValueError(
        f"classifier_of: the teacher's {names[0]} takes {width} features, but the map is "
        f"{tuple(map)}, flattened {map.numel()} and averaged {map[0]}; name another layer"
    )


class Variational(nn.Module):
    """VID's mean, three 1x1 convolutions, and its variance, one number a channel.

    v = softplus(a) + 1e-5, with a such that v starts at 5. Both are trained.

    Ahn et al., "Variational Information Distillation" (2019), section 2.1.
    """

    def __init__(self, student: torch.Size, target: torch.Size):
        super().__init__()
        inputs, outputs = _channels("Variational", student, target)
        self.mean = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 1, bias=False),
        )
        self.log_scale = nn.Parameter(torch.full((outputs,), math.log(math.expm1(5 - 1e-5))))

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
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
        self.theta = nn.Parameter(torch.ones(()))

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
        reversed_theta = 2 * self.theta.detach() - self.theta
        temperature = 1 + 20 * torch.sigmoid(reversed_theta)
        return {"student": student, "teacher": teacher, "temperature": temperature}


class Factors(nn.Module):
    """FT's translator of the student, and its paraphraser, an autoencoder of the teacher's map.

    The paper trains the paraphraser first; here both are trained side by side, and the factor that
    the student is to match carries no gradient.

    Kim et al., "Paraphrasing Complex Network" (2018), sections 3.1 and 3.2; the factor has half the
    teacher's channels.
    """

    def __init__(self, student: torch.Size, target: torch.Size):
        super().__init__()
        inputs, outputs = _channels("Factors", student, target)
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

    Heo et al., "A Comprehensive Overhaul of Feature Distillation" (2019), sections 3.2 and 3.4.
    """

    margin: Tensor
    batches: Tensor

    def __init__(self, student: torch.Size, target: torch.Size, margin: Tensor | None = None):
        super().__init__()
        self.connector = connector(student, target)
        self.known = margin is not None
        self.register_buffer("margin", torch.zeros(target[0]) if margin is None else margin.clone())
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
        if not self.known:
            self.batches.add_(1)
            self.margin.add_((losses.mean_negative(teacher) - self.margin) / self.batches)
        margin = self.margin.clone()
        return {"student": self.connector(student), "teacher": teacher, "margin": margin}


class Flows(nn.Module):
    """FSP's two maps of the student, brought by 1x1 convolutions to the channels of the teacher's.

    Yim et al., "A Gift from Knowledge Distillation" (2017) chooses networks of equal channels.
    """

    def __init__(self, student: tuple[torch.Size, ...], target: tuple[torch.Size, ...]):
        super().__init__()
        self.first, self.last = (pointwise(s, t) for s, t in zip(student, target, strict=True))

    def forward(
        self, first: Tensor, last: Tensor, teacher_first: Tensor, teacher_last: Tensor
    ) -> Arguments:
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
        pairs = [_channels("Fusion", s, t) for s, t in zip(student, target, strict=True)]
        self.enter = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))
            for inputs, _ in pairs
        )
        self.attention = nn.ModuleList(nn.Conv2d(2 * width, 2, 1) for _ in pairs[:-1])
        self.leave = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out))
            for _, out in pairs
        )

    def forward(self, *maps: Tensor) -> Arguments:
        levels = len(self.enter)
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


class Embeddings(nn.Module):
    """A linear embedding of either side, both trained, for contrastive losses."""

    def __init__(self, student: torch.Size, target: torch.Size, width: int = 128):
        super().__init__()
        self.student = nn.Linear(student.numel(), width)
        self.teacher = nn.Linear(target.numel(), width)

    def forward(self, student: Tensor, teacher: Tensor) -> Arguments:
        return {
            "student": self.student(student.flatten(1)),
            "teacher": self.teacher(teacher.flatten(1)),
        }


class Memory(nn.Module):
    """CRD's embeddings and its memory banks of both sides, one row for each of the `examples`.

    Takes the teacher's output, the examples' numbers (`index`) and the loss's temperature.
    `negatives` rows an example, from 1 to `examples`, are drawn at random, by a key among the
    buffers; the rows of the batch move half-way to its embeddings. The normalising constants are
    those of the first batch's negatives; published code counts the positive in, one of 16,385.

    Tian et al., "Contrastive Representation Distillation" (2020), section 3.1.
    """

    student_bank: Tensor
    teacher_bank: Tensor
    scales: Tensor
    key: Tensor
    count: Tensor

    def __init__(
        self,
        student: torch.Size,
        target: tuple[torch.Size, ...],
        *,
        examples: int,
        negatives: int,
        width: int = 128,
    ):
        super().__init__()
        _check.between("Memory", 1, examples, negatives=negatives)
        self.embeddings = Embeddings(student, target[0], width)
        self.examples, self.negatives = examples, negatives
        for side in ("student_bank", "teacher_bank"):
            self.register_buffer(side, F.normalize(torch.randn(examples, width), dim=1))
        self.register_buffer("scales", torch.zeros(2))
        self.register_buffer("key", torch.randint(2**31, ()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(
        self, student: Tensor, teacher: Tensor, index: Tensor, temperature: Tensor
    ) -> Arguments:
        embeddings = self.embeddings(student, teacher)
        # the banks are buffers, which stay in float32 whatever the model computes in
        both = {name: value.to(self.student_bank.dtype) for name, value in embeddings.items()}
        bits = _random.bits(_random.fold(self.key, self.count), (student.shape[0], self.negatives))
        rows = bits % self.examples
        arguments = both | {
            "student_negatives": self.student_bank[rows],
            "teacher_negatives": self.teacher_bank[rows],
        }
        # each side's rows against what the other side's bank holds, as `losses.crd` has them
        constants = torch.stack(
            [
                self._constant(both["student"], arguments["teacher_negatives"], temperature),
                self._constant(both["teacher"], arguments["student_negatives"], temperature),
            ]
        )
        scales = torch.where(self.count == 0, constants, self.scales).detach()
        for side in ("student", "teacher"):
            bank = getattr(self, f"{side}_bank")
            row = F.normalize(both[side].detach(), dim=1)
            bank[index] = F.normalize((bank[index] + row) / 2, dim=1)
        self.count.add_(1)
        self.scales.copy_(scales)
        share = torch.full((), self.negatives / self.examples, device=scales.device)
        return arguments | {"student_scale": scales[0], "teacher_scale": scales[1], "share": share}

    def _constant(self, anchors: Tensor, others: Tensor, temperature: Tensor) -> Tensor:
        cosines = (F.normalize(anchors, dim=1).unsqueeze(1) * others).sum(2)
        return self.examples * (cosines / temperature).exp().mean()
