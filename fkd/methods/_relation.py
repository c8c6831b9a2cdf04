"""Methods that match relations among the examples of a batch."""

from functools import partial

from fkd import heads, losses
from fkd.methods._term import Method, Term, matched, supervised


def rkd(
    distance: float = 25.0, angle: float = 50.0, ce: float = 1.0, layer: str = "hidden"
) -> Method:
    """Distances and angles among examples.

    Park et al., "Relational Knowledge Distillation" (2019).
    """
    return {
        "rkd-distance": Term(losses.rkd_distance, layer, layer, distance),
        "rkd-angle": Term(losses.rkd_angle, layer, layer, angle),
    } | supervised(ce)


def sp(weight: float = 3000.0, ce: float = 1.0, layer: str = "feature_map") -> Method:
    """Similarities among examples.

    Tung and Mori, "Similarity-Preserving Knowledge Distillation" (2019).
    """
    return matched("sp", losses.similarity, weight, ce, layer)


def cc(weight: float = 100.0, ce: float = 1.0, layer: str = "hidden") -> Method:
    """Correlations among examples under a Gaussian kernel.

    The weight is Knowledge-Distillation-Zoo's for CIFAR-10, of the same kernel and mean.

    Peng et al., "Correlation Congruence for Knowledge Distillation" (2019).
    """
    return matched("cc", losses.correlation_congruence, weight, ce, layer)


def pkt(weight: float = 469.0, ce: float = 1.0, layer: str = "hidden") -> Method:
    """Probabilities of neighbours.

    The weight is RepDistiller's, 30,000 of the mean over pairs, at its batch of 64: 30,000 / 64.

    Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer"
    (2018).
    """
    return matched("pkt", losses.pkt, weight, ce, layer)


def cka(weight: float = 1.0, ce: float = 1.0, layer: str = "hidden") -> Method:
    """Centred kernel alignment of the hidden layers; our weight, for the paper trains nothing.

    Kornblith et al., "Similarity of Neural Network Representations Revisited" (2019).
    """
    return matched("cka", losses.cka_distance, weight, ce, layer)


def info_nce(weight: float = 0.8, ce: float = 1.0, layer: str = "hidden") -> Method:
    """The in-batch form of contrastive distillation, both embeddings trained; CRD's weight.

    van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018).
    """
    term = Term(
        *(losses.info_nce, layer, layer, weight, {"temperature": 0.1}),
        head=heads.Embeddings,
        joint=True,
    )
    return {"info-nce": term} | supervised(ce)


def crd(
    examples: int,
    weight: float = 0.8,
    negatives: int = 256,
    temperature: float = 0.07,
    ce: float = 1.0,
    layer: str = "hidden",
) -> Method:
    """Contrastive distillation with memory banks for as many `examples` as the data set has.

    The authors draw 16,384 negatives, for which a CPU has no time; ours are 256 by default, and
    never more than there are examples. The weight is theirs for CIFAR-100.

    Tian et al., "Contrastive Representation Distillation" (2020).
    """
    term = Term(
        *(losses.crd, layer, (layer, "index"), weight, {"temperature": temperature}),
        head=partial(heads.Memory, examples=examples, negatives=min(negatives, examples)),
        joint=True,
        head_hyper=("temperature",),
    )
    return {"crd": term} | supervised(ce)
