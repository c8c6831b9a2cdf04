"""Losses of feature maps by a summary of them: attention, flow, selectivity, correlation."""

from collections.abc import Callable

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._numeric import not_negative, product, rows, unit, widen
from fkd.losses._response import kl, log_softmax

Maps = Float[Tensor, "batch channels height width"]
MAPS = "batch channels height width"


def _check_maps(where: str, axes: str, student: Tensor, teacher: Tensor) -> None:
    _check.dimensions(where, MAPS, student=student, teacher=teacher)
    _check.agree(where, axes, student=student, teacher=teacher)
    _check.floating(where, student=student, teacher=teacher)


def check_layers(
    where: str,
    student_first: Tensor,
    student_last: Tensor,
    teacher_first: Tensor,
    teacher_last: Tensor,
) -> None:
    """Raise unless they are maps of one batch, and those of a layer agree in channels."""
    _check.dimensions(where, MAPS, student_first=student_first, teacher_first=teacher_first)
    _check.dimensions(where, MAPS, student_last=student_last, teacher_last=teacher_last)
    both = "batch channels"
    _check.agree(where, both, student_first=student_first, teacher_first=teacher_first)
    _check.agree(where, both, student_last=student_last, teacher_last=teacher_last)
    _check.agree(where, "batch", student_first=student_first, student_last=student_last)
    _check.tensor(where, student_first=student_first, teacher_last=teacher_last)
    _check.floating(where, student_first=student_first, teacher_first=teacher_first)
    _check.floating(where, student_last=student_last, teacher_last=teacher_last)


def _channels(x: Tensor) -> Tensor:
    return rearrange(widen(x), "batch channels height width -> batch channels (height width)")


def _of_one_size(
    x: Tensor, y: Tensor, pool: Callable[..., Tensor] = F.adaptive_avg_pool2d
) -> tuple[Tensor, Tensor]:
    """Both maps at the smaller height and the smaller width of the two."""
    size = min(x.shape[-2], y.shape[-2]), min(x.shape[-1], y.shape[-1])
    x = x if x.shape[-2:] == size else pool(x, size)
    return x, y if y.shape[-2:] == size else pool(y, size)


def scaled(x: Tensor) -> Tensor:
    """Each example over its largest element, held constant: for what no scale changes."""
    largest = x.detach().abs().flatten(1).amax(-1)
    return x / largest.masked_fill(largest == 0, 1.0).reshape(-1, *[1] * (x.ndim - 1))


