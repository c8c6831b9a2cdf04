"""Losses of feature maps by what pooling leaves of them: class maps cell by cell."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd.losses._numeric import unit, widen

MAPS = "batch channels height width"


def _check_maps(where: str, student: Tensor, teacher: Tensor) -> None:
    _check.dimensions(where, MAPS, student=student, teacher=teacher)
    _check.agree(where, "batch channels", student=student, teacher=teacher)
    _check.floating(where, student=student, teacher=teacher)


def class_attention_transfer(
    student: Float[Tensor, "batch classes height width"],
    teacher: Float[Tensor, "batch classes teacher_height teacher_width"],
    *,
    cells: int = 2,
) -> Float[Tensor, " batch"]:
    """(1/C) Σ_c |a_c/|a_c| − b_c/|b_c||², a_c and b_c class maps pooled to `cells` × `cells`.

    Class activation maps [batch, C, height, width] of one batch and as many classes, b of the
    teacher: at each position what it adds to each class's logit, Σ_k w_ck f_k of a map f and of the
    weights w of the linear classifier that reads its average. Their sizes may differ, for both are
    average-pooled to one, `cells` ≥ 1. The value, without unit, lies in [0, 4], and is zero with a
    zero gradient where each class's maps are one up to a positive scale; a pooled map of zeros
    stays zero, its gradient finite. Raises ValueError for axes, shapes, dtypes or `cells` < 1.
    Memory: 1 × maps + 38 × [batch, classes]. As the paper, which sums over the cells; its code takes
    their mean.

    Guo et al., "Class Attention Transfer Based Knowledge Distillation" (2023), section 3.3.

    >>> import torch
    >>> s, t = torch.tensor([[[[3.0, 3.0], [0.0, 0.0]]]]), torch.tensor([[[[7.0, 0.0], [0, 0]]]])
    >>> class_attention_transfer(s, t)  # (1/√2 − 1)² + ½
    tensor([0.5858])
    """
    _check_maps("class_attention_transfer", student, teacher)
    _check.whole("class_attention_transfer", 1, cells=cells)
    s, t = (unit(F.adaptive_avg_pool2d(widen(x), cells).flatten(2)) for x in (student, teacher))
    return (s - t).square().sum(-1).mean(-1).to(student.dtype)
