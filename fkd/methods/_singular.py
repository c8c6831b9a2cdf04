"""A method that matches the singular vectors of feature maps."""

from collections.abc import Sequence

from fkd import heads, losses
from fkd.heads import align
from fkd.methods._asked import check_weights, two_layers
from fkd.methods._term import Method, Term, labels

__all__ = ["kdsvd"]


def kdsvd(
    weight: float = 1.0,
    ce: float = 1.0,
    layers: Sequence[str] = ("early_map", "feature_map"),
    teacher_layers: Sequence[str] | None = None,
) -> Method:
    """How the first singular vectors of two layers stand to each other, in one stage instead of
    two.

    Each of the student's maps is brought to the teacher's channels by a trainable 1x1 convolution,
    for the paper's networks have equal ones; sizes may differ. The weight is mdistiller's, of the
    same sum over pairs of layers that follow each other.

    Lee, Kim and Song, "Self-supervised Knowledge Distillation using Singular Value Decomposition"
    (2018).
    """
    students, teachers = two_layers("kdsvd", layers, teacher_layers)
    check_weights("kdsvd", weight=weight)
    term = Term(
        losses.kdsvd,
        students,
        teachers,
        weight,
        head=heads.Flows,
        joint=True,
        align=align.grids,
        whole=False,
    )
    return {"kdsvd": term} | labels("kdsvd", ce)
