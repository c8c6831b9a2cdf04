"""torchdistill's loop."""

import copy
import importlib
import time
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import RandomSampler

from benchmarks.speed.rivals import HARD, LEARNING_RATE, SOFT, TEMPERATURE
from benchmarks.speed.rivals.batches import Pictures, ResidentLoader
from benchmarks.speed.rivals.tutorial import classes, wait
from benchmarks.speed.timed import Run
from fkd.models import DeepNN, LightNN


def loop(
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
    lr: float = LEARNING_RATE,
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
        "optimizer": {"key": "Adam", "kwargs": {"lr": lr}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": kd}}},
    }
    box = box_of(
        _logits_only(copy.deepcopy(teacher)).to(device).eval(),
        _logits_only(student or LightNN(classes(teacher))).to(device),
        {"train": Pictures(images, labels)},
        config,
        device,
        None,
        False,
        1,
    )
    if resident:
        box.train_data_loader = ResidentLoader(
            images.to(device), labels.to(device), batch_size, seed
        )

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

    epochs = training()

    def run(steps: int) -> None:
        for _ in range(steps):
            next(epochs)
        wait(device)

    return run


def _logits_only(model: DeepNN | LightNN) -> nn.Sequential:
    """The tutorial's first forward pass: features, flattened, to logits."""
    layers = {"features": model.features, "flat": nn.Flatten(), "classifier": model.classifier}
    return nn.Sequential(OrderedDict(layers))
