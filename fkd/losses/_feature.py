"""Losses of features: a layer of the student against a layer of the teacher, shape by shape."""

from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd.losses._numeric import rows, unit


def _check_pair(where: str, student: Tensor, teacher: Tensor) -> None:
    _check.dimensions(where, "batch features ...", student=student, teacher=teacher)
    _check.same_shape(where, student=student, teacher=teacher)
    _check.floating(where, student=student, teacher=teacher)


def squared_error(
    student: Float[Tensor, "batch *features"], teacher: Float[Tensor, "batch *features"]
) -> Float[Tensor, " batch"]:
    """(1/n) Σ_i (student_i − teacher_i)² over an example's n elements, in squared feature units.

    Both are [batch, ...] of one shape. The value is not negative, and zero with a zero gradient at
    equality; the gradient is 2(student − teacher)/n. Raises ValueError for shapes that differ or
    dtypes. Through a trainable head this is the hint loss of FitNets, whose equation 3 has 1/2 and
    the sum over elements where published code takes this mean.

    Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), section 2.2.

    >>> import torch
    >>> squared_error(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]))
    tensor([2.])
    """
    _check_pair("squared_error", student, teacher)
    return (rows(student) - rows(teacher)).square().mean(-1).to(student.dtype)


def cosine_distance(
    student: Float[Tensor, "batch *features"], teacher: Float[Tensor, "batch *features"]
) -> Float[Tensor, " batch"]:
    """1 − <s, t> / (|s| |t|) over an example's elements, without unit.

    Both are [batch, ...] of one shape. The value lies in [0, 2], and is zero with a zero gradient
    where s is a positive multiple of t; the gradient is orthogonal to s and grows as 1/|s|. The
    cosine with a row of zeros is taken as zero, and its gradient stays finite. Raises ValueError
    for shapes that differ or dtypes.

    The third of the four losses in PyTorch's knowledge distillation tutorial, as
    `torch.nn.CosineEmbeddingLoss` with target 1.

    >>> import torch
    >>> cosine_distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
    tensor([0.0400])
    """
    _check_pair("cosine_distance", student, teacher)
    cosine = (unit(rows(student)) * unit(rows(teacher))).sum(-1)
    return (1 - cosine).to(student.dtype)
