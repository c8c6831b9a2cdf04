"""Methods that tell an example's own embedding from those of others."""

from functools import partial

import torch
from torch import nn

from fkd import _check, heads, losses
from fkd.methods._asked import check_temperature, check_weights, layer_names
from fkd.methods._term import Method, Term, labels

__all__ = ["crd", "info_nce"]


def info_nce(
    weight: float = 0.8,
    ce: float = 1.0,
    layer: str = "hidden",
    teacher_layer: str | None = None,
) -> Method:
    """The in-batch form of contrastive distillation, both embeddings trained; CRD's weight.

    van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018).
    """
    check_weights("info-nce", weight=weight)
    term = Term(
        losses.info_nce,
        *layer_names("info-nce", layer, teacher_layer),
        weight,
        {"temperature": 0.1},
        head=heads.Embeddings,
        joint=True,
    )
    return {"info-nce": term} | labels("info-nce", ce)


def crd(
    weight: float = 0.8,
    negatives: int = 256,
    temperature: float = 0.07,
    ce: float = 1.0,
    layer: str = "hidden",
    teacher_layer: str | None = None,
) -> Method:
    """Contrastive distillation with memory banks for as many examples as the context has.

    The authors draw 16,384 negatives, for which a CPU has no time; ours are 256 by default, and
    never more than there are examples. The weight is theirs for CIFAR-100.

    Tian et al., "Contrastive Representation Distillation" (2020).
    """
    check_weights("crd", weight=weight)
    check_temperature("crd", temperature=temperature)
    _check.whole("crd", 1, negatives=negatives)
    student, target = layer_names("crd", layer, teacher_layer)
    term = Term(
        losses.crd,
        student,
        (target, "index"),
        weight,
        {"temperature": temperature},
        head=partial(_memory, negatives=negatives),
        joint=True,
        head_hyper=("temperature",),
        needs=("examples",),
    )
    return {"crd": term} | labels("crd", ce)


def _memory(
    student: torch.Size, target: tuple[torch.Size, ...], *, negatives: int, examples: int
) -> nn.Module:
    count = min(negatives, examples)
    return heads.Memory(student, target, examples=examples, negatives=count)
