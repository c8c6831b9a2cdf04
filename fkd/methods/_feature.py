"""Methods that match a layer element by element: logits, hidden vectors, feature maps."""

from functools import partial

from torch import Tensor, nn

from fkd import heads, losses
from fkd.methods._term import Context, Method, Term, labels, one_layer
from fkd.models import ReusedClassifier

__all__ = ["ab", "cosine", "ft", "hint", "logits", "ofd", "simkd", "vid"]


def logits(weight: float = 0.1, ce: float = 1.0) -> Method:
    """Squared error of the logits beside the labels, at Knowledge-Distillation-Zoo's weight for
    CIFAR-10; the paper takes no labels.

    Ba and Caruana, "Do Deep Nets Really Need to be Deep?" (2014).
    """
    return {"logits": Term(losses.squared_error, weight=weight)} | labels(ce)


def cosine(
    weight: float = 0.25, ce: float = 0.75, layer: str = "hidden", teacher_layer: str | None = None
) -> Method:
    """The cosine between the hidden layers, which must be of one width, beside the labels.

    PyTorch's knowledge distillation tutorial, with its weights.

    >>> cosine()["cosine"].target
    'hidden'
    """
    return one_layer("cosine", losses.cosine_distance, weight, ce, layer, teacher_layer)


def hint(
    weight: float = 0.25,
    ce: float = 0.75,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Squared error of feature maps through a trainable convolution, beside the labels.

    Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), as in PyTorch's tutorial: one stage
    instead of two, a 3x3 convolution as the regressor, and the tutorial's weights.
    """
    head = heads.convolution_regressor
    return one_layer("hint", losses.squared_error, weight, ce, layer, teacher_layer, head)


def ab(
    weight: float = 0.003,
    ce: float = 1.0,
    layer: str = "pre_activation",
    teacher_layer: str | None = None,
) -> Method:
    """Activation boundaries, in one stage instead of two; RepDistiller's weight.

    Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries" (2019).
    """
    return one_layer(
        "ab", losses.activation_boundary, weight, ce, layer, teacher_layer, heads.connector
    )


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
    term = Term(_factors, layer, teacher_layer or layer, weight, head=heads.Factors, joint=True)
    return {"ft": term} | labels(ce)


def vid(
    weight: float = 1.0,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """A variational bound of the mutual information, its mean and variance trained.

    Ahn et al., "Variational Information Distillation for Knowledge Transfer" (2019).
    """
    term = Term(
        losses.vid, layer, teacher_layer or layer, weight, head=heads.Variational, joint=True
    )
    return {"vid": term} | labels(ce)


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
    head = partial(heads.Margin, margin=margin)
    term = Term(losses.ofd, layer, teacher_layer or layer, weight, head=head, joint=True)
    return {"ofd": term} | labels(ce)


def simkd(
    weight: float = 1.0, layer: str = "feature_map", teacher_layer: str | None = None
) -> Method:
    """Squared error of a projected map alone; the student ends in its teacher's classifier.

    Chen et al., "Knowledge Distillation with the Reused Teacher Classifier" (2022).
    """
    target = teacher_layer or layer
    wrap = partial(_reuse_classifier, layer=layer, teacher_layer=target)
    return {"simkd": Term(losses.squared_error, "projected", target, weight, wrap=wrap)}


def _reuse_classifier(
    student: nn.Module, context: Context, *, layer: str, teacher_layer: str
) -> nn.Module:
    here, there = context.outputs[layer], context.targets[teacher_layer]
    classifier = heads.classifier_of(context.need("teacher"), there)
    dtype = next(student.parameters()).dtype
    projector = heads.projector(here, there).to(dtype)
    return ReusedClassifier(student, projector, classifier.to(dtype), layer)


def _factors(student: Tensor, teacher: Tensor, map: Tensor, rebuilt: Tensor) -> Tensor:
    return losses.factor_transfer(student, teacher) + losses.squared_error(rebuilt, map)
