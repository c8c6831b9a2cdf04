"""Losses of contrast: an example's own embedding is told from those of others."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._numeric import product, rows, unit, widen


def info_nce(
    student: Float[Tensor, "batch *features"],
    teacher: Float[Tensor, "batch *features"],
    *,
    temperature: Scalar = 0.1,
) -> Float[Tensor, " batch"]:
    """−log softmax_j(cos(s_i, t_j) / T) at j = i: each student row picks its own teacher row.

    Both are [batch, ...] of one shape, T is `temperature` > 0. The value is positive, and at most
    log(1 + (B − 1) e^(2/T)); at equality it has a gradient. The contrast goes one way, over the
    teacher's rows; the other way is the loss with its arguments exchanged. The cosine with a row of
    zeros is taken as zero, and its gradient stays finite. Raises ValueError for shapes that differ,
    a batch below two, dtypes, or T ≤ 0. Memory: 3 × [batch, batch] + 10 × embeddings.

    Van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018), with
    the cosine over T for the critic and the batch for the negatives.

    >>> import torch
    >>> info_nce(torch.eye(2), torch.eye(2), temperature=1.0)
    tensor([0.3133, 0.3133])
    """
    _check.dimensions("info_nce", "batch features ...", student=student, teacher=teacher)
    _check.same_shape("info_nce", student=student, teacher=teacher)
    _check.floating("info_nce", student=student, teacher=teacher)
    _check.several("info_nce", student=student)
    _check.positive("info_nce", temperature=temperature)
    _check.beside("info_nce", student, temperature=temperature)
    logits = product(unit(rows(student)), unit(rows(teacher))) / temperature
    own = torch.arange(len(student), device=student.device).unsqueeze(-1)
    return -F.log_softmax(logits, -1).gather(-1, own).squeeze(-1).to(student.dtype)


def _log(value: Scalar) -> Scalar:
    return torch.log(value) if isinstance(value, Tensor) else math.log(value)


def _check_negatives(student: Tensor, **negatives: Tensor) -> None:
    _check.tensor("crd", student=student, **negatives)
    _check.dimensions("crd", "batch negatives width", **negatives)
    _check.floating("crd", **negatives)
    for name, x in negatives.items():
        if (len(x), x.shape[-1]) != tuple(student.shape):
            raise ValueError(
                f"crd: student must be [batch, width] and {name} [batch, negatives, width], "
                f"but student is {tuple(student.shape)} and {name} is {tuple(x.shape)}"
            )


def crd(
    student: Float[Tensor, "batch width"],
    teacher: Float[Tensor, "batch width"],
    student_negatives: Float[Tensor, "batch count_s width"],
    teacher_negatives: Float[Tensor, "batch count_t width"],
    *,
    temperature: Scalar = 0.07,
    share: Scalar = 0.32768,
    student_scale: Scalar = 1.0,
    teacher_scale: Scalar = 1.0,
) -> Float[Tensor, " batch"]:
    """−log h(s, t) − Σ_k log(1 − h(s, t_k)) − log h(t, s) − Σ_k log(1 − h(t, s_k)), in nats.

    h(a, b) = e / (e + `share`) with e = exp(<a, b>/T) / Z is the belief that a and b are one
    example: noise-contrastive estimation with logistic loss. s and t are `student` and `teacher`
    [batch, width] over their L2 norms, t_k and s_k the rows of `teacher_negatives` and
    `student_negatives` [batch, negatives, width], other examples' embeddings out of a memory bank,
    taken as they are: of unit length. T is `temperature` > 0, and `share` in (0, 1] the number of
    negatives over that of the data set's examples, here 16384 of CIFAR's 50000. Z is
    `student_scale` > 0 where the student is the anchor a, `teacher_scale` > 0 where the teacher is.
    The value is positive; at equality it has a gradient. An anchor of zeros stays one, with a
    finite gradient. Raises ValueError for shapes that do not fit, dtypes, or a number out of range.
    Memory: 11 × embeddings + 5 × [batch, negatives].

    Tian, Krishnan and Isola, "Contrastive Representation Distillation" (2020). The paper's h has
    Z = 1; published code fixes each Z at the first batch, as the mean of exp(<a, b>/T) times the
    number of the data set's examples, and takes the positive b too out of the memory bank.

    >>> import torch
    >>> one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0]]])
    >>> crd(one, one, other, other, temperature=1.0, share=1.0)
    tensor([2.0128])
    """
    _check.dimensions("crd", "batch width", student=student, teacher=teacher)
    _check.same_shape("crd", student=student, teacher=teacher)
    _check.floating("crd", student=student, teacher=teacher)
    _check_negatives(
        student, student_negatives=student_negatives, teacher_negatives=teacher_negatives
    )
    _check.positive("crd", temperature=temperature, share=share)
    _check.positive("crd", student_scale=student_scale, teacher_scale=teacher_scale)
    _check.between("crd", 0, 1, share=share)
    _check.beside("crd", student, temperature=temperature, share=share)
    _check.beside("crd", student, student_scale=student_scale, teacher_scale=teacher_scale)
    s, t = unit(rows(student)), unit(rows(teacher))
    positive = (s * t).sum(-1) / temperature
    loss = torch.zeros_like(positive)
    for anchor, others, scale in (
        (s, teacher_negatives, student_scale),
        (t, student_negatives, teacher_scale),
    ):
        # e / (e + share) is the sigmoid of log e - log share, so nothing is exponentiated.
        offset = _log(scale) + _log(share)
        negative = product(anchor.unsqueeze(-2), widen(others)).squeeze(-2) / temperature
        loss = loss - F.logsigmoid(positive - offset)
        loss = loss - F.logsigmoid(offset - negative).sum(-1)
    return loss.to(student.dtype)
