"""Methods that match layers: hidden vectors and feature maps."""

from functools import partial

import torch
from torch import Tensor

from fkd import heads, losses
from fkd.methods._term import Method, Term, matched, supervised


def cosine(weight: float = 0.25, ce: float = 0.75, layer: str = "hidden") -> Method:
    """The cosine between the hidden layers, which must be of one width, beside the labels.

    PyTorch's knowledge distillation tutorial, with its weights.

    >>> cosine()["cosine"].target
    'hidden'
    """
    return matched("cosine", losses.cosine_distance, weight, ce, layer)


def hint(weight: float = 0.25, ce: float = 0.75, layer: str = "feature_map") -> Method:
    """Squared error of feature maps through a trainable convolution, beside the labels.

    Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), as in PyTorch's tutorial: one stage
    instead of two, a 3x3 convolution as the regressor, and the tutorial's weights.
    """
    head = heads.convolution_regressor
    return matched("hint", losses.squared_error, weight, ce, layer, head)


def at(weight: float = 1000.0, ce: float = 1.0, layer: str = "feature_map") -> Method:
    """Attention transfer, in the authors' form, to which the weight belongs.

    Zagoruyko and Komodakis, "Paying More Attention to Attention" (2017).
    """
    return matched("at", losses.attention_transfer_squared, weight, ce, layer)


def fsp(
    weight: float = 0.025, ce: float = 1.0, layers: tuple[str, str] = ("early_map", "feature_map")
) -> Method:
    """Flow between two layers, in one stage instead of two.

    The weight is RepDistiller's, 50 of the mean over a matrix, for one of 64x32.

    Yim et al., "A Gift from Knowledge Distillation" (2017).
    """
    term = Term(losses.fsp, layers, layers, weight, head=heads.Flows, joint=True)
    return {"fsp": term} | supervised(ce)


def nst(weight: float = 50.0, ce: float = 1.0, layer: str = "feature_map") -> Method:
    """Neuron selectivity by a polynomial kernel, at the authors' weight for ImageNet.

    Huang and Wang, "Like What You Like" (2017).
    """
    return matched("nst", losses.nst, weight, ce, layer)


def ab(weight: float = 0.003, ce: float = 1.0, layer: str = "pre_activation") -> Method:
    """Activation boundaries, in one stage instead of two; RepDistiller's weight.

    Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries" (2019).
    """
    return matched("ab", losses.activation_boundary, weight, ce, layer, heads.connector)


def ft(weight: float = 0.2, ce: float = 1.0, layer: str = "feature_map") -> Method:
    """Factors of a paraphraser, which is trained beside the student instead of before it.

    The weight is RepDistiller's, 200 of the mean over elements, for a factor of 1,024.

    Kim et al., "Paraphrasing Complex Network" (2018).
    """
    term = Term(_factors, layer, layer, weight, head=heads.Factors, joint=True)
    return {"ft": term} | supervised(ce)


def _factors(student: Tensor, teacher: Tensor, map: Tensor, rebuilt: Tensor) -> Tensor:
    return losses.factor_transfer(student, teacher) + losses.squared_error(rebuilt, map)


def vid(weight: float = 1.0, ce: float = 1.0, layer: str = "feature_map") -> Method:
    """A variational bound of the mutual information, its mean and variance trained.

    Ahn et al., "Variational Information Distillation for Knowledge Transfer" (2019).
    """
    term = Term(losses.vid, layer, layer, weight, head=heads.Variational, joint=True)
    return {"vid": term} | supervised(ce)


def ofd(
    weight: float = 0.001,
    ce: float = 1.0,
    layer: str = "pre_activation",
    margin: Tensor | None = None,
) -> Method:
    """Maps before the ReLU, with a margin: see `heads.Margin`.

    Heo et al., "A Comprehensive Overhaul of Feature Distillation" (2019).
    """
    head = partial(heads.Margin, margin=margin)
    return {"ofd": Term(losses.ofd, layer, layer, weight, head=head, joint=True)} | supervised(ce)


def review(
    weight: float = 5.0,
    ce: float = 1.0,
    warmup: int = 20,
    layers: tuple[str, ...] = ("early_map", "feature_map"),
) -> Method:
    """Knowledge review: levels from shallow to deep, fused before they are compared.

    Chen et al., "Distilling Knowledge via Knowledge Review" (2021).
    """
    term = Term(_levels, layers, layers, weight, {}, heads.Fusion, joint=True, warmup=warmup)
    return {"review": term} | supervised(ce)


def _levels(**maps: Tensor) -> Tensor:
    levels = range(len(maps) // 2)
    values = [
        losses.hierarchical_context(maps[f"student_{level}"], maps[f"teacher_{level}"])
        for level in levels
    ]
    return torch.stack(values).sum(0)


def cwd(
    weight: float = 1.0, temperature: float = 4.0, ce: float = 1.0, layer: str = "feature_map"
) -> Method:
    """Channel-wise distributions at the authors' temperature; our weight, for none is published for
    classification: theirs is 3 on the logits of segmentation, mmrazor's 10 at T = 1 for detection.

    Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction" (2021).
    """
    hyper = {"temperature": temperature}
    term = Term(losses.channel_wise_divergence, layer, layer, weight, hyper, heads.pointwise)
    return {"cwd": term} | supervised(ce)


def pkd(weight: float = 1.0, ce: float = 1.0, layer: str = "feature_map") -> Method:
    """Standardised maps; our weight, for the authors', 6 or 10 a level, belong to detection.

    Cao et al., "PKD: General Distillation Framework for Object Detectors" (2022).
    """
    return matched("pkd", losses.pkd, weight, ce, layer, heads.pointwise)


def ickd(weight: float = 2.5, ce: float = 1.0, layer: str = "feature_map") -> Method:
    """Correlations between channels, at the authors' weight for CIFAR-100 without their KL.

    Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved KD" (2021).
    """
    return matched("ickd", losses.inter_channel_correlation, weight, ce, layer, heads.connector)


def simkd(weight: float = 1.0) -> Method:
    """Squared error of a projected map alone, for a `models.ReusedClassifier`.

    Chen et al., "Knowledge Distillation with the Reused Teacher Classifier" (2022).
    """
    return {"simkd": Term(losses.squared_error, "projected", "feature_map", weight)}
