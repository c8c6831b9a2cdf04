"""The other sides of the speed comparison in torch: the tutorial's loop, and torchdistill's.

    pip install -e ".[rivals]"

Each side sets up its models, data and optimizer and returns `run(steps)`, which trains that many
further steps and returns when the device is done: warm up with `run(2)`, then time the sides in
turn. Images are uint8 [examples, 3, 32, 32], labels int64 [examples]; a student that is given is
trained in place. The teacher is copied.
"""

import copy
import importlib
import importlib.util
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from fkd import _check
from fkd.data import MEAN, STD
from fkd.models import DeepNN, LightNN

Run = Callable[[int], None]
METHODS = ("ce", "kd", "cosine", "hint")
PACKAGES = {"tutorial": (), "torchdistill": ("torchdistill",), "jax": ("jax", "optax")}
LEARNING_RATE, TEMPERATURE, SOFT, HARD = 1e-3, 2.0, 0.25, 0.75  # the tutorial's


def missing(name: str) -> str | None:
    """What to install for a side, one of PACKAGES, or None where it can run."""
    _check.known("missing", "side", name, PACKAGES)
    absent = [p for p in PACKAGES[name] if importlib.util.find_spec(p) is None]
    if not absent:
        return None
    return f'{name} needs {" and ".join(absent)}, not installed here: pip install "fkd[rivals]"'


class Pictures(Dataset):
    """Images as torchvision's CIFAR10 keeps and gives them: bytes, through PIL, transformed.

    An item is the image and its label, and with `numbered` the example's number as well.
    """

    def __init__(self, images: Tensor, labels: Tensor, *, numbered: bool = False):
        self.images = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        self.labels = labels.tolist()
        self.numbered = numbered
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        image = self.transform(Image.fromarray(self.images[number]))
        label = self.labels[number]
        return (image, label, number) if self.numbered else (image, label)


def normalizer(device: torch.device) -> Callable[[Tensor], Tensor]:
    """What ToTensor and Normalize do, for uint8 images [batch, 3, height, width] on the device."""
    mean, deviation = (torch.tensor(v, device=device).reshape(3, 1, 1) for v in (MEAN, STD))
    return lambda images: (images / 255 - mean) / deviation


class Resident:
    """A loader of images that are on the device: (inputs, labels, the examples' numbers)."""

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int, seed: int):
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.generator = torch.Generator(images.device).manual_seed(seed)
        self.normalize = normalizer(images.device)

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        device = self.images.device
        shuffled = torch.randperm(len(self.images), generator=self.generator, device=device)
        for index in shuffled.split(self.batch_size):
            yield self.normalize(self.images[index]), self.labels[index], index


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


def tutorial_student(method: str, model: LightNN) -> Matched:
    """The student that a method trains: a LightNN, and in `match` hint's regressor."""
    if method == "hint":
        return Matched(model, nn.Conv2d(16, 32, kernel_size=3, padding=1))
    return Matched(model, nn.Flatten() if method == "cosine" else nn.Identity())


def tutorial_teacher(method: str, model: DeepNN) -> Matched:
    """A DeepNN whose hidden layer is pooled to the student's width for cosine."""
    pooled = nn.Sequential(nn.Flatten(), nn.AvgPool1d(2))
    return Matched(model, pooled if method == "cosine" else nn.Identity())


def tutorial_loss(method: str) -> Callable[..., Tensor]:
    """The tutorial's loss, `loss(logits, hidden, target, labels)`."""
    cross_entropy, cosine, squares = nn.CrossEntropyLoss(), nn.CosineEmbeddingLoss(), nn.MSELoss()

    def loss(logits: Tensor, hidden: Tensor, target: Tensor | None, labels: Tensor) -> Tensor:
        hard = cross_entropy(logits, labels)
        if target is None:
            return hard
        if method == "kd":
            wanted = F.softmax(target / TEMPERATURE, dim=-1)
            likelihood = wanted * F.log_softmax(logits / TEMPERATURE, dim=-1)
            soft = -likelihood.sum() / len(logits) * TEMPERATURE**2
        elif method == "cosine":
            soft = cosine(hidden, target, torch.ones(len(logits)).to(logits.device))
        else:
            soft = squares(hidden, target)
        return SOFT * soft + HARD * hard

    return loss


