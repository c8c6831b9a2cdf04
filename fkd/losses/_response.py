"""Losses of logits: what the student answers against what the teacher or the label says."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._numeric import widen


def _log_softmax(logits: Tensor, temperature: Scalar) -> Tensor:
    return F.log_softmax(widen(logits) / temperature, dim=-1)


def _check_pair(where: str, student: Tensor, teacher: Tensor, temperature: Scalar) -> None:
    _check.dimensions(where, "batch classes", student=student, teacher=teacher)
    _check.same_shape(where, student=student, teacher=teacher)
    _check.floating(where, student=student, teacher=teacher)
    _check.positive(where, temperature=temperature)


def cross_entropy(
    student: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    *,
    label_smoothing: Scalar = 0.0,
) -> Float[Tensor, " batch"]:
    """−(1−ε) log q_y − (ε/C) Σ_c log q_c, with q = softmax(student), in nats.

    `student` are logits [batch, classes], `labels` whole numbers [batch] in [0, classes), ε is
    `label_smoothing` in [0, 1]. The value is not negative. Its gradient is q minus the smoothed
    label. Raises ValueError for shapes that do not fit, dtypes, or ε out of range.

    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7.

    >>> import torch
    >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))
    tensor([1.3863, 1.3863])
    """
    _check.dimensions("cross_entropy", "batch classes", student=student)
    _check.floating("cross_entropy", student=student)
    _check.integral("cross_entropy", labels=labels)
    _check.between("cross_entropy", 0, 1, label_smoothing=label_smoothing)
    if labels.shape != student.shape[:1]:
        raise ValueError(
            "cross_entropy: student must be [batch, classes] and labels [batch], "
            f"but student is {tuple(student.shape)} and labels is {tuple(labels.shape)}"
        )
    log_q = _log_softmax(student, 1.0)
    right = log_q.gather(-1, labels.long().unsqueeze(-1)).squeeze(-1)
    loss = -(1 - label_smoothing) * right - label_smoothing * log_q.mean(-1)
    return loss.to(student.dtype)


def soft_cross_entropy(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    *,
    temperature: Scalar = 1.0,
) -> Float[Tensor, " batch"]:
    """T² · −Σ_c p_c log q_c, with p = softmax(teacher/T) and q = softmax(student/T), in nats.

    Both are logits [batch, classes], T is `temperature` > 0. The value is at least T² times the
    entropy of p, which it reaches at q = p; with respect to the student its gradient T(q − p) is
    that of `kl_divergence`. Raises ValueError for shapes that differ, dtypes, or T ≤ 0.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2.

    >>> import torch
    >>> soft_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2), temperature=2.0)
    tensor([2.7726])
    """
    _check_pair("soft_cross_entropy", student, teacher, temperature)
    log_q, log_p = _log_softmax(student, temperature), _log_softmax(teacher, temperature)
    return (-(temperature**2) * (log_p.exp() * log_q).sum(-1)).to(student.dtype)


def kl_divergence(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    *,
    temperature: Scalar = 1.0,
) -> Float[Tensor, " batch"]:
    """T² · Σ_c p_c log(p_c / q_c), with p = softmax(teacher/T) and q = softmax(student/T), in nats.

    Both are logits [batch, classes], T is `temperature` > 0. The value is not negative, and zero
    with a zero gradient where the logits agree up to a constant; the factor T² keeps the size of
    the student's gradient T(q − p) as T grows. Raises ValueError for shapes that differ, dtypes,
    or T ≤ 0.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2.

    >>> import torch
    >>> kl_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]]).log())
    tensor([0.6931])
    """
    _check_pair("kl_divergence", student, teacher, temperature)
    log_q, log_p = _log_softmax(student, temperature), _log_softmax(teacher, temperature)
    # A teacher's probability of exactly zero has log p = -inf; its term's limit is zero.
    difference = (log_p - log_q).masked_fill(log_p.isneginf(), 0.0)
    return (temperature**2 * (log_p.exp() * difference).sum(-1)).to(student.dtype)
