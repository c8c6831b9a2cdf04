"""A loss of logits by what it costs to move one side's probability to where the other has it."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._decoupled import check_labelled, split
from fkd.losses._mask import filled, zeroed
from fkd.losses._numeric import product, unit
from fkd.losses._response import cross, log_softmax

ITERATIONS = 10  # of Sinkhorn's
FARTHEST = 300  # regularisations: e⁻³⁰⁰ may be squared in float64


def class_cost(
    features: Float[Tensor, "classes examples width"], *, sharpness: Scalar = 1.0
) -> Float[Tensor, "classes classes"]:
    """1 − exp(−κ (1 − CKA_ij)): what it costs to take class i for class j, for `wkd_l`.

    `features` are the teacher's, of as many examples of every class; κ is `sharpness` > 0. CKA_ij
    is the linear centred kernel alignment of the examples of class i with those of class j, in
    the order in which they stand, in [0, 1]. A class whose examples are all alike has 0 with every
    class, itself too.

    >>> import torch
    >>> one, two = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [3.0], [1.0]])
    >>> class_cost(torch.stack([one, 7 * one, two]))
    tensor([[0.0000, 0.0000, 0.6321],
            [0.0000, 0.0000, 0.6321],
            [0.6321, 0.6321, 0.0000]])
    """
    _check.dimensions("class_cost", "classes examples width", features=features)
    _check.floating("class_cost", features=features)
    _check.positive("class_cost", sharpness=sharpness)
    _check.beside("class_cost", features, sharpness=sharpness)
    x = features.double()
    x = x - x[:, :1].detach()  # a class of equal rows becomes zeros exactly
    x = x - x.mean(1, keepdim=True)
    kernels = unit(product(x, x).flatten(1))
    alignment = product(kernels, kernels).clamp(max=1.0)
    return -torch.expm1(-sharpness * (1 - alignment)).to(features.dtype)


def check_cost(where: str, cost: Tensor, classes: int) -> None:
    """Raise unless `cost` has a number, not below zero, for each pair of the student's classes."""
    _check.dimensions(where, "classes classes", cost=cost)
    _check.floating(where, cost=cost)
    if cost.shape != (classes, classes):
        raise ValueError(
            f"{where}: cost must be [classes, classes] of the student's {classes} classes, but it "
            f"is {tuple(cost.shape)}"
        )
    lowest, highest = _check.extremes(cost) or (0.0, 0.0)
    if not 0 <= lowest <= highest < float("inf"):
        raise ValueError(
            f"{where}: cost must be zero or more and finite, but it goes from {lowest} to {highest}"
        )


def _transport(
    log_q: Tensor, log_p: Tensor, cost: Tensor, regularization: Scalar, iterations: int
) -> Tensor:
    """Σ_ij P_ij D_ij of Sinkhorn's plan P from q to p, of log-probabilities. A class that neither
    side has, as the label's, is left out by a zero of u, so that all examples share one kernel."""
    q, p = log_q.exp(), log_p.exp()
    kernel = (-(cost / regularization).clamp(max=FARTHEST)).exp()
    u = v = (~(log_q.isneginf() & log_p.isneginf())).to(q.dtype)
    for _ in range(iterations):
        v = p / (u @ kernel)
        u = q / (v @ kernel.mT)
    return (u * (v @ (kernel * cost).mT)).sum(-1)


def wkd_l(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    cost: Float[Tensor, "classes classes"],
    *,
    gamma: Scalar = 600.0,
    temperature: Scalar = 8.0,
    regularization: Scalar = 0.05,
    iterations: int = ITERATIONS,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """−p_y log q_y + γ Σ_ij P_ij D_ij, with P Sinkhorn's plan to move q̂ to p̂ at the cost D.

    p and q are the softmax of teacher and student at temperature 1, and p̂ and q̂ that of teacher/T
    and student/T over the classes other than the label y, renormalised. P_ij = u_i K_ij v_j with
    K = exp(−D/η), after `iterations` ≥ 1 times v = p̂ / Kᵀu, u = q̂ / Kv from an even u: so its rows
    add up to q̂, and its columns nearly to p̂. `student` and `teacher` are logits [..., classes],
    `labels` whole numbers [...] in [0, classes), D is `cost` [classes, classes] ≥ 0 (see
    `class_cost`), γ is `gamma` ≥ 0, T is `temperature` > 0, η is `regularization` > 0; `mask` [...]
    is True where a position counts. It is computed in float64; for P a cost above 300 η is 300 η.
    Of costs above some 5 η an iteration next to nothing is moved, and the value is far too low.

    The value is not negative. It is no divergence: at equal logits it is positive, for η spreads
    what need not be moved, and −p_y log q_y still pulls q_y towards 1. With two classes its second
    part is the cost of the other class itself. The gradient, through all iterations, is finite on
    both sides. Raises ValueError for shapes that do not fit, fewer than two classes, dtypes, or
    numbers out of range. Memory: 187 × logits + 4 × [classes, classes].

    Lv, Yang and Li, "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge
    Distillation" (2024), WKD-L. The paper minimises Σ P D + η Σ P log P; this is Σ P D alone, as in
    its code, which also adds 1e-8 to each divisor.

    >>> import torch
    >>> student, teacher = torch.tensor([[0.0, 9.0, -9.0]]), torch.tensor([[0.0, -9.0, 9.0]])
    >>> cost = 1 - torch.eye(3)
    >>> wkd_l(student, teacher, torch.tensor([0]), cost, gamma=1.0, temperature=0.1)  # all is moved
    tensor([1.0011])
    """
    check_labelled("wkd_l", student, teacher, labels, temperature, mask)
    check_cost("wkd_l", cost, student.shape[-1])
    _check.tensor("wkd_l", student=student, cost=cost)
    _check.not_negative("wkd_l", gamma=gamma)
    _check.positive("wkd_l", regularization=regularization)
    _check.beside("wkd_l", student, gamma=gamma, regularization=regularization)
    _check.whole("wkd_l", 1, iterations=iterations)
    own, given, labels = filled(mask, student.double(), teacher.double(), labels.long())
    index = labels.unsqueeze(-1)
    right_q, right_p = (log_softmax(x, 1.0).gather(-1, index) for x in (own, given))
    _, other_q = split(log_softmax(own, temperature), labels)
    _, other_p = split(log_softmax(given, temperature), labels)
    none = other_q.isneginf().all(-1) | other_p.isneginf().all(-1)
    other_q, other_p = (x.masked_fill(none.unsqueeze(-1), 0.0) for x in (other_q, other_p))
    moved = _transport(other_q, other_p, cost.double(), regularization, iterations)
    value = cross(right_p, right_q) + gamma * moved.masked_fill(none, 0.0)
    return zeroed(mask, value).to(student.dtype)
