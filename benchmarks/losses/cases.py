"""What each loss is measured on."""

from collections.abc import Callable

import torch
from torch import Tensor

from fkd import losses

BATCH, CLASSES, MAP = 128, 100, (64, 8, 8)


def inputs(name: str, device: torch.device) -> tuple[Tensor, ...]:
    """What a loss takes, by name: the student first, then the rest."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    labels = torch.randint(CLASSES, (BATCH,), generator=generator).to(device)
    logits = normal(BATCH, CLASSES), normal(BATCH, CLASSES)
    maps = normal(BATCH, *MAP), normal(BATCH, *MAP)
    if name in ("cross_entropy", "tf_kd"):
        return logits[0], labels
    if name in ("dkd", "nkd", "ofa", "rld", "wsld"):
        return *logits, labels
    if name == "sdd":
        return *maps, torch.randint(MAP[0], (BATCH,), generator=generator).to(device)
    if name == "wkd_l":
        return *logits, labels, torch.rand(CLASSES, CLASSES, generator=generator).to(device)
    if name == "vid":
        return *maps, normal(MAP[0]).exp()
    if name == "ofd":
        return *maps, -normal(MAP[0]).abs()
    if name in ("fsp", "kdsvd"):
        return *maps, normal(BATCH, *MAP), normal(BATCH, *MAP)
    if name == "crd":
        positives = normal(BATCH, 128), normal(BATCH, 128)
        return *positives, normal(BATCH, 256, 128), normal(BATCH, 256, 128)
    home = getattr(losses, name).__module__
    if home.endswith(("_response", "_divergence", "_transformed", "_decoupled", "_correlation")):
        return logits
    if home.endswith(("_relation", "_contrastive")):
        return maps[0].flatten(1), maps[1].flatten(1)
    return maps


def published(name: str) -> Callable[..., Tensor]:
    """The published loss: the mean over what our function returns."""
    loss = getattr(losses, name)
    return lambda *tensors: loss(*tensors).mean()
