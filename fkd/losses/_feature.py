"""Losses of features: a layer of the student against a layer of the teacher, shape by shape."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._numeric import not_negative, rows, unit, widen


def _check_pair(where: str, student: Tensor, teacher: Tensor) -> None:
    _check.dimensions(where, "batch features ...", student=student, teacher=teacher)
    _check.same_shape(where, student=student, teacher=teacher)
    _check.floating(where, student=student, teacher=teacher)


def _check_channels(where: str, student: Tensor, teacher: Tensor, **values: Tensor) -> None:
    _check_pair(where, student, teacher)
    _check.tensor(where, student=student, **values)
    _check.floating(where, **values)
    for name, x in values.items():
        if x.shape != student.shape[1:2]:
            raise ValueError(
                f"{where}: {name} must be [channels] of student, "
                f"but {name} is {tuple(x.shape)} and student is {tuple(student.shape)}"
            )


def _positions(x: Tensor) -> Tensor:
    return rearrange(widen(x), "batch channels ... -> batch channels (...)")


def squared_error(
    student: Float[Tensor, "batch *features"], teacher: Float[Tensor, "batch *features"]
) -> Float[Tensor, " batch"]:
    """(1/n) Σ_i (student_i − teacher_i)² over an example's n elements, in squared feature units.

    Both are [batch, ...] of one shape. The value is not negative, and zero with a zero gradient at
    equality; the gradient is 2(student − teacher)/n. Raises ValueError for shapes that differ or
    dtypes. Through a trainable head this is the hint loss of FitNets, whose equation 3 has 1/2 and
    the sum over elements where published code takes this mean. Memory: 6 × features.

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
    for shapes that differ or dtypes. Memory: 9 × features.

    The third of the four losses in PyTorch's knowledge distillation tutorial, as
    `torch.nn.CosineEmbeddingLoss` with target 1.

    >>> import torch
    >>> cosine_distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
    tensor([0.0400])
    """
    _check_pair("cosine_distance", student, teacher)
    cosine = (unit(rows(student)) * unit(rows(teacher))).sum(-1)
    return not_negative(1 - cosine).to(student.dtype)


def activation_boundary(
    student: Float[Tensor, "batch *features"],
    teacher: Float[Tensor, "batch *features"],
    *,
    margin: Scalar = 1.0,
) -> Float[Tensor, " batch"]:
    """Σ_i (μ + s_i)₊² where t_i ≤ 0 and (μ − s_i)₊² where t_i > 0, in squared feature units.

    Both are [batch, ...] of one shape and from before the activation; μ is `margin` ≥ 0. The value
    is not negative, and zero where every s_i lies μ beyond zero on its t_i's side; the gradient is
    ±2(μ ± s_i)₊ to the student and zero to the teacher, of whom only the signs count. Raises
    ValueError for shapes that differ, dtypes, or μ < 0. Memory: 5 × features. Summed over the
    elements, as in the paper and its code.

    Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden
    Neurons" (2019).

    >>> import torch
    >>> activation_boundary(torch.tensor([[0.5, 0.5, 3.0]]), torch.tensor([[-1.0, 2.0, 9.0]]))
    tensor([2.5000])
    """
    _check_pair("activation_boundary", student, teacher)
    _check.not_negative("activation_boundary", margin=margin)
    _check.beside("activation_boundary", student, margin=margin)
    s = rows(student)
    short = torch.where(rows(teacher) > 0, margin - s, margin + s).relu()
    return short.square().sum(-1).to(student.dtype)


def factor_transfer(
    student: Float[Tensor, "batch *features"], teacher: Float[Tensor, "batch *features"]
) -> Float[Tensor, " batch"]:
    """Σ_i |s_i / |s| − t_i / |t||, with |·| the L2 norm over an example's elements, without unit.

    Both are factors [batch, ...] of one shape: the teacher's from a paraphraser, the student's from
    a translator. The value lies in [0, 2√n] for n elements, and is zero with a zero gradient where
    s is a positive multiple of t; a factor of zeros stays zero and its gradient finite. Kinks where
    elements meet take the subgradient zero. Raises ValueError for shapes that differ or dtypes.
    Memory: 12 × features. The norm of the paper, with p = 1; RepDistiller takes the mean over
    elements.

    Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via Factor Transfer"
    (2018).

    >>> import torch
    >>> factor_transfer(torch.tensor([[3.0, 4.0]]), torch.tensor([[-4.0, 3.0]]))
    tensor([1.6000])
    """
    _check_pair("factor_transfer", student, teacher)
    return (unit(rows(student)) - unit(rows(teacher))).abs().sum(-1).to(student.dtype)


def vid(
    student: Float[Tensor, "batch channels *positions"],
    teacher: Float[Tensor, "batch channels *positions"],
    variance: Float[Tensor, " channels"],
) -> Float[Tensor, " batch"]:
    """(1/n) Σ_cp ½ ((s_cp − t_cp)² / v_c + log v_c) over an example's n elements, in nats.

    Student (the mean that its regressor predicts) and teacher are [batch, channels, ...] of one
    shape, v is `variance` [channels] > 0, trained with the student. The value has no lower bound as
    v goes to zero; at any v it is least at s = t, and at any errors where v_c is their mean square.
    The student's gradient is (s − t)/(n v). Raises ValueError for shapes that do not fit or dtypes.
    Memory: 6 × features. Up to a constant it is the paper's −log q(t|s); that is summed over the
    elements, where published code takes this mean.

    Ahn et al., "Variational Information Distillation for Knowledge Transfer" (2019).

    >>> import torch
    >>> vid(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]]), torch.ones(2))
    tensor([1.])
    """
    _check_channels("vid", student, teacher, variance=variance)
    least, _ = _check.extremes(variance) or (1.0, 1.0)
    if least <= 0:
        raise ValueError(f"vid: variance must be above zero, but one channel's is {least}")
    v = widen(variance)
    squared = (_positions(student) - _positions(teacher)).square()
    return (0.5 * ((squared / v[:, None]).mean((1, 2)) + v.log().mean())).to(student.dtype)


def ofd(
    student: Float[Tensor, "batch channels *positions"],
    teacher: Float[Tensor, "batch channels *positions"],
    margin: Float[Tensor, " channels"],
) -> Float[Tensor, " batch"]:
    """Σ_i (s_i − t'_i)² except 0 where s_i ≤ t'_i ≤ 0, with t' = max(t, margin of its channel).

    Student and teacher are [batch, channels, ...] of one shape from before the ReLU, `margin` is
    [channels] ≤ 0: `batchnorm_margin` of the teacher's last layer, or `mean_negative` of its maps.
    The value, in squared feature units, is not negative, and zero with a zero gradient at equality;
    the student's gradient is 2(s − t') or 0. Raises ValueError for shapes that do not fit or
    dtypes. Memory: 5 × features. Summed over the elements, as in the paper and its code, which then
    divides by 1000.

    Heo et al., "A Comprehensive Overhaul of Feature Distillation" (2019).

    >>> import torch
    >>> s, t = torch.tensor([[1.0, -5.0, 1.0]]), torch.tensor([[3.0, -4.0, -4.0]])
    >>> ofd(s, t, torch.tensor([-1.0, -1.0, -1.0]))
    tensor([8.])
    """
    _check_channels("ofd", student, teacher, margin=margin)
    _, largest = _check.extremes(margin) or (0.0, 0.0)
    if largest > 0:
        raise ValueError(f"ofd: margin must be zero or less, but one channel's is {largest}")
    s, t = _positions(student), torch.maximum(_positions(teacher), widen(margin)[:, None])
    difference = (s - t).masked_fill((s <= t) & (t <= 0), 0.0)
    return difference.square().sum((1, 2)).to(student.dtype)


def _over_the_batch(x: Tensor) -> Tensor:
    """Each feature [features, batch] with mean 0 and variance 1 over the batch; a constant, 0."""
    x = rows(x).mT
    # Taking a constant off first leaves no rounding error of a mean where nothing varies.
    x = x - x.detach()[:, :1]
    return unit(x - x.mean(-1, keepdim=True)) * x.shape[-1] ** 0.5


def srd(
    student: Float[Tensor, "batch *features"], teacher: Float[Tensor, "batch *features"]
) -> Float[Tensor, " batch"]:
    """log((1/B) Σ_bi (ŝ_bi − t̂_bi)⁴), one number, of every example the same.

    ŝ and t̂ are student and teacher with mean 0 and variance (over B) 1 in each element over the B
    examples, so a value depends on the other examples. Both are [batch, ...] of one shape. Where
    the sides come near one another the value falls without bound and the gradient grows as
    1/|ŝ − t̂|; where they agree in all, as a batch of two often does, it is held at the logarithm of
    the least number that the dtype has, with a zero gradient. A constant element counts as zeros,
    its gradient finite. Raises ValueError for shapes that differ, batches below two, or dtypes.
    Memory: 15 × features.

    Miles and Mikolajczyk, "Understanding the Role of the Projector in Knowledge Distillation"
    (2024), with α = 4. The paper has the logarithm of the sum over the batch, which grows with it
    by log B, at the same gradient; its code for ImageNet standardises by a BatchNorm, with 1e-4
    beside the variance, and that for transformers has log Σ_i (1 − c_i)⁴ of correlations c_i.

    >>> import torch
    >>> student, teacher = torch.tensor([[1.0, 3.0, 1.0, 3.0], [1.0, 1.0, 3.0, 3.0]])
    >>> srd(student[:, None], teacher[:, None])  # log(½ 2⁴)
    tensor([2.0794, 2.0794, 2.0794, 2.0794])
    """
    _check_pair("srd", student, teacher)
    _check.several("srd", student=student)
    difference = _over_the_batch(student) - _over_the_batch(teacher)
    # Over the largest, held constant, no fourth power is too small for its dtype.
    largest = difference.detach().abs().amax()
    same = largest == 0
    scaled = difference / largest.masked_fill(same, 1.0)
    total = scaled.square().square().sum().masked_fill(same, 1.0)
    floor = math.log(torch.finfo(difference.dtype).tiny)
    scale = largest.masked_fill(same, 1.0).log() * 4 - math.log(len(student))
    value = torch.where(same, floor, total.log() + scale)
    return value.expand(len(student)).to(student.dtype)


def bilinear_congruence(
    student: Float[Tensor, "batch *features"], teacher: Float[Tensor, "batch *features"]
) -> Float[Tensor, " batch"]:
    """B/(2(B − 1)) (<d_i−1, d_i> + <d_i, d_i+1>), d_i = |student_i − teacher_i| element by element.

    Its mean over the batch is that of <d_i, d_i+1> over the B − 1 pairs of neighbours, in the order
    in which the examples stand; the first and the last have one neighbour. Both are [batch, ...] of
    one shape. The value, in squared feature units, is not negative, and zero with a zero gradient
    at equality; where elements meet, d has a kink and takes the subgradient zero. In a batch in
    random order the mean is on average that over all pairs of examples. Raises ValueError for
    shapes that differ, batches below two, or dtypes. Memory: 4 × features.

    Peng et al., "Correlation Congruence for Knowledge Distillation" (2019), as RepDistiller has it,
    by code of an author's. The paper compares what a kernel makes of each side's own pairs, as
    `correlation_congruence` does.

    >>> import torch
    >>> bilinear_congruence(torch.tensor([[1.0], [2.0], [-4.0]]), torch.zeros(3, 1))
    tensor([1.5000, 7.5000, 6.0000])
    """
    _check_pair("bilinear_congruence", student, teacher)
    _check.several("bilinear_congruence", student=student)
    error = (rows(student) - rows(teacher)).abs()
    pairs = (error[:-1] * error[1:]).sum(-1)
    both = F.pad(pairs, (1, 0)) + F.pad(pairs, (0, 1))
    return (both * (len(error) / (2 * (len(error) - 1)))).to(student.dtype)


def batchnorm_margin(
    weight: Float[Tensor, " channels"], bias: Float[Tensor, " channels"]
) -> Float[Tensor, " channels"]:
    """b − |w| φ(b/|w|) / Φ(−b/|w|): the mean of the negative part of N(b, w²), for `ofd`.

    `weight` and `bias` are those of the teacher's BatchNorm, [channels]. Where Φ ≤ 0.001, and
    hardly a response is negative, it is −3|w|, as in the authors' code; where w = 0, min(b, 0).

    >>> import torch
    >>> batchnorm_margin(torch.tensor([1.0, -1.0, 0.0]), torch.tensor([0.0, 9.0, -2.0]))
    tensor([-0.7979, -3.0000, -2.0000])
    """
    _check.dimensions("batchnorm_margin", "channels", weight=weight, bias=bias)
    _check.same_shape("batchnorm_margin", weight=weight, bias=bias)
    _check.floating("batchnorm_margin", weight=weight, bias=bias)
    w, b = widen(weight).abs(), widen(bias)
    # So far from zero φ is below rounding; w = 0 and a quotient that overflows are among them.
    far = b.abs() > 10 * w
    z = b.masked_fill(far, 0.0) / w.masked_fill(far | (w == 0), 1.0)
    rare = (far & (b > 0)) | (torch.special.ndtr(-z) <= 0.001)
    z = z.masked_fill(rare, 0.0)
    ratio = (-z.square() / 2 - torch.special.log_ndtr(-z)).exp() / math.sqrt(2 * math.pi)
    margin = torch.where(far, b, b - w * ratio)
    return torch.where(rare, -3 * w, margin).to(weight.dtype)


def mean_negative(maps: Float[Tensor, "batch channels *positions"]) -> Float[Tensor, " channels"]:
    """The mean of each channel's negative responses, 0 where it has none, for `ofd`.

    >>> import torch
    >>> mean_negative(torch.tensor([[-1.0, 2.0], [-3.0, 4.0], [8.0, 0.0]]))
    tensor([-2.,  0.])
    """
    _check.dimensions("mean_negative", "batch channels ...", maps=maps)
    _check.floating("mean_negative", maps=maps)
    x = _positions(maps)
    return (x.clamp(max=0).sum((0, 2)) / (x < 0).sum((0, 2)).clamp(min=1)).to(maps.dtype)
