"""Methods that match relations among the examples of a batch."""

from fkd import heads, losses
from fkd.methods._asked import check_weights, layer_names
from fkd.methods._term import Method, Term, labels, one_layer

__all__ = ["cc", "cc_bilinear", "cka", "pkt", "rkd", "sp"]


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


def cc_bilinear(
    weight: float = 0.02,
    ce: float = 1.0,
    layer: str = "hidden",
    teacher_layer: str | None = None,
) -> Method:
    """Errors of neighbouring examples by their inner product, as RepDistiller has CC, with both
    sides' linear embeddings trained and its weight.

    Peng et al., "Correlation Congruence for Knowledge Distillation" (2019), see
    `losses.bilinear_congruence`.
    """
    check_weights("cc-bilinear", weight=weight)
    term = Term(
        losses.bilinear_congruence,
        *layer_names("cc-bilinear", layer, teacher_layer),
        weight,
        head=heads.Embeddings,
        joint=True,
    )
    return {"cc-bilinear": term} | labels("cc-bilinear", ce)


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
