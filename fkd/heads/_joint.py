"""Joint heads, named as nouns of their papers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fkd import losses
from fkd.heads._regressors import connector, pointwise
from fkd.heads._shapes import Arguments, channels


class Variational(nn.Module):
    """VID's mean, three 1x1 convolutions, and its variance, one number a channel.

    v = softplus(a) + 1e-5, with a such that v starts at 5. Both are trained.

    Ahn et al., "Variational Information Distillation" (2019), section 2.1.
    """

    def __init__(self, student: torch.Size, target: torch.Size):
        super().__init__()
        inputs, outputs = channels("Variational", student, target)
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
        inputs, outputs = channels("Factors", student, target)
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
        pairs = [channels("Fusion", s, t) for s, t in zip(student, target, strict=True)]
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
