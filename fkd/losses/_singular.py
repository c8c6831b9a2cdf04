"""A loss of feature maps by their singular vectors: the directions that channels take together."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd.losses._map import check_layers, scaled
from fkd.losses._numeric import product, unit, widen


def _singular(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first right singular vectors [batch, channels, count] of each example's matrix
    [positions, channels], and their singular values [batch, count] over the largest element.

    A vector whose singular value is zero up to rounding is zero: any other would do as well. The
    derivative is that of perturbation theory, once; between singular values that are equal up to
    rounding it does not exist, and its part is left out.
    """
    x = scaled(rearrange(widen(x), "batch channels height width -> batch (height width) channels"))
    fixed = x.detach()
    u, s, vh = torch.linalg.svd(fixed, full_matrices=False)
    chosen, square = vh[:, :count], s.square()
    moved = x - fixed  # zero, but for its gradient
    image = product(moved, chosen)
    # What moves is the Gram matrix X'X; here it is times each of the vectors.
    slope = product(moved.mT, product(fixed, chosen).mT) + product(fixed.mT, image.mT)
    rounding = max(x.shape[1:]) * torch.finfo(x.dtype).eps
    here, largest = square[:, None, :count], square[:, :1, None]
    gap = here - square[:, :, None]
    near = gap.abs() <= rounding * largest
    missing = s[:, None, :count] <= rounding * s[:, :1, None]
    inverse = 1 / here.masked_fill(missing, 1.0)
    between = (1 / gap.masked_fill(near, 1.0)).masked_fill(near, 0.0) - inverse
    turn = product(vh.mT, (product(vh, slope.mT) * between).mT) + slope * inverse
    vectors = (chosen.mT + turn).masked_fill(missing, 0.0)
    values = s[:, :count] + (u[:, :, :count] * image).sum(1)
    return vectors, values.masked_fill(missing[:, 0], 0.0)


def _aligned(student: Tensor, teacher: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The teacher's first singular vectors [batch, channels, most] and, for each, that one of the
    student's which is nearest to its line, and points its way; both times the teacher's singular
    values, over their norm.
    """
    t, values = _singular(teacher, most)
    t = torch.where(t.sum(1, keepdim=True) < 0, -t, t)  # a decomposition leaves the sign open
    s, _ = _singular(student, most + 1)
    cosine = product(s.mT, t.mT)
    nearest = cosine.detach().abs().argmax(1, keepdim=True)
    sign = torch.where(cosine.detach().gather(1, nearest) < 0, -1.0, 1.0).to(s.dtype)
    s = s.gather(2, nearest.expand(-1, s.shape[1], -1)) * sign
    weight = unit(values)[:, None]
    return s * weight, t * weight


def _kernels(first: Tensor, last: Tensor) -> Tensor:
    """exp(−(x_ik − y_jk)²/8) [batch, i, j, k] of vectors [batch, channels, k] of two layers."""
    return torch.exp(-(first[:, :, None] - last[:, None]).square() / 8)


def kdsvd(
    student_first: Float[Tensor, "batch channels height width"],
    student_last: Float[Tensor, "batch last_channels last_height last_width"],
    teacher_first: Float[Tensor, "batch channels teacher_height teacher_width"],
    teacher_last: Float[Tensor, "batch last_channels teacher_last_height teacher_last_width"],
    *,
    vectors: int = 1,
) -> Float[Tensor, " batch"]:
    """Σ_ijk (K_ijk(student) − K_ijk(teacher))², K_ijk = exp(−(x_ik − y_jk)²/8), without unit.

    x and y are a first and a last layer's right singular vectors of the matrix [positions,
    channels], of unit length, the first k = 1 … `vectors`, or fewer where a map has fewer channels
    or positions, each times the teacher's singular value over the norm of these values. The
    teacher's point where the sum of their elements is not negative. Of the student's first
    `vectors` + 1 that one stands for each of the teacher's whose cosine with it is the largest, of
    either sign, and points its way. Maps [batch, channels, height, width]; student and teacher
    agree in batch and, layer by layer, in channels, and may differ in size.

    The value is not negative, zero with a zero gradient at equality, and depends on no scale of a
    map. It jumps where another vector becomes the nearest or a sign turns, and the gradient grows
    as one over the distance of singular values; between those that are equal it is left out, and a
    vector whose singular value is zero counts as zero. Only the first derivative is there: a
    second takes the decomposition as constant. A GPU has to be waited for there, which steps in a
    CUDA graph may not do: `train` takes them one by one then. Raises ValueError for axes, shapes,
    dtypes, or `vectors` < 1. Memory: 8 × [batch, channels, channels] + 5 × maps.

    Lee, Kim and Song, "Self-supervised Knowledge Distillation using Singular Value Decomposition"
    (2018). The authors' code has half of it times the root of `vectors`, and turns the teacher's
    vectors to the student's. RepDistiller and mdistiller choose among `vectors` + 3 of the
    student's and leave the teacher's signs to the decomposition, and mdistiller decomposes
    [channels · height, width].

    >>> import torch
    >>> one, other = torch.eye(2).reshape(2, 1, 2, 1, 1)
    >>> kdsvd(one, other, other, other)  # 4 (1 − e⁻¹ᐟ⁸)²
    tensor([0.0552])
    """
    check_layers("kdsvd", student_first, student_last, teacher_first, teacher_last)
    _check.whole("kdsvd", 1, vectors=vectors)
    pairs = (student_first, teacher_first), (student_last, teacher_last)
    most = min(vectors, *(min(x.shape[1], x[0, 0].numel()) for pair in pairs for x in pair))
    (s_first, t_first), (s_last, t_last) = (_aligned(s, t, most) for s, t in pairs)
    difference = _kernels(s_first, s_last) - _kernels(t_first, t_last)
    return difference.square().sum((1, 2, 3)).to(student_first.dtype)
