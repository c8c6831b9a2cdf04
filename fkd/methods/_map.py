"""Methods that match a summary of feature maps: attention, flow, selectivity, channels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fkd import heads, losses
from fkd.heads import align
from fkd.methods._asked import (
    check_temperature,
    check_weights,
    layer_names,
    several_layers,
    two_layers,
)
from fkd.methods._term import Method, Term, labels, one_layer, warmup_over

__all__ = ["at", "cwd", "fsp", "ickd", "nst", "pkd", "review"]


def at(
    weight: float = 1000.0,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Attention transfer, in the authors' form, to which the weight belongs.

    The larger attention map is average-pooled to the smaller; channels may differ.

    Zagoruyko and Komodakis, "Paying More Attention to Attention" (2017).
    """
    return one_layer(
        "at",
        losses.attention_transfer_squared,
        weight,
        ce,
        layer,
        teacher_layer,
        align=align.grids,
    )


def fsp(
    weight: float = 0.025,
    ce: float = 1.0,
    layers: Sequence[str] = ("early_map", "feature_map"),
    teacher_layers: Sequence[str] | None = None,
) -> Method:
    """Flow between two layers, in one stage instead of two.

    The two sides may differ in size, for the flow does not.

    The weight is RepDistiller's, 50 of the mean over a matrix, for one of 64x32.

    Yim et al., "A Gift from Knowledge Distillation" (2017).
    """
    students, teachers = two_layers("fsp", layers, teacher_layers)
    check_weights("fsp", weight=weight)
    term = Term(
        losses.fsp,
        students,
        teachers,
        weight,
        head=heads.Flows,
        joint=True,
        align=align.grids,
    )
    return {"fsp": term} | labels("fsp", ce)


def nst(
    weight: float = 50.0,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Neuron selectivity by a polynomial kernel, at the authors' weight for ImageNet.

    The larger map is average-pooled to the smaller; channels may differ.

    Huang and Wang, "Like What You Like" (2017).
    """
    return one_layer("nst", losses.nst, weight, ce, layer, teacher_layer, align=align.grids)


def review(
    weight: float = 5.0,
    ce: float = 1.0,
    warmup: int = 20,
    layers: Sequence[str] = ("early_map", "feature_map"),
    teacher_layers: Sequence[str] | None = None,
) -> Method:
    """Knowledge review: levels from shallow to deep, fused before they are compared.

    At each level the larger map is average-pooled to the smaller beforehand. The weight rises over
    the first `warmup` epochs, as in the authors' code.

    Chen et al., "Distilling Knowledge via Knowledge Review" (2021).
    """
    students, teachers = several_layers("review", layers, teacher_layers)
    check_weights("review", weight=weight)
    term = Term(
        _levels,
        students,
        teachers,
        weight,
        head=heads.Fusion,
        joint=True,
        align=align.maps,
        schedules=warmup_over("review", warmup),
    )
    return {"review": term} | labels("review", ce)


def cwd(
    weight: float = 1.0,
    temperature: float = 4.0,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Channel-wise distributions at the authors' temperature; our weight, for none is published for
    classification: theirs is 3 on the logits of segmentation, mmrazor's 10 at T = 1 for detection.

    Maps of as many channels are compared as they are, others through a trainable 1x1 convolution.

    Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction" (2021).
    """
    check_weights("cwd", weight=weight)
    check_temperature("cwd", temperature=temperature)
    term = Term(
        losses.channel_wise_divergence,
        *layer_names("cwd", layer, teacher_layer),
        weight,
        {"temperature": temperature},
        heads.pointwise_where_needed,
        align=align.maps,
    )
    return {"cwd": term} | labels("cwd", ce)


def pkd(
    weight: float = 1.0,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Standardised maps; our weight, for the authors', 6 or 10 a level, belong to detection.

    Maps of as many channels are compared as they are, others through a trainable 1x1 convolution.

    Cao et al., "PKD: General Distillation Framework for Object Detectors" (2022).
    """
    head, form = heads.pointwise_where_needed, align.positions
    return one_layer("pkd", losses.pkd, weight, ce, layer, teacher_layer, head, form)


def ickd(
    weight: float = 2.5,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Correlations between channels, at the authors' weight for CIFAR-100 without their KL.

    The two sides may differ in size, for the correlations do not.

    Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved KD" (2021).
    """
    return one_layer(
        "ickd",
        losses.inter_channel_correlation,
        weight,
        ce,
        layer,
        teacher_layer,
        heads.connector,
        align.grids,
    )


def _levels(**maps: Tensor) -> Tensor:
    levels = range(len(maps) // 2)
    values = [
        losses.hierarchical_context(maps[f"student_{level}"], maps[f"teacher_{level}"])
        for level in levels
    ]
    return torch.stack(values).sum(0)
