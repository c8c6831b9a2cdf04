"""Losses of logits by correlations: within a row, along a class, between rows, between classes."""

import torch
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._numeric import not_negative, product, tempered, unit, widen
from fkd.losses._response import check_pair, log_softmax


def _check_batch(where: str, student: Tensor, teacher: Tensor, temperature: Scalar) -> None:
    """As `check_pair`, of [batch, classes] alone: what is one batch, the caller says."""
    _check.tensor(where, student=student, teacher=teacher)
    for name, x in (("student", student), ("teacher", teacher)):
        if x.ndim != 2:
            raise ValueError(
                f"{where}: {name} must be [batch classes], but it is {tuple(x.shape)}; say which "
                "positions are one batch by flattening them, as in student.flatten(0, -2)"
            )
    check_pair(where, student, teacher, temperature)


def _lowered(logits: Tensor) -> Tensor:
    """Logits less the largest of their row: those that agree up to a constant become equal."""
    x = widen(logits)
    return x - x.detach().amax(-1, keepdim=True)


def _excess(log: Tensor) -> Tensor:
    """x / max(x) − 1 along the last axis, of x = exp(log).

    Pearson's correlation is that of x itself, for it depends on no scale and no constant. But
    nothing underflows, little is lost where x is nearly constant, and zeros mark a constant x.
    """
    largest = log.detach().amax(-1, keepdim=True)
    return torch.expm1(log - largest.masked_fill(largest.isneginf(), 0.0))


def _pearson_distance(x: Tensor, y: Tensor) -> Tensor:
    """1 − Pearson's correlation along the last axis, which is zero where a side is constant."""
    x, y = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    return not_negative(1 - (unit(x) * unit(y)).sum(-1))


def dist_inter(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    *,
    temperature: Scalar = 1.0,
) -> Float[Tensor, " batch"]:
    """T² · (1 − ρ(q, p)), ρ Pearson's correlation over classes, q, p the softmax of the logits/T.

    Both are logits [batch, classes], T is `temperature` > 0. The value lies in [0, 2T²], and is
    zero with a zero gradient where q is a positive multiple of p plus a constant. The gradient
    grows as one over q's spread; the correlation with a uniform q or p is taken as zero, with a
    finite gradient. Raises ValueError for shapes that differ, dtypes, or T ≤ 0.
    Memory: 10 × logits.

    Huang et al., "Knowledge Distillation from A Stronger Teacher" (2022), the inter-class relation
    of DIST; T² is that of its code, which adds 1e-8 to the norms.

    >>> import torch
    >>> dist_inter(torch.tensor([[2.0, 1.0, 1.0]]).log(), torch.tensor([[1.0, 2.0, 1.0]]).log())
    tensor([1.5000])
    """
    _check_batch("dist_inter", student, teacher, temperature)
    q, p = (_excess(tempered(_lowered(x), temperature)) for x in (student, teacher))
    return (temperature**2 * _pearson_distance(q, p)).to(student.dtype)


def dist_intra(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    *,
    temperature: Scalar = 1.0,
) -> Float[Tensor, " classes"]:
    """T² · (1 − ρ(q_c, p_c)) of each class c, ρ Pearson's correlation over the examples.

    q and p are the softmax of student/T and teacher/T. Both are logits [batch, classes] of at least
    two examples, T is `temperature` > 0; the result is [classes]. The value lies in [0, 2T²], and
    is zero with a zero gradient where q_c is a positive multiple of p_c plus a constant. The
    gradient grows as one over the relative spread of q_c; the correlation with a class that is
    equally likely in all examples is taken as zero, with a finite gradient. Raises ValueError for
    shapes that differ, a batch of one, dtypes, or T ≤ 0. Memory: 12 × logits.

    Huang et al., "Knowledge Distillation from A Stronger Teacher" (2022), the intra-class relation
    of DIST; T² is that of its code, which adds 1e-8 to the norms.

    >>> import torch
    >>> dist_intra(torch.tensor([[0.0, 1.0], [0.0, 2.0]]), torch.tensor([[0.0, 5.0], [0.0, 2.0]]))
    tensor([2., 2.])
    """
    _check_batch("dist_intra", student, teacher, temperature)
    _check.several("dist_intra", student=student, teacher=teacher)
    q, p = (_excess(log_softmax(_lowered(x), temperature).mT) for x in (student, teacher))
    return (temperature**2 * _pearson_distance(q, p)).to(student.dtype)


def class_correlation(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    *,
    temperature: Scalar = 4.0,
) -> Float[Tensor, " classes"]:
    """Σ_d (Σ_i q_ic q_id − Σ_i p_ic p_id)² of each class c: its row of Q'Q − P'P, squared.

    The rows of Q and P are the softmax of student/T and teacher/T. Both are logits [batch,
    classes], T is `temperature` > 0; the result is [classes], and its mean is ‖Q'Q − P'P‖² / C,
    without T². The value is not negative, zero with a zero gradient where the logits agree up to a
    constant, and grows with the square of the batch. Raises ValueError for shapes that differ,
    dtypes, or T ≤ 0. Memory: 4 × [classes, classes] + 6 × logits.

    Jin, Wang and Lin, "Multi-Level Logit Distillation" (2023), the class-level alignment, as
    normalised in its code, which multiplies it by the share of classes that the teacher is least
    sure of (a half) and adds it up over temperatures 2 to 6.

    >>> import torch
    >>> class_correlation(torch.tensor([[0.0, 99.0]]), torch.tensor([[99.0, 0.0]]), temperature=1)
    tensor([1., 1.])
    """
    _check_batch("class_correlation", student, teacher, temperature)
    q, p = (log_softmax(x, temperature).exp().mT for x in (student, teacher))
    return (product(q, q) - product(p, p)).square().sum(-1).to(student.dtype)


def batch_correlation(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    *,
    temperature: Scalar = 4.0,
) -> Float[Tensor, " batch"]:
    """Σ_j (<q_i, q_j> − <p_i, p_j>)² of each example i: its row of QQ' − PP', squared.

    The rows of Q and P are the softmax of student/T and teacher/T. Both are logits [batch, classes]
    of at least two examples, T is `temperature` > 0; the mean of the result is ‖QQ' − PP'‖² / B,
    without T². The value lies in [0, B], and is zero with a zero gradient where the logits agree up
    to a constant, among others. Raises ValueError for shapes that differ, a batch of one, dtypes,
    or T ≤ 0. Memory: 4 × [batch, batch] + 6 × logits.

    Jin, Wang and Lin, "Multi-Level Logit Distillation" (2023), the batch-level alignment, as
    normalised in its code, which multiplies it by the share of examples that the teacher is least
    sure of (a half) and adds it up over temperatures 2 to 6.

    >>> import torch
    >>> same = torch.tensor([[0.0, 99.0], [0.0, 99.0]])
    >>> batch_correlation(same, torch.tensor([[0.0, 99.0], [99.0, 0.0]]), temperature=1.0)
    tensor([1., 1.])
    """
    _check_batch("batch_correlation", student, teacher, temperature)
    _check.several("batch_correlation", student=student, teacher=teacher)
    q, p = (log_softmax(x, temperature).exp() for x in (student, teacher))
    return (product(q, q) - product(p, p)).square().sum(-1).to(student.dtype)
