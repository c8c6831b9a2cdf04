"""The training loop of PyTorch's knowledge distillation tutorial."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.speed.rivals import HARD, LEARNING_RATE, METHODS, SOFT, TEMPERATURE, endless
from benchmarks.speed.rivals.batches import Pictures, ResidentLoader, normalizer
from benchmarks.speed.timed import Run
from fkd import _check
from fkd.models import DeepNN, LightNN


class Matched(nn.Module):
    """A model of the tutorial: its layers in their order, and beside the logits what is matched.

    `match` takes the last feature map. The names of `features` and `classifier` are the model's.
    """

    def __init__(self, model: DeepNN | LightNN, match: nn.Module):
        super().__init__()
        self.features, self.classifier, self.match = model.features, model.classifier, match

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        feature_map = self.features(x)
        return self.classifier(feature_map.flatten(1)), self.match(feature_map)


def student_of(method: str, model: LightNN) -> Matched:
    """The student that a method trains: a LightNN, and in `match` hint's regressor."""
    if method == "hint":
        return Matched(model, nn.Conv2d(16, 32, kernel_size=3, padding=1))
    return Matched(model, nn.Flatten() if method == "cosine" else nn.Identity())


def teacher_of(method: str, model: DeepNN) -> Matched:
    """A DeepNN whose hidden layer is pooled to the student's width for cosine."""
    pooled = nn.Sequential(nn.Flatten(), nn.AvgPool1d(2))
    return Matched(model, pooled if method == "cosine" else nn.Identity())


def loss_of(method: str) -> Callable[..., Tensor]:
    """The tutorial's loss, `loss(logits, hidden, target, labels)`."""
    cross_entropy, cosine, squares = nn.CrossEntropyLoss(), nn.CosineEmbeddingLoss(), nn.MSELoss()

    def loss(logits: Tensor, hidden: Tensor, target: Tensor | None, labels: Tensor) -> Tensor:
        hard = cross_entropy(logits, labels)
        if target is None:
            return hard
        if method == "kd":
            probabilities = F.softmax(target / TEMPERATURE, dim=-1)
            likelihood = probabilities * F.log_softmax(logits / TEMPERATURE, dim=-1)
            soft = -likelihood.sum() / len(logits) * TEMPERATURE**2
        elif method == "cosine":
            soft = cosine(hidden, target, torch.ones(len(logits)).to(logits.device))
        else:
            soft = squares(hidden, target)
        return SOFT * soft + HARD * hard

    return loss


def loop(
    method: str,
    images: Tensor,
    labels: Tensor,
    *,
    teacher: DeepNN,
    device: torch.device | str,
    batch_size: int = 128,
    resident: bool,
    cached: bool,
    precision: str = "fp32",
    student: Matched | None = None,
    workers: int = 2,
    seed: int = 0,
    lr: float = LEARNING_RATE,
) -> Run:
    """The training loop of PyTorch's knowledge distillation tutorial, for one of METHODS.

    As it stands (`resident=False, cached=False`) a DataLoader with two workers decodes PIL images,
    and the teacher runs on each batch. `resident` keeps the images on the device; `cached` looks
    the teacher's outputs up. `precision` is "fp32", or "bf16" by autocast. `student` is made by
    `student_of`; `seed` is that of the resident order.
    """
    _check.known("tutorial.loop", "method", method, METHODS)
    _check.known("tutorial.loop", "precision", precision, ("fp32", "bf16"))
    device = torch.device(device)
    casting = nullcontext
    if precision == "bf16":
        casting = partial(torch.autocast, device.type, torch.bfloat16)
    student = (student or student_of(method, LightNN(classes(teacher)))).to(device).train()
    guide = teacher_of(method, copy.deepcopy(teacher)).to(device).eval()
    optimizer = torch.optim.Adam(student.parameters(), lr=lr)
    loss_function = loss_of(method)

    @torch.no_grad()
    def ask(inputs: Tensor) -> Tensor:
        logits, hidden = guide(inputs)
        return logits if method == "kd" else hidden

    table = None
    if cached and method != "ce":
        normalize = normalizer(device)
        with casting():
            parts = [ask(normalize(x.to(device))) for x in images.split(batch_size)]
            table = torch.cat(parts)
    if resident:
        loader = ResidentLoader(images.to(device), labels.to(device), batch_size, seed)
    else:
        pictures = Pictures(images, labels, numbered=table is not None)
        loader = DataLoader(pictures, batch_size=batch_size, shuffle=True, num_workers=workers)
    batches = endless(loader)

    def run(steps: int) -> None:
        running_loss = 0.0
        for _ in range(steps):
            inputs, labels, *numbers = next(batches)
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            with casting():
                target = None
                if table is not None:
                    target = table[numbers[0].to(device)]
                elif method != "ce":
                    target = ask(inputs)
                logits, hidden = student(inputs)
                loss = loss_function(logits, hidden, target, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        wait(device)

    return run


def classes(model: DeepNN) -> int:
    """How many classes a model of the tutorial knows."""
    return model.state_dict()["classifier.3.bias"].numel()


def wait(device: torch.device) -> None:
    """A GPU runs behind Python."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
