"""Losses of maps by what pooling leaves of them: cells of class maps, channels' spread."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._numeric import unit, widen
from fkd.losses._response import at_label, check_labels, kl, log_softmax

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
    Memory: 1 × maps + 38 × [batch, classes]. The form of the paper, which sums over the cells; its
    code takes their mean, to which its weight of 400 belongs. A network has such maps by
    `models.class_map`, with its classifier's bias at each position; the authors' have none.

    Guo et al., "Class Attention Transfer Based Knowledge Distillation" (2023).

    >>> import torch
    >>> s, t = torch.tensor([[[[3.0, 3.0], [0.0, 0.0]]]]), torch.tensor([[[[7.0, 0.0], [0, 0]]]])
    >>> class_attention_transfer(s, t)  # (1/√2 − 1)² + ½
    tensor([0.5858])
    """
    _check_maps("class_attention_transfer", student, teacher)
    _check.whole("class_attention_transfer", 1, cells=cells)
    s, t = (unit(F.adaptive_avg_pool2d(widen(x), cells).flatten(2)) for x in (student, teacher))
    return (s - t).square().sum(-1).mean(-1).to(student.dtype)


def _mean_and_deviation(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Those of each channel over its n positions, the deviation over n; of a constant channel zero,
    with the subgradient zero."""
    x = widen(maps).flatten(2)
    # Less its first number, a constant is zeros exactly, whatever the mean rounds to.
    first = x.detach()[..., :1]
    x = x - first
    mean = x.mean(-1, keepdim=True)
    square = (x - mean).square().mean(-1)
    none = square == 0
    deviation = square.masked_fill(none, 1.0).sqrt().masked_fill(none, 0.0)
    return (mean + first).squeeze(-1), deviation


def wkd_f(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels teacher_height teacher_width"],
    *,
    gamma: Scalar = 4.0,
) -> Float[Tensor, " batch"]:
    """γ Σ_c (μ_c(s) − μ_c(t))² + Σ_c (σ_c(s) − σ_c(t))², in squared feature units.

    μ_c and σ_c are the mean and the deviation of channel c over an example's n positions, with
    σ² = (1/n) Σ (f − μ)²: with γ = 1 it is the squared 2-Wasserstein distance between the normal
    distributions that have them, the channels independent. Both are maps [batch, channels, height,
    width] that agree in batch and channels; their sizes may differ; γ is `gamma` ≥ 0. The value is
    not negative, and zero with a zero gradient at equality; a constant channel has no deviation,
    and there the subgradient zero. Raises ValueError for axes, shapes, dtypes, or γ < 0.
    Memory: 6 × maps + 5 × [batch, channels]. The form of the paper; its code divides σ² by n − 1,
    and adds 1e-5.

    Lv, Yang and Li, "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge
    Distillation" (2024), WKD-F with diagonal covariances.

    >>> import torch
    >>> s, t = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[2.0, 2.0], [8.0, 8.0]]]])
    >>> wkd_f(s, t)  # 4 (2 − 5)² + (1 − 3)²
    tensor([40.])
    """
    _check_maps("wkd_f", student, teacher)
    _check.not_negative("wkd_f", gamma=gamma)
    _check.beside("wkd_f", student, gamma=gamma)
    (mean, deviation), (means, deviations) = map(_mean_and_deviation, (student, teacher))
    value = gamma * (mean - means).square().sum(-1) + (deviation - deviations).square().sum(-1)
    return value.to(student.dtype)


def _answers(maps: Tensor, cells: int) -> Tensor:
    """The logits of each cell, [batch, cells², classes]."""
    return F.adaptive_avg_pool2d(widen(maps), cells).flatten(2).mT


def sdd(
    student: Float[Tensor, "batch classes height width"],
    teacher: Float[Tensor, "batch classes teacher_height teacher_width"],
    labels: Int[Tensor, " batch"],
    *,
    scales: int = 3,
    beta: Scalar = 2.0,
    temperature: Scalar = 4.0,
) -> Float[Tensor, " batch"]:
    """Σ_r w_r T² KL(p_r ‖ q_r) over the cells r of maps pooled to 1×1, 2×2, 4×4 and so on, in nats.

    p_r and q_r are the softmax of teacher/T and student/T in a cell: the maps [batch, classes,
    height, width] hold at each position the logits that the linear classifier gives to what the map
    before its average has there (see `models.class_map`). w_r is `beta` ≥ 0 where of the teacher's
    answer in the cell and its answer of the whole image, the 1×1 cell's, one is right and the other
    wrong, and else 1. There are `scales` ≥ 1 sizes of cells. `labels` are whole numbers [batch] in
    [0, classes), T is `temperature` > 0; the two sides may differ in size. The value is not
    negative, and zero with a zero gradient where the logits agree up to a constant in each cell; it
    jumps where the teacher's likeliest class does. Raises ValueError for axes, shapes, dtypes, a
    label that is no class, or numbers out of range. Memory: 3 × maps + 105 × [batch, classes].

    Wei, Luo and Luo, "Scale Decoupled Distillation" (2024), equations 9 and 10, with KL as the loss
    of a cell; there β is 2, and `scales` 3 for unlike networks and 2 for like ones. `beta` is the
    weight of the complementary cells, which are told from the consistent ones as in its code; the
    paper calls each cell so that has another class than the whole, also where both are wrong. Its
    code takes the mean over the cells, with three scales a 21st of the sum.

    >>> import torch
    >>> student, teacher = torch.zeros(1, 2, 2, 2), torch.tensor([[[[3.0]], [[1.0]]]]).log()
    >>> sdd(student, teacher, torch.tensor([0]), temperature=1.0)  # 21 (¾ log(3/2) + ¼ log ½)
    tensor([2.7471])
    """
    _check_maps("sdd", student, teacher)
    _check.whole("sdd", 1, scales=scales)
    _check.between("sdd", 1, 8, scales=scales)  # 128 × 128 cells
    _check.not_negative("sdd", beta=beta)
    _check.temperature("sdd", temperature=temperature)
    _check.beside("sdd", student, beta=beta, temperature=temperature)
    check_labels("sdd", student[..., 0, 0], labels, None)
    sides = [2**scale for scale in range(scales)]
    own, given = (torch.cat([_answers(x, n) for n in sides], 1) for x in (student, teacher))
    right = at_label(labels, given.shape[-1]).gather(-1, given.argmax(-1))
    log_q, log_p = (log_softmax(x, temperature) for x in (own, given))
    value = kl(log_p, log_q)
    value = torch.where(right == right[:, :1], value, beta * value)
    return (temperature**2 * value.sum(-1)).to(student.dtype)