def tutorial(
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
) -> Run:
    """The training loop of PyTorch's knowledge distillation tutorial, for one of METHODS.

    As it stands (`resident=False, cached=False`) a DataLoader with two workers decodes PIL images,
    and the teacher runs on each batch. `resident` keeps the images on the device; `cached` looks
    the teacher's outputs up. `precision` is "fp32", or "bf16" by autocast. `student` is made by
    `tutorial_student`; `seed` is that of the resident order.
    """
    _check.known("tutorial", "method", method, METHODS)
    _check.known("tutorial", "precision", precision, ("fp32", "bf16"))
    device = torch.device(device)
    casting = nullcontext
    if precision == "bf16":
        casting = partial(torch.autocast, device.type, torch.bfloat16)
    student = (student or tutorial_student(method, LightNN(_classes(teacher)))).to(device).train()
    guide = tutorial_teacher(method, copy.deepcopy(teacher)).to(device).eval()
    optimizer = torch.optim.Adam(student.parameters(), lr=LEARNING_RATE)
    loss_of = tutorial_loss(method)

    @torch.no_grad()
    def taught(inputs: Tensor) -> Tensor:
        logits, hidden = guide(inputs)
        return logits if method == "kd" else hidden

    known = None
    if cached and method != "ce":
        normalize = normalizer(device)
        with casting():
            parts = [taught(normalize(x.to(device))) for x in images.split(batch_size)]
            known = torch.cat(parts)
    if resident:
        loader = Resident(images.to(device), labels.to(device), batch_size, seed)
    else:
        pictures = Pictures(images, labels, numbered=known is not None)
        loader = DataLoader(pictures, batch_size=batch_size, shuffle=True, num_workers=workers)
    batches = _endless(loader)

    def run(steps: int) -> None:
        running_loss = 0.0
        for _ in range(steps):
            inputs, labels, *numbers = next(batches)
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            with casting():
                target = None
                if known is not None:
                    target = known[numbers[0].to(device)]
                elif method != "ce":
                    target = taught(inputs)
                logits, hidden = student(inputs)
                loss = loss_of(logits, hidden, target, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        _wait(device)

    return run


def torchdistill_kd(
    images: Tensor,
    labels: Tensor,
    *,
    teacher: DeepNN,
    device: torch.device | str,
    batch_size: int = 128,
    resident: bool = False,
    student: LightNN | None = None,
    workers: int = 2,
    seed: int = 0,
) -> Run:
    """torchdistill's distillation box with its KD loss, in the loop of its image classification.

    The models return logits, as in its configurations for KD; the DataParallel that these put
    around both is left out, for one device needs none. `resident` gives the box a loader of batches
    that are already on the device.
    """
    box_of: Any = importlib.import_module("torchdistill.core.distillation").get_distillation_box
    log: Any = importlib.import_module("torchdistill.misc.log")
    device = torch.device(device)
    loader = {
        "dataset_id": "train",
        "requires_supp": False,
        "sampler": {"class_or_func": RandomSampler},
        "kwargs": {"batch_size": batch_size, "num_workers": workers},
    }
    path = {
        f"{side}_module_{key}": value
        for side in ("student", "teacher")
        for key, value in (("path", "."), ("io", "output"))
    }
    numbers = {"temperature": TEMPERATURE, "alpha": HARD, "beta": SOFT, "reduction": "batchmean"}
    kd = {"criterion": {"key": "KDLoss", "kwargs": path | numbers}, "weight": 1.0}
    config = {
        "num_epochs": 1,
        "train_data_loader": loader,
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "Adam", "kwargs": {"lr": LEARNING_RATE}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": kd}}},
    }
    box = box_of(
        _logits_only(copy.deepcopy(teacher)).to(device).eval(),
        _logits_only(student or LightNN(_classes(teacher))).to(device),
        {"train": Pictures(images, labels)},
        *(config, device, None, False, 1),
    )
    if resident:
        box.train_data_loader = Resident(images.to(device), labels.to(device), batch_size, seed)

    def training() -> Iterator[None]:
        for epoch in count():
            box.pre_epoch_process(epoch=epoch)
            meters = log.MetricLogger(delimiter="  ")
            meters.add_meter("lr", log.SmoothedValue(window_size=1, fmt="{value}"))
            meters.add_meter("img/s", log.SmoothedValue(window_size=10, fmt="{value}"))
            for inputs, targets, *_ in meters.log_every(box.train_data_loader, 100, f"{epoch}"):
                begin = time.time()
                inputs, targets = inputs.to(device), targets.to(device)
                loss = box.forward_process(inputs, targets)
                box.post_forward_process(loss=loss)
                meters.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
                meters.meters["img/s"].update(len(inputs) / (time.time() - begin))
                if torch.isnan(loss) or torch.isinf(loss):
                    raise FloatingPointError(f"torchdistill: the loss became {loss.item()}")
                yield
            box.post_epoch_process()

    steps_on = training()

    def run(steps: int) -> None:
        for _ in range(steps):
            next(steps_on)
        _wait(device)

    return run


def _classes(model: DeepNN) -> int:
    return model.state_dict()["classifier.3.bias"].numel()


def _logits_only(model: DeepNN | LightNN) -> nn.Sequential:
    """The tutorial's first forward pass: features, flattened, to logits."""
    layers = {"features": model.features, "flat": nn.Flatten(), "classifier": model.classifier}
    return nn.Sequential(OrderedDict(layers))


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
