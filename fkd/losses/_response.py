"""Losses of logits: what the student answers against what the teacher or the label says."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._mask import check_mask, filled, zeroed
from fkd.losses._numeric import not_negative, tempered, widen


def log_softmax(logits: Tensor, temperature: Scalar) -> Tensor:
    """log softmax(logits / T) in float32 or wider; a logit of −inf is a probability of zero."""
    return F.log_softmax(tempered(widen(logits), temperature), dim=-1)


def cross(log_p: Tensor, log_q: Tensor) -> Tensor:
    """−Σ_c p_c log q_c of log-probabilities; where p_c is zero (log p = −inf) its term is too."""
    return not_negative(-(log_p.exp() * log_q.masked_fill(log_p.isneginf(), 0.0)).sum(-1))


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Σ_c p_c log(p_c / q_c) of log-probabilities; where p_c is zero its term is too."""
    # Of the difference of the logs, and not of two sums, which would cancel near p = q.
    terms = log_p.exp() * (log_p - log_q).masked_fill(log_p.isneginf(), 0.0)
    return not_negative(terms.sum(-1))


def check_pair(
    where: str,
    student: Tensor,
    teacher: Tensor,
    temperature: Scalar,
    mask: Tensor | None = None,
) -> None:
    """Raise unless both are logits [..., classes] of one shape, T is above zero, and mask fits."""
    _check.dimensions(where, "... classes", student=student, teacher=teacher)
    _check.same_shape(where, student=student, teacher=teacher)
    check_classes(where, student)
    _check.floating(where, student=student, teacher=teacher)
    _check.temperature(where, temperature=temperature)
    _check.beside(where, student, temperature=temperature)
    check_mask(where, student, mask)


def check_classes(where: str, student: Tensor) -> None:
    """Raise for logits of one class, whose softmax is 1 whatever they are: nothing is learnt."""
    if student.shape[-1] == 1:
        raise ValueError(
            f"{where}: logits must be of two classes or more, but student is "
            f"{tuple(student.shape)}, and the softmax of one number is always 1; of one logit for "
            "yes or no give F.pad(logit, (1, 0)), and so of a teacher; of a number that is no "
            "logit take losses.squared_error"
        )


def check_labels(where: str, student: Tensor, labels: Tensor, mask: Tensor | None) -> None:
    """Raise unless each position of the student's logits has one of its classes as a whole number.

    That the number is a class is seen where values may be read (`_check.extremes`), and where the
    mask is False it need not be one.
    """
    _check.tensor(where, student=student, labels=labels)
    _check.integral(where, labels=labels)
    if labels.shape != student.shape[:-1]:
        raise ValueError(
            f"{where}: student must be [..., classes] and labels [...], "
            f"but student is {tuple(student.shape)} and labels is {tuple(labels.shape)}"
            f"{_remedy(student, labels)}"
        )
    classes = student.shape[-1]
    other = _no_class(labels, classes)
    if other is not None and mask is not None:
        other = _no_class(labels.long().masked_fill(~mask, 0), classes)
    if other is not None:
        raise ValueError(
            f"{where}: labels must lie in [0, {classes}), for student has {classes} classes, but "
            f"there is the label {other}; where such a position is to be left out, give "
            f"mask=labels != {other}"
        )


def _remedy(student: Tensor, labels: Tensor) -> str:
    """What to do about labels of another shape, where that is plain."""
    if student.ndim > 2 and labels.shape == student.shape[:1] + student.shape[2:]:
        return "; of classes along axis 1 give student.movedim(1, -1), and so of a teacher"
    if labels.shape == student.shape:
        return "; of rows of zeros and ones give labels.float()"
    return "; give labels.squeeze(-1)" if labels.shape == (*student.shape[:-1], 1) else ""


def _no_class(labels: Tensor, classes: int) -> int | None:
    """A label that is none of so many classes; None where all are, or are not to be read."""
    found = _check.extremes(labels.long())
    return next((int(x) for x in found or () if not 0 <= x < classes), None)


def at_label(labels: Tensor, classes: int) -> Tensor:
    """[..., classes], True at the label. One that is no class ends in torch's own error, also where
    `check_labels` may not read it, for it is looked up: a comparison alone, as a compiler makes of
    a scatter, would be False everywhere."""
    places = torch.arange(classes, device=labels.device)
    rows = places.expand(*labels.shape, classes)
    return places == rows.gather(-1, labels.long().unsqueeze(-1))


def _right(log_q: Tensor, labels: Tensor) -> Tensor:
    """Σ_c y_c log q_c of labels y, as numbers or soft; where y_c = 0 and log q_c = −inf, 0."""
    if not labels.is_floating_point():
        return log_q.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    y = labels.to(log_q.dtype)
    return (y * log_q.masked_fill((y == 0) & log_q.isneginf(), 0.0)).sum(-1)


