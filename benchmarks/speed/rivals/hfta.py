"""The tutorial's KD of LightNNs fused by hand into one module, the teacher's logits looked up.

As Wang et al., "Horizontally Fused Training Array" (2021), section 3, fuses training jobs: the
students' convolutions are one grouped convolution, their linear maps one batched product, and one
optimizer moves all. Written here, for that package is of an older torch.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.speed.rivals import HARD, LEARNING_RATE, SOFT, TEMPERATURE, endless
from benchmarks.speed.rivals.batches import ResidentLoader
from benchmarks.speed.rivals.tutorial import wait
from benchmarks.speed.timed import Run
from fkd import _check
from fkd.models import LightNN


class Fused(nn.Module):
    """Several LightNNs as one module, with their parameters stacked under their own names."""

    def __init__(self, students: Sequence[LightNN]):
        super().__init__()
        states = [student.state_dict() for student in students]
        self.members = len(states)
        self.stacked = nn.ParameterDict(
            {
                name.replace(".", "_"): nn.Parameter(torch.stack([state[name] for state in states]))
                for name in states[0]
            }
        )
        (dropout,) = (layer for layer in students[0].classifier if isinstance(layer, nn.Dropout))
        self.dropout = dropout.p

    def forward(self, x: Tensor) -> Tensor:
        """Logits [members, batch, classes] of a batch that all share."""
        x = x.repeat(1, self.members, 1, 1)  # side by side, as a grouped convolution takes them
        for layer in ("features_0", "features_3"):
            weight, bias = self._of(layer)
            x = F.conv2d(x, weight.flatten(0, 1), bias.flatten(), padding=1, groups=self.members)
            x = F.max_pool2d(F.relu(x), 2)
        x = x.unflatten(1, (self.members, -1)).flatten(2).transpose(0, 1)
        x = F.dropout(F.relu(self._linear("classifier_0", x)), self.dropout, self.training)
        return self._linear("classifier_3", x)

    def _linear(self, layer: str, x: Tensor) -> Tensor:
        weight, bias = self._of(layer)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    def _of(self, layer: str) -> tuple[Tensor, Tensor]:
        return self.stacked[f"{layer}_weight"], self.stacked[f"{layer}_bias"]


def loop(
    images: Tensor,
    labels: Tensor,
    *,
    teacher_logits: Tensor,
    seeds: Sequence[int],
    device: torch.device | str,
    batch_size: int = 128,
    precision: str = "fp32",
    module: Fused | None = None,
    seed: int = 0,
    lr: float = LEARNING_RATE,
) -> Run:
    """One student a seed, on images that are on the device. `precision` is "fp32", or "bf16" by
    autocast; `module` is given or made of the seeds' students; `seed` is that of the order."""
    _check.known("hfta.loop", "precision", precision, ("fp32", "bf16"))
    device = torch.device(device)
    casting: Any = nullcontext
    if precision == "bf16":
        casting = partial(torch.autocast, device.type, torch.bfloat16)
    module = module or Fused([_student(number, teacher_logits) for number in seeds])
    module = module.to(device).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    teacher_logits = teacher_logits.to(device)
    loader = ResidentLoader(images.to(device), labels.to(device), batch_size, seed)
    batches = endless(loader)

    def run(steps: int) -> None:
        for _ in range(steps):
            inputs, labels, numbers = next(batches)
            optimizer.zero_grad()
            with casting():
                loss = total(module(inputs), teacher_logits[numbers], labels)
            loss.backward()
            optimizer.step()
        wait(device)

    return run


def total(logits: Tensor, target: Tensor, labels: Tensor) -> Tensor:
    """The tutorial's loss, summed over the students: each one's gradient is its own."""
    members, rows = len(logits), logits.flatten(0, 1) / TEMPERATURE
    probabilities = F.softmax(target / TEMPERATURE, dim=-1).repeat(members, 1)
    soft = F.cross_entropy(rows, probabilities) * TEMPERATURE**2
    hard = F.cross_entropy(logits.flatten(0, 1), labels.repeat(members))
    return members * (SOFT * soft + HARD * hard)


def _student(seed: int, teacher_logits: Tensor) -> LightNN:
    torch.manual_seed(seed)
    return LightNN(teacher_logits.shape[1])
