"""Divergences of the answers' probabilities between and beyond KL and its reverse."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._mask import filled, zeroed
from fkd.losses._numeric import not_negative
from fkd.losses._response import check_pair, kl, log_softmax


def _log_mixture(log_p: Tensor, log_q: Tensor, share: Scalar) -> Tensor:
    """log(λp + (1−λ)q) with λ = `share`; where both underflow, zero, as no p or q is left there."""
    mixture = share * log_p.exp() + (1 - share) * log_q.exp()
    return mixture.masked_fill(mixture == 0, 1.0).log()


def skewed_kl_divergence(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    skew: Scalar = 0.1,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """T² · KL(p ‖ λp + (1−λ)q), with p = softmax(teacher/T) and q = softmax(student/T), in nats.

    Both are logits [..., classes], λ is `skew` in (0, 1) and T is `temperature` > 0; `mask` [...]
    is True where a position counts. The value is not negative, at most −T² log λ whatever the
    student leaves out, and zero with a zero gradient where the logits agree up to a constant. As
    λ → 0 it becomes `kl_divergence`, whose factor T² it has. Raises ValueError for shapes that
    differ, dtypes, λ or T out of range. Memory: 9 × logits.

    Ko et al., "DistiLLM: Towards Streamlined Distillation for Large Language Models" (2024), the
    skew KL divergence, there at λ = 0.1 and T = 1.

    >>> import torch
    >>> none, all = torch.tensor([[0.0, 99.0]]), torch.tensor([[99.0, 0.0]])
    >>> skewed_kl_divergence(none, all, skew=0.5)  # log 2
    tensor([0.6931])
    """
    check_pair("skewed_kl_divergence", student, teacher, temperature, mask)
    _check_skew("skewed_kl_divergence", student, skew)
    student, teacher = filled(mask, student, teacher)
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    value = kl(log_p, _log_mixture(log_p, log_q, skew))
    return zeroed(mask, temperature**2 * value).to(student.dtype)


def skewed_reverse_kl_divergence(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    skew: Scalar = 0.1,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """T² · KL(q ‖ λq + (1−λ)p), with p = softmax(teacher/T) and q = softmax(student/T), in nats.

    Both are logits [..., classes], λ is `skew` in (0, 1) and T is `temperature` > 0; `mask` [...]
    is True where a position counts. It is `skewed_kl_divergence` with the sides exchanged: not
    negative, at most −T² log λ, where `reverse_kl_divergence` is infinite too, and zero with a zero
    gradient where the logits agree up to a constant. As λ → 0 it becomes `reverse_kl_divergence`.
    Raises ValueError for shapes that differ, dtypes, λ or T out of range. Memory: 11 × logits.

    Ko et al., "DistiLLM: Towards Streamlined Distillation for Large Language Models" (2024), the
    skew reverse KL divergence, there at λ = 0.1 and T = 1.

    >>> import torch
    >>> student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, -torch.inf]])
    >>> skewed_reverse_kl_divergence(student, teacher, skew=0.5)  # ½ log(2/3) + ½ log 2
    tensor([0.1438])
    """
    check_pair("skewed_reverse_kl_divergence", student, teacher, temperature, mask)
    _check_skew("skewed_reverse_kl_divergence", student, skew)
    student, teacher = filled(mask, student, teacher)
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    value = kl(log_q, _log_mixture(log_q, log_p, skew))
    return zeroed(mask, temperature**2 * value).to(student.dtype)


def _check_skew(where: str, student: Tensor, skew: Scalar) -> None:
    _check.positive(where, skew=skew)
    _check.share(where, skew=skew)
    _check.beside(where, student, skew=skew)


def _share_of_head(log_p: Tensor, log_q: Tensor, mass: Scalar) -> Tensor:
    """Σ|p − q| over the teacher's likeliest classes, as a share of it over all; ½ where it is zero.

    The likeliest class is among them, and the next as long as together they have no more than
    `mass` of the probability.
    """
    p, q = log_p.detach().exp(), log_q.detach().exp()
    p, order = p.sort(dim=-1, descending=True, stable=True)
    apart = (p - q.gather(-1, order)).abs()
    # Rounding lies on no side of a mass that a few equal classes have exactly.
    head = p.cumsum(-1) <= mass + 1e-6
    first = torch.arange(p.shape[-1], device=p.device) == 0
    both = apart.sum(-1)
    of_head = apart.masked_fill(~(head | first), 0.0).sum(-1)
    return torch.where(both == 0, 0.5, of_head / both.masked_fill(both == 0, 1.0))


def adaptive_kl_divergence(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    mass: Scalar = 0.5,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """T² · [r KL(p‖q) + (1−r) KL(q‖p)], p = softmax(teacher/T), q = softmax(student/T), in nats.

    r is held constant: the share that the teacher's head has of Σ_c |p_c − q_c|. The head is the
    likeliest class and those after it that together have at most `mass` in (0, 1) of p; where p = q
    r is ½. Both are logits [..., classes], T is `temperature` > 0; `mask` [...] is True where a
    position counts. The value is not negative, zero with a zero gradient where the logits agree up
    to a constant, jumps where the head does, and is infinite where the teacher gives a class no
    probability and the student some. No gradient flows through r. Raises ValueError for shapes that
    differ, dtypes, `mass` or T out of range. Memory: 9 × logits.

    Wu et al., "Rethinking Kullback-Leibler Divergence in Knowledge Distillation for Large Language
    Models" (2025), AKL, there at mass 0.5 and T = 1.

    >>> import torch
    >>> student, teacher = torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]).log()
    >>> adaptive_kl_divergence(student, teacher)  # r = ½: ½ (KL(p‖q) + KL(q‖p)) = ⅛ log 3
    tensor([0.1373])
    """
    where = "adaptive_kl_divergence"
    check_pair(where, student, teacher, temperature, mask)
    _check.positive(where, mass=mass)
    _check.share(where, mass=mass)
    _check.beside(where, student, mass=mass)
    student, teacher = filled(mask, student, teacher)
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    share = _share_of_head(log_p, log_q, mass)
    value = share * kl(log_p, log_q) + (1 - share) * kl(log_q, log_p)
    return zeroed(mask, temperature**2 * value).to(student.dtype)


def _with_tail(log_p: Tensor, kept: Tensor) -> Tensor:
    """Log-probabilities of the classes kept, −inf at the others, and behind them that of these."""
    tail = log_p.masked_fill(kept, float("-inf"))
    none = tail.isneginf().all(-1, keepdim=True)
    rest = tail.masked_fill(none, 0.0).logsumexp(-1, keepdim=True)
    head = log_p.masked_fill(~kept, float("-inf"))
    return torch.cat([head, rest.masked_fill(none, float("-inf"))], -1)


def top_k_kl_divergence(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    k: Scalar = 5.0,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """T² · KL(p̄‖q̄), of the teacher's k likeliest classes and one more, which has all the others.

    p̄ and q̄ are p = softmax(teacher/T) and q = softmax(student/T), with the probabilities of all but
    those k classes added up; in nats. Both are logits [..., classes], `k` ≥ 1 and T is
    `temperature` > 0; `mask` [...] is True where a position counts. Of classes that are equally
    likely the first count; of no whole number k the next one does. The value is not negative, at
    most `kl_divergence`, which it is where there are k + 1 classes or fewer, and zero with a zero
    gradient where the k classes have the same probabilities; it jumps where another class comes
    among them. With respect to the student's logit of a class of the others the gradient is
    T q_c (1 − p̄/q̄) of their sums, and T (q_c − p_c) of one of the k. Raises ValueError for shapes
    that differ, dtypes, `k` or T out of range. Memory: 10 × logits.

    Anshumann et al., "Sparse Logit Sampling: Accelerating Knowledge Distillation in LLMs" (2025),
    where the class that has the others is the ghost token.

    >>> import torch
    >>> student, teacher = torch.zeros(1, 4), torch.tensor([[1.0, 2.0, 4.0, 1.0]]).log()
    >>> top_k_kl_divergence(student, teacher, k=1)  # ½ log 2 + ½ log(2/3)
    tensor([0.1438])
    """
    where = "top_k_kl_divergence"
    check_pair(where, student, teacher, temperature, mask)
    _check.between(where, 1, 2**24, k=k)  # up to which float32 counts
    _check.beside(where, student, k=k)
    student, teacher = filled(mask, student, teacher)
    order = teacher.detach().sort(dim=-1, descending=True, stable=True).indices
    kept = torch.arange(order.shape[-1], device=order.device) < k
    log_q, log_p = (
        _with_tail(log_softmax(x, temperature).gather(-1, order), kept) for x in (student, teacher)
    )
    return zeroed(mask, temperature**2 * kl(log_p, log_q)).to(student.dtype)


def _power_log(d: Tensor, power: Tensor) -> Tensor:
    """(eᵃᵈ − 1)/a of d with a = `power`, which is d itself at a = 0, with all its derivatives."""
    x = power * d
    near = x.abs() < 1e-3  # a quotient of what is near zero has no derivative left
    small, far = x.masked_fill(~near, 0.0), x.masked_fill(near, 1.0)
    series = 1 + small / 2 * (1 + small / 3 * (1 + small / 4))
    return d * torch.where(near, series, torch.expm1(far) / far)


def alpha_beta_divergence(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    alpha: Scalar = 0.2,
    beta: Scalar = 0.7,
    temperature: Scalar = 1.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """Σ_c [α p_c^(α+β) + β q_c^(α+β) − (α+β) p_c^α q_c^β] / (αβ(α+β)).

    p = softmax(teacher/T) and q = softmax(student/T). Both are logits [..., classes], α is `alpha`
    ≥ 0, β is `beta` ≥ 0, α + β > 0, T is `temperature` > 0; `mask` [...] is True where a position
    counts. There is no factor T². At α = 0 or β = 0 it is the limit, which it reaches smoothly: (1,
    0) is KL(p‖q), (0, 1) KL(q‖p); (½, ½) is 4 times the squared Hellinger distance. The value is
    not negative, zero with a zero gradient where the logits agree up to a constant, and the same
    with the sides and α and β exchanged. With α = 0 it is infinite where the teacher gives a class
    no probability and the student some; with β = 0 the other way about. Raises ValueError for
    shapes that differ, dtypes, or numbers out of range. Memory: 52 × logits.

    Wang et al., "ABKD: Pursuing a Proper Allocation of the Probability Mass in Knowledge
    Distillation via α-β-Divergence" (2025). With d = log(p/q) a class adds
    q^(α+β) [e^(αd) (e^(βd) − 1)/β − (e^(αd) − 1)/α] / (α+β), and is computed so.

    >>> import torch
    >>> student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, -torch.inf]])
    >>> alpha_beta_divergence(student, teacher, alpha=0.5, beta=0.5)  # 4 − 2√2
    tensor([1.1716])
    """
    where = "alpha_beta_divergence"
    check_pair(where, student, teacher, temperature, mask)
    _check.not_negative(where, alpha=alpha, beta=beta)
    _check.beside(where, student, alpha=alpha, beta=beta)
    _check.positive(where, **{"alpha + beta": alpha + beta})
    student, teacher = filled(mask, student, teacher)
    log_q, log_p = log_softmax(student, temperature), log_softmax(teacher, temperature)
    less = log_p < log_q  # the larger side is the base, so that no power overflows
    larger, smaller = torch.where(less, log_q, log_p), torch.where(less, log_p, log_q)
    both, one = larger.isneginf(), smaller.isneginf()
    base = larger.masked_fill(both, 0.0)
    d = (smaller.masked_fill(one, 0.0) - base).masked_fill(one, 0.0)
    ones = torch.ones_like(base)
    a = torch.where(less, alpha * ones, beta * ones)  # the smaller side's power in the product
    b = alpha + beta - a
    # Nothing is divided by a or b; and where one side has none of the class, it is the limit.
    present = (a * d).exp() * _power_log(d, b) - _power_log(d, a)
    terms = torch.where(one, 1 / torch.where(one, a, ones), present)
    terms = ((alpha + beta) * base).exp() * terms / (alpha + beta)
    value = not_negative(terms.masked_fill(both, 0.0).sum(-1))
    return zeroed(mask, value).to(student.dtype)
