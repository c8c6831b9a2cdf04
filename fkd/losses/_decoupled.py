"""Losses of logits that treat the labelled class apart from the others, or weigh examples by it."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._mask import check_mask, filled, zeroed
from fkd.losses._numeric import raised
from fkd.losses._response import (
    at_label,
    check_classes,
    check_labels,
    check_pair,
    cross,
    kl,
    log_softmax,
)


def check_labelled(
    where: str,
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: Scalar,
    mask: Tensor | None,
) -> None:
    check_pair(where, student, teacher, temperature, mask)
    _check_parted(where, student, labels)
    check_labels(where, student, labels, mask)


def _check_parted(where: str, student: Tensor, labels: Tensor) -> None:
    """Raise unless there are labels of one class each."""
    _check.tensor(where, student=student, labels=labels)
    if labels.is_floating_point():
        raise ValueError(
            f"{where}: labels must hold whole numbers, but their dtype is {labels.dtype}; it parts "
            "one labelled class from the others, which a soft label does not name: give "
            "labels.argmax(-1)"
        )


def split(log_p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of [label, not the label], and of the other classes renormalised.

    The second is −inf at the label. All in the log domain: 1 − p_y is a sum over the other classes,
    so that neither a certain teacher nor a certain student leaves 0/0. Where no other class has a
    probability at all, it is −inf everywhere.
    """
    labels = labels.unsqueeze(-1)
    right = log_p.gather(-1, labels)
    classes = torch.arange(log_p.shape[-1], device=log_p.device)
    others = log_p.masked_fill(classes == labels, float("-inf"))
    none = others.isneginf().all(-1, keepdim=True)
    wrong = others.masked_fill(none, 0.0).logsumexp(-1, keepdim=True)
    return torch.cat([right, wrong.masked_fill(none, float("-inf"))], -1), others - wrong


