"""Methods that match relations among the examples of a batch."""

from fkd import losses
from fkd.methods._asked import check_weights, layer_names
from fkd.methods._term import Method, Term, labels, one_layer

__all__ = ["cc", "cka", "pkt", "rkd", "sp"]


def rkd(
    distance: float = 25.0,
    angle: float = 50.0,
    ce: float = 1.0,
    layer: str = "hidden",
    teacher_layer: str | None = None,
) -> Method:
    """Distances and angles among examples.

    Park et al., "Relational Knowledge Distillation" (2019).
    """
    check_weights("rkd", distance=distance, angle=angle)
    student, target = layer_names("rkd", layer, teacher_layer)
    return {
        "rkd-distance": Term(losses.rkd_distance, student, target, distance),
        "rkd-angle": Term(losses.rkd_angle, student, target, angle),
    } | labels("rkd", ce)


def sp(
    weight: float = 3000.0,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Similarities among examples.

    Tung and Mori, "Similarity-Preserving Knowledge Distillation" (2019).
    """
    return one_layer("sp", losses.similarity, weight, ce, layer, teacher_layer)


def cc(
    weight: float = 100.0, ce: float = 1.0, layer: str = "hidden", teacher_layer: str | None = None
) -> Method:
    """Correlations among examples under a Gaussian kernel.

    The weight is Knowledge-Distillation-Zoo's for CIFAR-10, of the same kernel and mean.

    Peng et al., "Correlation Congruence for Knowledge Distillation" (2019).
    """
    return one_layer("cc", losses.correlation_congruence, weight, ce, layer, teacher_layer)


def pkt(
    weight: float = 469.0, ce: float = 1.0, layer: str = "hidden", teacher_layer: str | None = None
) -> Method:
    """Probabilities of neighbours.

    The weight is RepDistiller's, 30,000 of the mean over pairs, at its batch of 64: 30,000 / 64.

    Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer"
    (2018).
    """
    return one_layer("pkt", losses.pkt, weight, ce, layer, teacher_layer)


def cka(
    weight: float = 1.0, ce: float = 1.0, layer: str = "hidden", teacher_layer: str | None = None
) -> Method:
    """Centred kernel alignment of the hidden layers; our weight, for the paper trains nothing.

    Kornblith et al., "Similarity of Neural Network Representations Revisited" (2019).
    """
    return one_layer("cka", losses.cka_distance, weight, ce, layer, teacher_layer)
