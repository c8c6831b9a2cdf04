"""Methods that match what pooling leaves of feature maps."""

from fkd import heads, losses
from fkd.heads import align
from fkd.methods._asked import check_weights, layer_names
from fkd.methods._term import Method, Term, labels

__all__ = ["wkd_f"]


def wkd_f(
    weight: float = 0.08,
    gamma: float = 4.0,
    ce: float = 1.0,
    layer: str = "feature_map",
    teacher_layer: str | None = None,
) -> Method:
    """Mean and deviation of each channel, by the Wasserstein distance of normal distributions.

    The numbers are the authors'; their code lets the weight fall by a cosine in the last epochs,
    which `schedules` can do. The two sides may differ in size, for the distributions do not.

    Lv, Yang and Li, "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge
    Distillation" (2024).
    """
    check_weights("wkd-f", weight=weight, gamma=gamma)
    term = Term(
        losses.wkd_f,
        *layer_names("wkd-f", layer, teacher_layer),
        weight,
        {"gamma": gamma},
        heads.rectified_connector,
        align=align.grids,
    )
    return {"wkd-f": term} | labels("wkd-f", ce)