def dkd(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    *,
    alpha: Scalar = 1.0,
    beta: Scalar = 8.0,
    temperature: Scalar = 4.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """T² · [α KL((p_y, 1−p_y) ‖ (q_y, 1−q_y)) + β KL(p̂ ‖ q̂)], p = softmax(teacher/T), q likewise.

    p̂ and q̂ are p and q over the classes other than the label y, renormalised. `student` and
    `teacher` are logits [..., classes], `labels` whole numbers [...] in [0, classes), α is `alpha`
    ≥ 0, β is `beta` ≥ 0, T is `temperature` > 0; `mask` [...] is True where a position counts. The
    value is not negative, and zero with a zero gradient where the logits agree up to a constant;
    with α = 1 and β = 1 − p_y it is `kl_divergence`, and with two classes its second part is zero.
    Gradients are finite with respect to the teacher and T too. Raises ValueError for shapes that do
    not fit, fewer than two classes, dtypes, or numbers out of range. Memory: 8 × logits.

    Zhao et al., "Decoupled Knowledge Distillation" (2022), section 3. The factor T² is that of its
    code, which also lets the term grow over the first 20 epochs: that is the caller's to do.

    >>> import torch
    >>> uniform, teacher = torch.zeros(1, 3), torch.tensor([[2.0, 1.0, 1.0]]).log()
    >>> dkd(uniform, teacher, torch.tensor([0]), temperature=1.0)  # ½ log(3/2) + ½ log(3/4)
    tensor([0.0589])
    """
    check_labelled("dkd", student, teacher, labels, temperature, mask)
    _check.not_negative("dkd", alpha=alpha, beta=beta)
    _check.beside("dkd", student, alpha=alpha, beta=beta)
    student, teacher, labels = filled(mask, student, teacher, labels.long())
    binary_q, other_q = split(log_softmax(student, temperature), labels)
    binary_p, other_p = split(log_softmax(teacher, temperature), labels)
    loss = alpha * kl(binary_p, binary_q) + beta * kl(other_p, other_q)
    return zeroed(mask, temperature**2 * loss).to(student.dtype)


def nkd(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    *,
    gamma: Scalar = 1.5,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """−p_y log q_y − γ T² Σ_{c≠y} p̂_c log q̂_c, with p, q at temperature 1 and p̂, q̂ at T.

    p̂ and q̂ are the softmax of teacher/T and student/T over the classes other than the label y,
    renormalised. `student` and `teacher` are logits [..., classes], `labels` whole numbers [...] in
    [0, classes), γ is `gamma` ≥ 0, T is `temperature` > 0; `mask` [...] is True where a position
    counts. The value is not negative. It is no divergence: at equal logits it is positive, and its
    first part still pulls q_y towards 1. With two classes its second part is zero. The gradient is
    finite on both sides. Raises ValueError for shapes that do not fit, fewer than two classes,
    dtypes, or numbers out of range. Memory: 9 × logits.

    Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach
    with Normalized Loss and Customized Soft Labels" (2023), the normalised loss NKD.

    >>> import torch
    >>> uniform, teacher = torch.zeros(1, 3), torch.tensor([[2.0, 1.0, 1.0]]).log()
    >>> nkd(uniform, teacher, torch.tensor([0]))  # ½ log 3 + 1.5 log 2
    tensor([1.5890])
    """
    check_labelled("nkd", student, teacher, labels, temperature, mask)
    _check.not_negative("nkd", gamma=gamma)
    _check.beside("nkd", student, gamma=gamma)
    student, teacher, labels = filled(mask, student, teacher, labels.long())
    index = labels.unsqueeze(-1)
    right_q, right_p = (log_softmax(x, 1.0).gather(-1, index) for x in (student, teacher))
    _, other_q = split(log_softmax(student, temperature), labels)
    _, other_p = split(log_softmax(teacher, temperature), labels)
    others = temperature**2 * (gamma * cross(other_p, other_q))
    return zeroed(mask, cross(right_p, right_q) + others).to(student.dtype)


def _log_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """log(−log q_y) = log log(1 + e^d), d the log odds against the label; d far below."""
    binary, _ = split(log_softmax(logits, 1.0), labels)
    odds = binary[..., 1] - binary[..., 0]
    return torch.where(odds < -40, odds, (-F.logsigmoid(-odds.clamp(min=-40))).log())


def wsld(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    *,
    temperature: Scalar = 2.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """w · T² · −Σ_c p_c log q_c, with w = 1 − exp(−CE(student, y) / CE(teacher, y)) held constant.

    p and q are the softmax of teacher/T and student/T; the cross-entropies CE with the label y in w
    are at temperature 1. `student` and `teacher` are logits [..., classes], `labels` whole numbers
    [...] in [0, classes), T is `temperature` > 0; `mask` [...] is True where a position counts. The
    value is not negative, and w lies in [0, 1]: an example that the student already finds easier
    than the teacher does counts less. No gradient flows through w; with respect to the student it
    is w T (q − p). Raises ValueError for shapes that do not fit, fewer than two classes, dtypes, or
    T ≤ 0. Memory: 6 × logits.

    Zhou et al., "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff
    Perspective" (2021), the weighted soft labels. Its code adds 1e-7 to CE(teacher, y); here the
    ratio is taken of logarithms, so that it is right where both cross-entropies round to zero.

    >>> import torch
    >>> uniform = torch.zeros(1, 2)
    >>> wsld(uniform, uniform, torch.tensor([0]), temperature=1.0)  # (1 − 1/e) log 2
    tensor([0.4382])
    """
    check_labelled("wsld", student, teacher, labels, temperature, mask)
    student, teacher, labels = filled(mask, student, teacher, labels.long())
    own, teachers = (_log_cross_entropy(x.detach(), labels) for x in (student, teacher))
    weight = -torch.expm1(-(own - teachers).exp())
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    return zeroed(mask, weight * temperature**2 * cross(log_p, log_q)).to(student.dtype)


def _easier(logits: Tensor, labels: Tensor, log_p: Tensor) -> Tensor:
    """Log-probabilities over the classes whose logit is below the label's, renormalised; −inf at
    the others, and everywhere where there is none below."""
    below = logits < logits.gather(-1, labels.unsqueeze(-1))
    kept = log_p.masked_fill(~below, float("-inf"))
    none = kept.isneginf().all(-1, keepdim=True)
    return kept - kept.masked_fill(none, 0.0).logsumexp(-1, keepdim=True)


def rld(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    *,
    alpha: Scalar = 1.0,
    beta: Scalar = 8.0,
    temperature: Scalar = 4.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """α KL((p_max, 1−p_max) ‖ (q_y, 1−q_y)) + β T² KL(p̃ ‖ q̃), p, q at temperature 1 and p̃, q̃ at T.

    The student's label y is to be as sure as the teacher is of its likeliest class, whichever that
    is; p̃ and q̃ are the softmax of teacher/T and student/T over the classes that the teacher finds
    less likely than y, renormalised, so that nothing is learnt of an order that is wrong. `student`
    and `teacher` are logits [..., classes], `labels` whole numbers [...] in [0, classes), α is
    `alpha` ≥ 0, β is `beta` ≥ 0, T is `temperature` > 0; `mask` [...] is True where a position
    counts. The value is not negative, and zero with a zero gradient at equal logits where the
    teacher is right; it jumps where the teacher finds another class as likely as y. The gradient is
    finite on both sides. Raises ValueError for shapes that do not fit, fewer than two classes,
    dtypes, or numbers out of range. Memory: 11 × logits.

    Sun et al., "Knowledge Distillation with Refined Logits" (2025). Its code lets the term grow
    over the first 20 epochs: that is the caller's to do.

    >>> import torch
    >>> uniform, teacher = torch.zeros(1, 3), torch.tensor([[2.0, 1.0, 1.0]]).log()
    >>> rld(uniform, teacher, torch.tensor([0]))  # ½ log(3/2) + ½ log(3/4)
    tensor([0.0589])
    """
    check_labelled("rld", student, teacher, labels, temperature, mask)
    _check.not_negative("rld", alpha=alpha, beta=beta)
    _check.beside("rld", student, alpha=alpha, beta=beta)
    student, teacher, labels = filled(mask, student, teacher, labels.long())
    binary_q, _ = split(log_softmax(student, 1.0), labels)
    binary_p, _ = split(log_softmax(teacher, 1.0), teacher.argmax(-1))
    log_q, log_p = (
        _easier(teacher, labels, log_softmax(x, temperature)) for x in (student, teacher)
    )
    others = temperature**2 * kl(log_p, log_q)
    return zeroed(mask, alpha * kl(binary_p, binary_q) + beta * others).to(student.dtype)


def ofa(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    *,
    gamma: Scalar = 1.5,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """−((1 + p_y)^γ − 1) log q_y − Σ_{c≠y} p_c^γ log q_c, p, q the softmax of teacher and student.

    `student` and `teacher` are logits [..., classes], `labels` whole numbers [...] in [0, classes),
    y the label and γ `gamma` > 0; `mask` [...] is True where a position counts; in nats. With γ = 1
    it is the cross-entropy with p; the larger γ is, the more the label counts beside the others.
    The value is not negative. It is no divergence: at equal logits it is positive, and its gradient
    still pulls q_y towards 1. The gradient is finite on both sides. Raises ValueError for shapes
    that do not fit, fewer than two classes, dtypes, or γ ≤ 0. Memory: 7 × logits.

    Hao et al., "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge
    Distillation" (2023), the adaptive target enhancement; the method has it of logits that it
    projects from inner layers, too.

    >>> import torch
    >>> uniform = torch.zeros(1, 2)
    >>> ofa(uniform, uniform, torch.tensor([0]), gamma=2.0)  # (5/4 + 1/4) log 2
    tensor([1.0397])
    """
    check_labelled("ofa", student, teacher, labels, 1.0, mask)
    _check.positive("ofa", gamma=gamma)
    _check.beside("ofa", student, gamma=gamma)
    student, teacher, labels = filled(mask, student, teacher, labels.long())
    log_q, log_p = log_softmax(student, 1.0), log_softmax(teacher, 1.0)
    index = labels.unsqueeze(-1)
    target = torch.expm1(gamma * torch.log1p(log_p.gather(-1, index).exp())).squeeze(-1)
    right = log_q.gather(-1, index).squeeze(-1)
    right = right.masked_fill((target == 0) & right.isneginf(), 0.0)
    classes = torch.arange(log_p.shape[-1], device=log_p.device)
    others = raised(log_p, gamma).masked_fill(classes == index, float("-inf"))
    return zeroed(mask, cross(others, log_q) - target * right).to(student.dtype)


def tf_kd(
    student: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"],
    *,
    correct: Scalar = 0.99,
    temperature: Scalar = 20.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """KL(p ‖ q) of a virtual teacher: p = softmax(log d / T) and q = softmax(student/T), in nats.

    d_y = a at the label y, and (1 − a)/(C − 1) at each of the other C − 1 classes. `student` are
    logits [..., classes], `labels` whole numbers [...] in [0, classes), a is `correct` in (0, 1), T
    is `temperature` > 0; `mask` [...] is True where a position counts. There is no factor T². The
    value is not negative, and zero with a zero gradient where the student's logits are log d up to
    a constant; it is infinite where the student gives a class no probability. The gradient is
    (q − p)/T. Raises ValueError for shapes that do not fit, fewer than two classes, dtypes, or
    numbers out of range. Memory: 6 × logits.

    Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing Regularization" (2020),
    Tf-KD by a designed teacher. Its code takes the softmax of d/T instead, and the
    student's at temperature 1, and the mean over the classes too.

    >>> import torch
    >>> tf_kd(torch.zeros(1, 2), torch.tensor([0]), correct=0.75, temperature=1.0)
    tensor([0.1308])
    """
    _check.dimensions("tf_kd", "... classes", student=student)
    check_classes("tf_kd", student)
    _check.floating("tf_kd", student=student)
    _check.positive("tf_kd", correct=correct)
    _check.share("tf_kd", correct=correct)
    _check.temperature("tf_kd", temperature=temperature)
    _check.beside("tf_kd", student, correct=correct, temperature=temperature)
    check_mask("tf_kd", student, mask)
    _check_parted("tf_kd", student, labels)
    check_labels("tf_kd", student, labels, mask)
    student, labels = filled(mask, student, labels.long())
    log_q = log_softmax(student, temperature)
    share = torch.as_tensor(correct, dtype=log_q.dtype, device=log_q.device)
    other = torch.log1p(-share) - math.log(student.shape[-1] - 1)
    right = at_label(labels, student.shape[-1])
    log_p = log_softmax(torch.where(right, share.log(), other), temperature)
    return zeroed(mask, kl(log_p, log_q)).to(student.dtype)
