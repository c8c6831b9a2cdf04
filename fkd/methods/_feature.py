"""Methods that match a layer element by element: logits, hidden vectors, feature maps."""

from functools import partial

import torch
from torch import Tensor, nn

from fkd import _check, heads, losses
from fkd.heads import align
from fkd.methods._asked import check_weights, layer_names
from fkd.methods._fit import fits, others, works
from fkd.methods._term import Build, Context, Method, Term, labels, one_layer
from fkd.models import ReusedClassifier

__all__ = ["ab", "cosine", "ft", "hint", "logits", "mgd", "ofd", "simkd", "srd", "srrl", "vid"]


def logits(weight: float = 0.1, ce: float = 1.0) -> Method:
    """Squared error of the logits beside the labels, at Knowledge-Distillation-Zoo's weight for
    CIFAR-10; the paper takes no labels.

    Ba and Caruana, "Do Deep Nets Really Need to be Deep?" (2014).
    """
    check_weights("logits", weight=weight)
    return {"logits": Term(losses.squared_error, weight=weight)} | labels("logits", ce)


def cosine(
    weight: float = 0.25, ce: float = 0.75, layer: str = "hidden", teacher_layer: str | None = None
) -> Method:
    """The cosine between the hidden layers, which must be of one width, beside the labels.

    Of maps, which must have as many channels, the larger is average-pooled to the smaller.

    PyTorch's knowledge distillation tutorial, with its weights.

    >>> cosine()["cosine"].target
    'hidden'
    """
    loss, form = losses.cosine_distance, align.features
    return one_layer("cosine", loss, weight, ce, layer, teacher_layer, align=form)


def hint(
    weight: float = 0.25,
    ce: float = 0.75,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Squared error of feature maps through a trainable convolution, beside the labels.

    Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), as in PyTorch's tutorial: one stage
    instead of two, a 3x3 convolution as the regressor, and the tutorial's weights.

    Of vectors, and of as many tokens on both sides, the regressor is a linear map. Of maps of two
    sizes the larger is average-pooled to the smaller, where the paper chooses the kernel's size.
    """
    head, form = heads.convolution_regressor, align.features
    return one_layer("hint", losses.squared_error, weight, ce, layer, teacher_layer, head, form)


def mgd(
    weight: float = 7e-5,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """The teacher's map, generated from the student's with some of its channels masked.

    The weight is the authors' for classification, of the sum over an example's elements. Of two
    sizes the larger map is average-pooled to the smaller, where the authors' are of one.

    Yang et al., "Masked Generative Distillation" (2022).
    """
    check_weights("mgd", weight=weight)
    term = Term(
        _summed_error,
        *layer_names("mgd", layer, teacher_layer),
        weight,
        head=heads.generator,
        align=align.maps,
        whole=False,
    )
    return {"mgd": term} | labels("mgd", ce)


def ab(
    weight: float = 0.003,
    ce: float = 1.0,
    layer: str = "pre_activation",
    teacher_layer: str | None = None,
) -> Method:
    """Activation boundaries, in one stage instead of two; RepDistiller's weight.

    Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries" (2019).
    """
    loss, head, form = losses.activation_boundary, heads.connector, align.positions
    return one_layer("ab", loss, weight, ce, layer, teacher_layer, head, form)


def ft(
    weight: float = 0.2,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Factors of a paraphraser, which is trained beside the student instead of before it.

    The weight is RepDistiller's, 200 of the mean over elements, for a factor of 1,024.

    Kim et al., "Paraphrasing Complex Network" (2018).
    """
    check_weights("ft", weight=weight)
    term = Term(
        _factors,
        *layer_names("ft", layer, teacher_layer),
        weight,
        head=heads.Factors,
        joint=True,
        align=align.maps,
    )
    return {"ft": term} | labels("ft", ce)


