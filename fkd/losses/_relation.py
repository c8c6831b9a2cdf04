"""Losses of relations: how the examples of a batch stand to one another on either side.

The widths of the two sides may differ: only the batch must agree.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._numeric import product, rows, unit
from fkd.losses._recomputed import recomputed
from fkd.losses._response import kl


def _check_pair(where: str, student: Tensor, teacher: Tensor) -> None:
    _check.dimensions(where, "batch features ...", student=student, teacher=teacher)
    _check.floating(where, student=student, teacher=teacher)
    _check.agree(where, "batch", student=student, teacher=teacher)
    _check.several(where, student=student)


def _scaled(x: Tensor) -> Tensor:
    """`x` over its largest element, for losses that no positive scale changes: squares stay finite.

    The loss does not depend on that divisor, so it is held constant.
    """
    largest = x.detach().abs().amax()
    return x / largest.masked_fill(largest == 0, 1.0)


def _squared_distances(x: Tensor) -> Tensor:
    """|x_i − x_j|² [batch, batch], in float64, up to the scale that `_scaled` takes off.

    By inner products, so that no [batch, batch, width] is held; float64 leaves the digits that
    their difference loses in float32. Rows nearer than about 3e-7 of their length, where float32
    could not tell them apart, are equal: their distance is zero, with a zero gradient.
    """
    x = _scaled(rows(x)).double()
    x = x - x.mean(0)  # no shift matters, and small numbers lose less
    square = x.square().sum(-1)
    both = rearrange(square, "i -> i 1") + rearrange(square, "j -> 1 j")
    distance = both - 2 * product(x, x)
    return distance.masked_fill(distance <= 1e-13 * both, 0.0)


def _smooth_l1(difference: Tensor) -> Tensor:
    zero = difference.new_zeros(()).expand_as(difference)
    return F.smooth_l1_loss(difference, zero, reduction="none")


def _relative_distances(x: Tensor) -> Tensor:
    """Euclidean distances [batch, batch] over the mean of those that are positive."""
    square = _squared_distances(x)
    zero = square == 0
    distance = square.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)
    # Where there is no positive distance, all are zero, and so they stay.
    pairs = (~zero).sum().clamp(min=1)
    mean = distance.sum() / pairs
    return distance / mean.masked_fill(mean == 0, 1.0)


def rkd_distance(
    student: Float[Tensor, "batch *student"], teacher: Float[Tensor, "batch *teacher"]
) -> Float[Tensor, " batch"]:
    """(1/B) Σ_j l(d_ij(student) − d_ij(teacher)), l the smooth L1 loss (x²/2, or |x| − 1/2 past 1).

    d_ij is |x_i − x_j| over the mean of the positive distances in the batch. Both are [batch, ...],
    and may differ in width. The value is not negative, and zero with a zero gradient where the
    sides are one up to a rotation, a shift and a positive scale. Equal rows have distance 0 with a
    zero gradient; if all are equal, so have all. Raises ValueError for batches that differ or are
    below two, or dtypes. Memory: 24 × [batch, batch] + 10 × embeddings.

    Park et al., "Relational Knowledge Distillation" (2019), the distance-wise loss.

    >>> import torch
    >>> rkd_distance(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [2.0], [2.0]]))
    tensor([0.0521, 0.1042, 0.1354])
    """
    _check_pair("rkd_distance", student, teacher)
    difference = _relative_distances(student) - _relative_distances(teacher)
    return _smooth_l1(difference).mean(-1).to(student.dtype)


def _cosines(square: Tensor, anchors: slice) -> Tensor:
    """<x_j − x_i, x_k − x_i> / (|x_j − x_i| |x_k − x_i|) at [i, j, k], i one of the anchors, by the
    law of cosines from squared distances [batch, batch].
    """
    near = square[anchors]
    zero = near == 0
    inverse = near.masked_fill(zero, 1.0).rsqrt().masked_fill(zero, 0.0)
    sides = rearrange(near, "i j -> i j 1") + rearrange(near, "i k -> i 1 k")
    both = rearrange(inverse / 2, "i j -> i j 1") * rearrange(inverse, "i k -> i 1 k")
    return (sides - rearrange(square, "j k -> 1 j k")) * both


def _angles(student: Tensor, teacher: Tensor, *, anchors: slice) -> Tensor:
    """What squared distances [batch, batch] make of `rkd_angle` at the anchors."""
    return _smooth_l1(_cosines(student, anchors) - _cosines(teacher, anchors)).mean((-2, -1))


def _slices(batch: int) -> list[slice]:
    """The batch in twentieths, or in larger parts where all triplets of these are few.

    The backward holds some eight tensors of a part's triplets at once, in float64: less than one
    of all triplets in float32.
    """
    if torch.compiler.is_compiling():  # parts save it nothing and take it longer
        return [slice(None)]
    size = max(math.ceil(batch / 20), 2**15 // batch**2)
    return [slice(start, start + size) for start in range(0, batch, size)]


def _stored(square: Tensor) -> Tensor:
    """`square`, for the compiler to store: else it computes it anew for each triplet, and then
    stores three tensors of all triplets instead of one.
    """
    if not torch.compiler.is_compiling():
        return square
    # What a matrix product gives is stored, and this one is exact.
    return product(square, torch.eye(len(square), dtype=square.dtype, device=square.device))


def rkd_angle(
    student: Float[Tensor, "batch *student"], teacher: Float[Tensor, "batch *teacher"]
) -> Float[Tensor, " batch"]:
    """(1/B²) Σ_jk l(cos jik(student) − cos jik(teacher)), l the smooth L1 loss of `rkd_distance`.

    cos jik = <e_ij, e_ik> is that of the angle at the example i between the directions to j and k,
    e_ij = (x_j − x_i) / |x_j − x_i|, zero between equal rows, with a finite gradient. Both are
    [batch, ...], and may differ in width. The value lies in [0, 3/2], and is zero with a zero
    gradient where the sides are one up to a rotation, a shift and a positive scale. Raises
    ValueError for batches that differ or are below two, or dtypes. Memory: less than one
    [batch, batch, batch] in float32, or 2 MiB if that is more, and none of it is kept: the backward
    computes the cosines again. Compiled, one in float64.

    Park et al., "Relational Knowledge Distillation" (2019), the angle-wise loss; published code
    takes the mean over all B³ triplets, as here.

    >>> import torch
    >>> corner = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> rkd_angle(corner, torch.tensor([[0.0], [1.0], [-1.0]]))[:1]
    tensor([0.1111])
    """
    _check_pair("rkd_angle", student, teacher)
    squared = [_stored(_squared_distances(x)) for x in (student, teacher)]
    slices = (partial(_angles, anchors=anchors) for anchors in _slices(len(student)))
    return torch.cat([recomputed(angles, *squared) for angles in slices]).to(student.dtype)


def similarity(
    student: Float[Tensor, "batch *student"], teacher: Float[Tensor, "batch *teacher"]
) -> Float[Tensor, " batch"]:
    """(1/B) Σ_j (G_ij(student) − G_ij(teacher))², the rows of G = F Fᵀ over their L2 norms.

    Both are [batch, ...], and may differ in width; F is [batch, width]. The value lies in [0, 4/B],
    and is zero with a zero gradient where the sides are one up to a rotation and a positive scale.
    A row of zeros stays one, with a finite gradient. Raises ValueError for batches that differ or
    are below two, or dtypes. Memory: 11 × [batch, batch] + 4 × embeddings.

    Tung and Mori, "Similarity-Preserving Knowledge Distillation" (2019).

    >>> import torch
    >>> similarity(torch.eye(2), torch.tensor([[1.0], [1.0]]))
    tensor([0.2929, 0.2929])
    """
    _check_pair("similarity", student, teacher)
    s, t = (_scaled(rows(x)) for x in (student, teacher))
    difference = unit(product(s, s)) - unit(product(t, t))
    return difference.square().mean(-1).to(student.dtype)


def _taylor_gaussian(x: Tensor, gamma: Scalar, order: int) -> Tensor:
    u = unit(rows(x))
    exponent = 2 * gamma * product(u, u)
    kernel = torch.ones_like(exponent)
    for power in range(order, 0, -1):  # Horner
        kernel = 1 + kernel * exponent / power
    return kernel * (torch.exp(-2 * gamma) if isinstance(gamma, Tensor) else math.exp(-2 * gamma))


def correlation_congruence(
    student: Float[Tensor, "batch *student"],
    teacher: Float[Tensor, "batch *teacher"],
    *,
    gamma: Scalar = 0.4,
    order: int = 2,
) -> Float[Tensor, " batch"]:
    """(1/B) Σ_j (k_ij(student) − k_ij(teacher))², k = e^(−2γ) Σ_p (2γ cos)^p / p!, p = 0 … `order`.

    k is the Taylor series of the Gaussian kernel e^(−γ|u − v|²) between rows of unit length, γ is
    `gamma` in (0, 40]. Both are [batch, ...], and may differ in width. The value lies in [0, 1) and
    is zero with a zero gradient where the cosines agree. The cosine with a row of zeros is taken as
    zero, and its gradient stays finite. Raises ValueError for batches that differ or are below two,
    dtypes, γ out of range, or `order` < 1. Memory: 8 × [batch, batch] + 10 × embeddings.

    Peng et al., "Correlation Congruence for Knowledge Distillation" (2019), whose term of each
    single example is not in here. RepDistiller's CC, which it has from an author, is another, and
    without a kernel: `bilinear_congruence`.

    >>> import torch
    >>> correlation_congruence(torch.eye(2), torch.ones(2, 1), gamma=0.5, order=1)
    tensor([0.0677, 0.0677])
    """
    where = "correlation_congruence"
    _check_pair(where, student, teacher)
    _check.positive(where, gamma=gamma)
    _check.between(where, 0, 40, gamma=gamma)  # past it e^(2γ) is more than float32 can hold
    _check.beside(where, student, gamma=gamma)
    _check.whole(where, 1, order=order)
    s, t = (_taylor_gaussian(x, gamma, order) for x in (student, teacher))
    return (s - t).square().mean(-1).to(student.dtype)


def _log_affinities(x: Tensor) -> Tensor:
    """log of each row of (cos + 1)/2 over its sum, leaving the example itself out at -inf.

    In float64, for rows that all point one way give probabilities that hardly differ.
    """
    u = unit(rows(x).double())
    kernel = ((1 + product(u, u)) / 2).clamp(min=1e-7)
    itself = torch.eye(len(u), dtype=torch.bool, device=u.device)
    return F.log_softmax(kernel.log().masked_fill(itself, -math.inf), -1)


def pkt(
    student: Float[Tensor, "batch *student"], teacher: Float[Tensor, "batch *teacher"]
) -> Float[Tensor, " batch"]:
    """Σ_j p_ij log(p_ij / q_ij) over j ≠ i, p of the teacher and q of the student, in nats.

    p_ij = K_ij / Σ_k≠i K_ik with K = (cos + 1)/2. Both are [batch, ...], and may differ in width.
    The value is not negative, and zero with a zero gradient where the cosines agree, and in a batch
    of two, where p = q = 1 whatever the cosines are. Where rows point in opposite ways K would be
    zero and the value infinite: K is held at 1e-7 or more, with no gradient below. The cosine with
    a row of zeros is taken as zero, and its gradient stays finite. Raises ValueError for batches
    that differ or are below two, or dtypes. Memory: 11 × [batch, batch] + 20 × embeddings.

    Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer"
    (2018). The paper leaves j = i out and sums over the batch; the authors' code counts it in, adds
    1e-7 to p and q, and takes the mean over all B² pairs, which is 1/B of a mean over the batch.

    >>> import torch
    >>> teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> pkt(torch.ones(3, 1), teacher)
    tensor([0.0566, 0.0566, 0.0000])
    """
    _check_pair("pkt", student, teacher)
    log_q, log_p = _log_affinities(student), _log_affinities(teacher)
    return kl(log_p, log_q).to(student.dtype)


def _centred_kernel(x: Tensor) -> Tensor:
    """The linear kernel of the centred rows over its Frobenius norm; zero if all rows are equal."""
    x = rows(x)
    x = x - x[:1].detach()  # equal rows become zero exactly; no shift changes the rest
    x = _scaled(x - x.mean(0))
    kernel = product(x, x)
    return unit(kernel.flatten()).reshape(kernel.shape)


def cka_distance(
    student: Float[Tensor, "batch *student"], teacher: Float[Tensor, "batch *teacher"]
) -> Float[Tensor, " batch"]:
    """(B/2) Σ_j (K_ij − L_ij)², whose mean is 1 − HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)).

    K and L are the linear kernels of the student's and the teacher's centred rows over their
    Frobenius norms, so that the mean is |K − L|²/2 = 1 − <K, L>: the distance, in [0, 1]; this
    split gives each example its own part. Both are [batch, ...], and may differ in width. A value
    lies in [0, B], and is zero with a zero gradient where the sides are one up to a rotation, a
    shift and a positive scale. If all rows of a side are equal, its kernel is zero with a finite
    gradient, and the mean 1/2, or 0 if those of the other side are too. Raises ValueError for
    batches that differ or are below two, or dtypes. Memory: 10 × [batch, batch] + 4 × embeddings.

    Kornblith et al., "Similarity of Neural Network Representations Revisited" (2019), section 3.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> cka_distance(x, x[:, :1]).mean()
    tensor(0.2929)
    """
    _check_pair("cka_distance", student, teacher)
    difference = _centred_kernel(student) - _centred_kernel(teacher)
    return (len(student) / 2 * difference.square().sum(-1)).to(student.dtype)