def cross_entropy(
    student: Float[Tensor, "*batch classes"],
    labels: Int[Tensor, "*batch"] | Float[Tensor, "*batch classes"],
    *,
    label_smoothing: Scalar = 0.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """−(1−ε) Σ_c y_c log q_c − (ε/C) Σ_c log q_c, with q = softmax(student), in nats.

    `student` are logits [..., classes]. `labels` are whole numbers [...] in [0, classes), for which
    y is one at the label and zero elsewhere, or soft labels y [..., classes], floating-point,
    probabilities that are not checked to be so. ε is `label_smoothing` in [0, 1]; `mask` [...] is
    True where a position counts. The value is not negative. Where Σ_c y_c = 1 its gradient is q
    minus the smoothed label. Raises ValueError for shapes that do not fit, dtypes, a label that is
    no class, or ε out of range. Memory: 5 × logits.

    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7.

    >>> import torch
    >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))
    tensor([1.3863, 1.3863])
    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([[0.5, 0.5, 0.0, 0.0]]))
    tensor([1.3863])
    """
    _check.dimensions("cross_entropy", "... classes", student=student)
    check_classes("cross_entropy", student)
    _check.floating("cross_entropy", student=student)
    _check.between("cross_entropy", 0, 1, label_smoothing=label_smoothing)
    _check.beside("cross_entropy", student, label_smoothing=label_smoothing)
    check_mask("cross_entropy", student, mask)
    _check.tensor("cross_entropy", student=student, labels=labels)
    if not labels.is_floating_point():
        check_labels("cross_entropy", student, labels, mask)
    elif labels.shape != student.shape:
        raise ValueError(
            f"cross_entropy: labels must be whole numbers [...], or soft in the student's shape "
            f"[..., classes], but student is {tuple(student.shape)} and labels is "
            f"{tuple(labels.shape)} of {labels.dtype}"
        )
    if labels.is_floating_point():
        _check.floating("cross_entropy", labels=labels)
    else:
        labels = labels.long()  # masks are not laid on every dtype of whole numbers
    student, labels = filled(mask, student, labels)
    log_q = log_softmax(student, 1.0)
    right = _right(log_q, labels)
    # Of a class of probability zero, 0 · log q is zero.
    even = log_q.masked_fill(log_q.isneginf() & (label_smoothing == 0), 0.0).mean(-1)
    loss = -(1 - label_smoothing) * right - label_smoothing * even
    return zeroed(mask, loss).to(student.dtype)


def soft_cross_entropy(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """T² · −Σ_c p_c log q_c, with p = softmax(teacher/T) and q = softmax(student/T), in nats.

    Both are logits [..., classes], T is `temperature` > 0; `mask` [...] is True where a position
    counts. The value is at least T² times the entropy of p, which it reaches at q = p; with respect
    to the student its gradient T(q − p) is that of `kl_divergence`. Raises ValueError for shapes
    that differ, dtypes, or T ≤ 0. Memory: 6 × logits.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2.

    >>> import torch
    >>> soft_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2), temperature=2.0)
    tensor([2.7726])
    """
    check_pair("soft_cross_entropy", student, teacher, temperature, mask)
    student, teacher = filled(mask, student, teacher)
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    return zeroed(mask, temperature**2 * cross(log_p, log_q)).to(student.dtype)


def kl_divergence(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """T² · Σ_c p_c log(p_c / q_c), with p = softmax(teacher/T) and q = softmax(student/T), in nats.

    Both are logits [..., classes], T is `temperature` > 0; `mask` [...] is True where a position
    counts. The value is not negative, and zero with a zero gradient where the logits agree up to a
    constant; the factor T² keeps the size of the student's gradient T(q − p) as T grows. Raises
    ValueError for shapes that differ, dtypes, or T ≤ 0. Memory: 6 × logits.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2.

    >>> import torch
    >>> kl_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]]).log())
    tensor([0.6931])
    """
    check_pair("kl_divergence", student, teacher, temperature, mask)
    student, teacher = filled(mask, student, teacher)
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    return zeroed(mask, temperature**2 * kl(log_p, log_q)).to(student.dtype)


def reverse_kl_divergence(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """T² · Σ_c q_c log(q_c / p_c), with p = softmax(teacher/T) and q = softmax(student/T), in nats.

    Both are logits [..., classes], T is `temperature` > 0; `mask` [...] is True where a position
    counts. The value is not negative, and zero with a zero gradient where the logits agree up to a
    constant; with r = log(q/p) the student's gradient is T q (r − Σ_c q_c r_c), which keeps the
    student from what the teacher finds unlikely. It is infinite where the teacher gives a class no
    probability and the student some. Raises ValueError for shapes that differ, dtypes, or T ≤ 0.
    Memory: 7 × logits.

    Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models" (2024), for sequences; T²
    is that of `kl_divergence`.

    >>> import torch
    >>> reverse_kl_divergence(torch.tensor([[0.0, 1.0]]).log(), torch.tensor([[0.0, 0.0]]))
    tensor([0.6931])
    """
    check_pair("reverse_kl_divergence", student, teacher, temperature, mask)
    student, teacher = filled(mask, student, teacher)
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    return zeroed(mask, temperature**2 * kl(log_q, log_p)).to(student.dtype)


def _log_shares(beta: Scalar, like: Tensor) -> tuple[Tensor, Tensor]:
    """log β and log(1 − β); at the ends, where one is −inf, without a gradient.

    None is missing there: the mixture m minimises the value, so it passes nothing on to β.
    """
    beta = torch.as_tensor(beta, dtype=like.dtype, device=like.device)
    inside = (beta > 0) & (beta < 1)
    safe, end = beta.masked_fill(~inside, 0.5), beta.detach()
    log = torch.where(inside, safe.log(), end.log())
    return log, torch.where(inside, torch.log1p(-safe), torch.log1p(-end))


def jensen_shannon(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    beta: Scalar = 0.5,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """β KL(p‖m) + (1−β) KL(q‖m), m = βp + (1−β)q, p = softmax(teacher/T), q = softmax(student/T).

    Both are logits [..., classes], β is `beta` in [0, 1] and T is `temperature` > 0; `mask` [...]
    is True where a position counts. There is no factor T². The value lies in [0, log 2] nats (at
    most the entropy of β), is zero with a zero gradient where the logits agree up to a constant,
    and is the same with the sides exchanged and 1−β for β. It is zero at β = 0 and β = 1; over β it
    goes to KL(p‖q) as β → 0, over 1−β to KL(q‖p) as β → 1. Raises ValueError for shapes that
    differ, dtypes, β or T out of range. Memory: 15 × logits.

    Agarwal et al., "On-Policy Distillation of Language Models: Learning from Self-Generated
    Mistakes" (2024), equation of the generalised divergence. This is the paper's form; TRL's code
    defines β = 0 and β = 1 as those limits, which are `kl_divergence` and `reverse_kl_divergence`.

    >>> import torch
    >>> jensen_shannon(torch.tensor([[0.0, 1.0]]).log(), torch.tensor([[1.0, 0.0]]).log())
    tensor([0.6931])
    """
    check_pair("jensen_shannon", student, teacher, temperature, mask)
    _check.between("jensen_shannon", 0, 1, beta=beta)
    _check.beside("jensen_shannon", student, beta=beta)
    student, teacher = filled(mask, student, teacher)
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    log_beta, log_rest = _log_shares(beta, log_q)
    sides = torch.stack([log_p + log_beta, log_q + log_rest])
    nowhere = sides.isneginf().all(0)  # m is zero there, and so is what the class adds
    log_m = sides.masked_fill(nowhere, 0.0).logsumexp(0)
    # p log(p/m) at p > 0 = m happens only at β = 0, times β; the same for q.
    from_p = kl(log_p, torch.where(nowhere, log_p, log_m))
    from_q = kl(log_q, torch.where(nowhere, log_q, log_m))
    return zeroed(mask, beta * from_p + (1 - beta) * from_q).to(student.dtype)


def total_variation(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """½ Σ_c |p_c − q_c|, with p = softmax(teacher/T) and q = softmax(student/T).

    Both are logits [..., classes], T is `temperature` > 0; `mask` [...] is True where a position
    counts. There is no factor T². The value, the largest difference in probability that the two
    give any set of classes, lies in [0, 1] and is zero where the logits agree up to a constant. It
    has a kink wherever p_c = q_c, where the class adds a gradient of zero; closer to one another
    than they are rounded (6e-8 beside one, in float32) which of them is the larger is lost, and
    would be by their logs. Raises ValueError for shapes that differ, dtypes, or T ≤ 0.
    Memory: 9 × logits.

    Wen et al., "f-Divergence Minimization for Sequence-Level Knowledge Distillation" (2023).

    >>> import torch
    >>> total_variation(torch.tensor([[1.0, 1.0]]).log(), torch.tensor([[1.0, 3.0]]).log())
    tensor([0.2500])
    """
    check_pair("total_variation", student, teacher, temperature, mask)
    student, teacher = filled(mask, student, teacher)
    q, p = log_softmax(student, temperature).exp(), log_softmax(teacher, temperature).exp()
    return zeroed(mask, 0.5 * (p - q).abs().sum(-1)).to(student.dtype)