def vid(
    weight: float = 1.0,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """A variational bound of the mutual information, its mean and variance trained.

    Ahn et al., "Variational Information Distillation for Knowledge Transfer" (2019).
    """
    check_weights("vid", weight=weight)
    term = Term(
        losses.vid,
        *layer_names("vid", layer, teacher_layer),
        weight,
        head=heads.Variational,
        joint=True,
        align=align.positions,
    )
    return {"vid": term} | labels("vid", ce)


def ofd(
    weight: float = 0.001,
    ce: float = 1.0,
    layer: str = "pre_activation",
    teacher_layer: str | None = None,
    margin: Tensor | None = None,
) -> Method:
    """Maps before the ReLU, with a margin: see `heads.Margin`.

    Heo et al., "A Comprehensive Overhaul of Feature Distillation" (2019).
    """
    check_weights("ofd", weight=weight)
    if margin is not None:
        _check.dimensions("ofd", "channels", margin=margin)
        _check.floating("ofd", margin=margin)
    head = partial(heads.Margin, margin=margin)
    term = Term(
        losses.ofd,
        *layer_names("ofd", layer, teacher_layer),
        weight,
        head=head,
        joint=True,
        align=align.positions,
    )
    return {"ofd": term} | labels("ofd", ce)


def simkd(
    weight: float = 1.0, layer: str = "feature_map", teacher_layer: str | None = None
) -> Method:
    """Squared error of a projected map alone; the student ends in its teacher's classifier.

    Of maps of two sizes the larger is average-pooled to the smaller beforehand, as in the authors'
    code; a classifier that flattens the teacher's map needs all of it.

    Chen et al., "Knowledge Distillation with the Reused Teacher Classifier" (2022).
    """
    check_weights("simkd", weight=weight)
    layer, target = layer_names("simkd", layer, teacher_layer)
    wrap = partial(_reuse_classifier, layer=layer, teacher_layer=target)
    term = Term(losses.squared_error, "projected", target, weight, align=align.maps, wrap=wrap)
    return {"simkd": term}


def srd(
    weight: float = 2.0,
    kl: float = 1.0,
    ce: float = 1.0,
    layer: str = "hidden",
    teacher_layer: str | None = None,
) -> Method:
    """The logarithm of how far vectors are apart, standardised and behind a linear projector, and
    KL at temperature 1, beside the labels.

    The layers must be vectors: those that a network has before its last layer.

    Miles and Mikolajczyk, "Understanding the Role of the Projector in Knowledge Distillation"
    (2024).
    """
    check_weights("srd", weight=weight, kl=kl)
    names = layer_names("srd", layer, teacher_layer)
    return {
        "srd": Term(losses.srd, *names, weight, head=heads.linear),
        "srd-kl": Term(losses.kl_divergence, weight=kl),
    } | labels("srd", ce)


def srrl(
    weight: float = 1.0,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """The features that the teacher's classifier reads, and what it makes of them, by squares.

    The weight is the authors', of both means over elements. The classifier is a frozen copy, in
    evaluation: see `heads.SoftmaxRegression`. Of maps of two sizes the larger is average-pooled to
    the smaller; a classifier that flattens the teacher's map needs all of it.

    Yang et al., "Knowledge Distillation via Softmax Regression Representation Learning" (2021).
    """
    check_weights("srrl", weight=weight)
    term = Term(
        _regressed,
        *layer_names("srrl", layer, teacher_layer),
        weight,
        head=heads.SoftmaxRegression,
        joint=True,
        align=align.maps,
        needs=("teacher",),
    )
    return {"srrl": term} | labels("srrl", ce)


def _reuse_classifier(
    build: Build, context: Context, *, layer: str, teacher_layer: str
) -> nn.Module:
    _check.known("simkd", "student's output", layer, context.need("outputs"))
    _check.known("simkd", "target", teacher_layer, context.need("targets"))
    student, teacher, pair = build(), context.need("teacher"), (layer, teacher_layer)
    try:
        projector, classifier = _projector_and_classifier(teacher, context, pair)
    except ValueError as error:
        fitting = (
            other
            for other in others(pair, context.outputs, context.targets)
            if works(partial(_projector_and_classifier, teacher, context, other))
        )
        advice = fits([pair], fitting, context.outputs, context.targets)
        raise ValueError(f"simkd: {error}{advice}") from error
    dtype = next(student.parameters()).dtype
    return ReusedClassifier(student, projector.to(dtype), classifier.to(dtype), layer)


def _projector_and_classifier(
    teacher: nn.Module, context: Context, pair: tuple[str, str]
) -> tuple[nn.Module, nn.Module]:
    here, there = context.outputs[pair[0]], context.targets[pair[1]]
    if len(there) != 3:
        raise ValueError(
            "the teacher's classifier reads a map [channels, height, width], "
            f"but the target is {tuple(there)}"
        )
    both = (torch.empty(1, *shape, device="meta") for shape in (here, there))
    inputs, outputs = (x.shape[1:] for x in align.maps(*both))
    classifier = heads.classifier_of(teacher, outputs)
    projector = heads.projector(inputs, outputs)
    if inputs != here:
        projector = nn.Sequential(heads.Aligned(there), projector)
    return projector, classifier


def _summed_error(student: Tensor, teacher: Tensor) -> Tensor:
    return losses.squared_error(student, teacher) * student[0].numel()


def _factors(student: Tensor, teacher: Tensor, map: Tensor, rebuilt: Tensor) -> Tensor:
    return losses.factor_transfer(student, teacher) + losses.squared_error(rebuilt, map)


def _regressed(
    student: Tensor, teacher: Tensor, student_logits: Tensor, teacher_logits: Tensor
) -> Tensor:
    features = losses.squared_error(student, teacher)
    return features + losses.squared_error(student_logits, teacher_logits)