def _attention(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    s, t = (scaled(widen(x)).square().sum(1, keepdim=True) for x in (student, teacher))
    s, t = _of_one_size(s, t)
    return unit(rows(s)), unit(rows(t))


def attention_transfer(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch teacher_channels teacher_height teacher_width"],
) -> Float[Tensor, " batch"]:
    """|a_s/|a_s| − a_t/|a_t||, with a = Σ_c f_c² at each position and |·| the L2 norm, unitless.

    Maps [batch, channels, height, width] of one batch; the larger attention map is average-pooled
    to the smaller. The value lies in [0, √2], and is zero at equality, where the norm has a kink
    and takes the subgradient zero; elsewhere the gradient does not shrink near it. An attention map
    of zeros stays zero, its gradient finite. Raises ValueError for axes, batch or dtypes.
    Memory: 5 × maps. The form of the paper, which weighs it with β/2; its code has
    `attention_transfer_squared`.

    Zagoruyko and Komodakis, "Paying More Attention to Attention" (2017), equation 2.

    >>> import torch
    >>> s, t = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0]], [[0.0, 2.0]]]])
    >>> attention_transfer(s, t)
    tensor([1.4142])
    """
    _check_maps("attention_transfer", "batch", student, teacher)
    s, t = _attention(student, teacher)
    squared = (s - t).square().sum(-1)
    same = squared == 0
    return squared.masked_fill(same, 1.0).sqrt().masked_fill(same, 0.0).to(student.dtype)


def attention_transfer_squared(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch teacher_channels teacher_height teacher_width"],
) -> Float[Tensor, " batch"]:
    """(1/n) |a_s/|a_s| − a_t/|a_t||² over n positions, with a = Σ_c f_c² at each, unitless.

    Maps [batch, channels, height, width] of one batch; the larger attention map is average-pooled
    to the smaller. The value lies in [0, 2/n], and is zero with a zero gradient at equality; an
    attention map of zeros stays zero, its gradient finite. Raises ValueError for axes, batch or
    dtypes. Memory: 5 × maps. The form of the authors' code; the paper's is `attention_transfer`.
    RepDistiller pools the features instead of their attention.

    Zagoruyko and Komodakis, "Paying More Attention to Attention" (2017), section 3.1.

    >>> import torch
    >>> s, t = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0]], [[0.0, 2.0]]]])
    >>> attention_transfer_squared(s, t)
    tensor([1.])
    """
    _check_maps("attention_transfer_squared", "batch", student, teacher)
    s, t = _attention(student, teacher)
    return (s - t).square().mean(-1).to(student.dtype)


def _flow(first: Tensor, last: Tensor) -> Tensor:
    first, last = _of_one_size(widen(first), widen(last), F.adaptive_max_pool2d)
    first, last = _channels(first), _channels(last)
    return product(first, last) / first.shape[-1]


def flow(
    first: Float[Tensor, "batch channels height width"],
    last: Float[Tensor, "batch last_channels last_height last_width"],
) -> Float[Tensor, "batch channels last_channels"]:
    """(1/n) Σ_p first_ip last_jp over n positions: the flow matrix between two layers, for `fsp`.

    The larger map is max-pooled to the smaller, as in the paper; RepDistiller pools the average.

    >>> import torch
    >>> flow(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 4.0]], [[0.0, 1.0]]]]))
    tensor([[[5.5000, 1.0000]]])
    """
    _check.dimensions("flow", MAPS, first=first, last=last)
    _check.agree("flow", "batch", first=first, last=last)
    _check.floating("flow", first=first, last=last)
    return _flow(first, last).to(first.dtype)


def fsp(
    student_first: Float[Tensor, "batch channels height width"],
    student_last: Float[Tensor, "batch last_channels last_height last_width"],
    teacher_first: Float[Tensor, "batch channels teacher_height teacher_width"],
    teacher_last: Float[Tensor, "batch last_channels teacher_last_height teacher_last_width"],
) -> Float[Tensor, " batch"]:
    """Σ_ij (G_s − G_t)_ij², with G the `flow` matrix from a first to a last layer.

    Maps [batch, channels, height, width]; student and teacher agree in batch and, layer by layer,
    in channels. The value, in features to the fourth power, is not negative, and zero with a zero
    gradient where the flows agree. Raises ValueError for axes, shapes or dtypes.
    Memory: 4 × [batch, channels, channels] + 1 × maps. The squared norm of the paper; RepDistiller
    takes the mean over the matrix.

    Yim et al., "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and
    Transfer Learning" (2017), section 3.

    >>> import torch
    >>> s, t = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[2.0, 2.0]]]])
    >>> fsp(s, s, t, t)
    tensor([2.2500])
    """
    check_layers("fsp", student_first, student_last, teacher_first, teacher_last)
    difference = _flow(student_first, student_last) - _flow(teacher_first, teacher_last)
    return difference.square().sum((1, 2)).to(student_first.dtype)


def nst(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch teacher_channels teacher_height teacher_width"],
) -> Float[Tensor, " batch"]:
    """mean k(s_i, s_j) + mean k(t_i, t_j) − 2 mean k(s_i, t_j) over channels, k(x, y) = <x, y>².

    Maps [batch, channels, height, width] of one batch, each channel over its L2 norm; the larger
    map is average-pooled to the smaller, as in RepDistiller. The value, without unit, lies in
    [0, 2], and is zero with a zero gradient at equality; a dead channel stays zero, its gradient
    finite. Raises ValueError for axes, batch or dtypes. Memory: 14 × maps.

    Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer" (2017),
    with its polynomial kernel (d = 2, c = 0). The authors' code compares maps of one size, and
    leaves the constant mean k(t_i, t_j) out.

    >>> import torch
    >>> nst(torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 3.0]], [[2.0, 0.0]]]]))
    tensor([0.5000])
    """
    _check_maps("nst", "batch", student, teacher)
    s, t = (unit(_channels(x)) for x in _of_one_size(widen(student), widen(teacher)))
    if s.shape[-1] <= max(s.shape[1], t.shape[1]):
        # the same number by positions, for <x, y>² = <x x', y y'>
        difference = product(s.mT, s.mT) / s.shape[1] - product(t.mT, t.mT) / t.shape[1]
        return difference.square().sum((1, 2)).to(student.dtype)
    one, two, both = (product(x, y).square().mean((1, 2)) for x, y in ((s, s), (t, t), (s, t)))
    return not_negative(one + two - 2 * both).to(student.dtype)


def hierarchical_context(student: Maps, teacher: Maps) -> Float[Tensor, " batch"]:
    """Σ_l w_l (mean square of s − t average-pooled to l×l) / Σ_l w_l, in squared feature units.

    Both are [batch, channels, height, width] of one shape. The first level is the map itself with
    w = 1; then those of 4, 2, 1 that are below its height follow, each with half the weight of the
    one before it. The value is not negative, and zero with a zero gradient at equality. Raises
    ValueError for shapes that differ or dtypes. Memory: 7 × maps. The levels and weights are those
    of the authors' code.

    Chen et al., "Distilling Knowledge via Knowledge Review" (2021), hierarchical context loss.

    >>> import torch
    >>> hierarchical_context(torch.tensor([[[[3.0], [1.0]]]]), torch.zeros(1, 1, 2, 1))
    tensor([4.6667])
    """
    _check_maps("hierarchical_context", MAPS, student, teacher)
    difference = widen(student) - widen(teacher)
    loss, weight, total = rows(difference).square().mean(-1), 1.0, 1.0
    for level in (4, 2, 1):
        if level < student.shape[2]:
            pooled = F.adaptive_avg_pool2d(difference, level)
            weight = weight / 2
            total = total + weight
            loss = loss + weight * rows(pooled).square().mean(-1)
    return (loss / total).to(student.dtype)


def channel_wise_divergence(
    student: Maps, teacher: Maps, *, temperature: Scalar = 4.0
) -> Float[Tensor, " batch"]:
    """(T²/C) Σ_c KL(p_c || q_c), with p_c and q_c the softmax over positions of channel c, in nats.

    Both are [batch, channels, height, width] of one shape, p of teacher/T, q of student/T, T is
    `temperature` > 0. The value is not negative, and zero with a zero gradient where each channel
    agrees up to a constant; the student's gradient is T(q − p)/C. Raises ValueError for shapes that
    differ, dtypes, or T ≤ 0. Memory: 6 × maps.

    Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction" (2021), as in its code.

    >>> import torch
    >>> s, t = torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, 3.0]]]]).log()
    >>> channel_wise_divergence(s, t, temperature=1.0)
    tensor([0.6931])
    """
    _check_maps("channel_wise_divergence", MAPS, student, teacher)
    _check.temperature("channel_wise_divergence", temperature=temperature)
    _check.beside("channel_wise_divergence", student, temperature=temperature)
    log_q, log_p = (log_softmax(_channels(x), temperature) for x in (student, teacher))
    return (temperature**2 * kl(log_p, log_q).mean(-1)).to(student.dtype)


def _standardised(x: Tensor) -> Tensor:
    """Maps with mean 0 and variance 1 in each channel over batch and positions; a constant, 0."""
    channels = rearrange(widen(x), "batch channels h w -> channels (batch h w)")
    # Taking a constant off first leaves no rounding error of a mean where nothing varies.
    channels = channels - channels.detach()[:, :1]
    centred = channels - channels.mean(-1, keepdim=True)
    standard = unit(centred) * (centred.shape[-1] - 1) ** 0.5
    return rearrange(standard, "channels (batch p) -> batch (channels p)", batch=len(x))


def pkd(student: Maps, teacher: Maps) -> Float[Tensor, " batch"]:
    """½ mean over an example's elements of (ŝ − t̂)², each channel standardised, without unit.

    Both are [batch, channels, height, width] of one shape; ŝ and t̂ have mean 0 and (unbiased)
    variance 1 in each channel over the batch and its m positions, so a value depends on the other
    examples. The batch's mean is (1 − 1/m)(1 − r), with r the mean over channels of Pearson's
    correlation. The value is not negative, and zero with a zero gradient where each channel of s is
    one of t times a positive number plus another; a constant channel counts as zeros, its gradient
    finite. Raises ValueError for shapes that differ or dtypes. Memory: 12 × maps. As the paper,
    without the 1e-6 that its code adds to the deviation.

    Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient" (2022).

    >>> import torch
    >>> pkd(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[9.0, 5.0]]]]))
    tensor([1.0000])
    """
    _check_maps("pkd", MAPS, student, teacher)
    difference = _standardised(student) - _standardised(teacher)
    return (0.5 * difference.square().mean(-1)).to(student.dtype)


def _correlation(x: Tensor) -> Tensor:
    channels = scaled(_channels(x))
    return unit(product(channels, channels))


def inter_channel_correlation(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels teacher_height teacher_width"],
) -> Float[Tensor, " batch"]:
    """(1/C) Σ_ij (G_s − G_t)_ij², with G = f f' over positions, rows over their L2 norm, unitless.

    Maps [batch, C, height, width] that agree in batch and channels; their sizes may differ. The
    value lies in [0, 4], and is zero with a zero gradient at equality; the row of a dead channel
    stays zero, with a finite gradient of the size that the other channels have. Raises ValueError
    for axes, shapes or dtypes. Memory: 11 × [batch, channels, channels] + 4 × maps. The form of the
    authors' code.

    Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved Knowledge
    Distillation" (2021), ICKD-C.

    >>> import torch
    >>> s, t = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]]), torch.tensor([[[[1.0]], [[0.0]]]])
    >>> inter_channel_correlation(s, t)
    tensor([0.5000])
    """
    _check_maps("inter_channel_correlation", "batch channels", student, teacher)
    difference = _correlation(student) - _correlation(teacher)
    return (difference.square().sum((1, 2)) / student.shape[1]).to(student.dtype)
