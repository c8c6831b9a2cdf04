"""Losses of logits that change what the teacher says, or both sides, before they compare."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from fkd import _check
from fkd._check import Scalar
from fkd.losses._mask import filled, zeroed
from fkd.losses._numeric import raised, unit, widen
from fkd.losses._response import check_pair, kl, log_softmax


def _centred(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z − mean of each row, how many classes it has, and which it has not.

    Logits of −inf are classes that the row has not: they are left out of the mean, and zero here.
    """
    z = widen(logits)
    absent = z.isneginf()
    # Less the largest, equal logits are zeros exactly, whatever the mean rounds to.
    z = (z - z.detach().amax(-1, keepdim=True)).masked_fill(absent, 0.0)
    count = (~absent).sum(-1, keepdim=True).to(z.dtype)
    return (z - z.sum(-1, keepdim=True) / count).masked_fill(absent, 0.0), count, absent


def _standardized(logits: Tensor) -> Tensor:
    """(z − mean) / std of each row; zeros for a row of equal logits, whose std is zero.

    Logits of −inf stay so.
    """
    centred, count, absent = _centred(logits)
    return (unit(centred) * (count - 1).sqrt()).masked_fill(absent, float("-inf"))


def standardized_kl_divergence(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    temperature: Scalar = 2.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """T² · KL(p‖q) of p = softmax(z(teacher)/T), q = softmax(z(student)/T), z(x) = (x − mean)/std.

    Both are logits [..., classes], T is `temperature` > 0, `mask` [...] is True where a position
    counts, std is the unbiased one (over classes − 1), and a class whose logit is −inf counts in
    neither mean nor std. The value is not negative, and zero with a zero gradient where one side is
    a positive multiple of the other up to a constant; the student's gradient is orthogonal to z and
    to a constant, and grows as 1/std. A row of equal logits has z = 0 and a finite gradient. Raises
    ValueError for shapes that differ, dtypes, or T ≤ 0. Memory: 12 × logits.

    Sun et al., "Logit Standardization in Knowledge Distillation" (2024). This is the paper's z;
    its code divides by std + 1e-7.

    >>> import torch
    >>> standardized_kl_divergence(torch.tensor([[0.0, 1.0]]), torch.tensor([[7.0, 9.0]]))
    tensor([0.])
    """
    check_pair("standardized_kl_divergence", student, teacher, temperature, mask)
    student, teacher = filled(mask, student, teacher)
    log_q = log_softmax(_standardized(student), temperature)
    log_p = log_softmax(_standardized(teacher), temperature)
    return zeroed(mask, temperature**2 * kl(log_p, log_q)).to(student.dtype)


def norm_kd(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    temperature: Scalar = 2.0,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """(τ σ_t)² · KL(p‖q) of p = softmax(teacher/(τ σ_t)), q = softmax(student/(τ σ_s)).

    Both are logits [..., classes], σ_t and σ_s the std of the row's own, τ is `temperature` > 0;
    `mask` [...] is True where a position counts. std is the unbiased one (over classes
    − 1), and a class whose logit is −inf counts in neither side's. It is
    `standardized_kl_divergence` at τ times the teacher's variance, so that an example counts as
    much as it does in `kl_divergence`. The value is not negative, and zero with a zero gradient
    where one side is a positive multiple of the other up to a constant. A row of equal logits is
    uniform at every temperature, with a finite gradient, and is worth zero on the teacher's side.
    Raises ValueError for shapes that differ, dtypes, or τ ≤ 0. Memory: 23 × logits.

    Chi et al., "NormKD: Normalized Logits for Knowledge Distillation" (2023).

    >>> import torch
    >>> norm_kd(torch.tensor([[0.0, 1.0]]), torch.tensor([[7.0, 9.0]]))
    tensor([0.])
    """
    check_pair("norm_kd", student, teacher, temperature, mask)
    # In float64, for the variance multiplies what rounding leaves of a small divergence.
    own, given = (x.double() for x in filled(mask, student, teacher))
    log_q = log_softmax(_standardized(own), temperature)
    log_p = log_softmax(_standardized(given), temperature)
    centred, count, _ = _centred(given)
    variance = centred.square().sum(-1) / (count.squeeze(-1) - 1).clamp(min=1)
    return zeroed(mask, temperature**2 * variance * kl(log_p, log_q)).to(student.dtype)


def hard_cross_entropy(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """−log q_k, with q = softmax(student) and k the teacher's likeliest class, in nats.

    Both are logits [..., classes]; `mask` [...] is True where a position counts. Of classes that
    are equally likely k is the first. The value is not negative. Its gradient is q minus one at k,
    and zero with respect to the teacher. Raises ValueError for shapes that differ, or dtypes.
    Memory: 5 × logits.

    Touvron et al., "Training Data-efficient Image Transformers & Distillation through Attention"
    (2021), hard-label distillation, there of a student's own token.

    >>> import torch
    >>> hard_cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]))
    tensor([0.6931])
    """
    check_pair("hard_cross_entropy", student, teacher, 1.0, mask)
    student, teacher = filled(mask, student, teacher)
    likeliest = teacher.argmax(-1, keepdim=True)
    value = -log_softmax(student, 1.0).gather(-1, likeliest).squeeze(-1)
    return zeroed(mask, value).to(student.dtype)


def _powers(teacher: Tensor, gamma: Scalar) -> tuple[Tensor, Tensor]:
    """log of p^γ over its sum, and that sum, with p = softmax(teacher)."""
    powers = raised(log_softmax(teacher, 1.0), gamma)
    return F.log_softmax(powers, -1), powers.logsumexp(-1).exp()


def _check_powers(
    where: str, student: Tensor, teacher: Tensor, gamma: Scalar, mask: Tensor | None
) -> None:
    check_pair(where, student, teacher, 1.0, mask)
    _check.positive(where, gamma=gamma)
    _check.beside(where, student, gamma=gamma)


def ttm(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    gamma: Scalar = 0.1,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """KL(p_γ ‖ q), p_γ = p^γ / Σ_c p_c^γ, with p = softmax(teacher) and q = softmax(student).

    Both are logits [..., classes], γ is `gamma` > 0, `mask` [...] is True where a position counts;
    in nats. p_γ is softmax(teacher / T) at T = 1/γ, while the student is taken at T = 1, so that
    it learns to be as unsure as p_γ is. The value is not negative, and zero with a zero gradient
    where the student's logits are γ times the teacher's up to a constant. Raises ValueError for
    shapes that differ, dtypes, or γ ≤ 0. Memory: 6 × logits.

    Zheng and Yang, "Knowledge Distillation Based on Transformed Teacher Matching" (2024), TTM.

    >>> import torch
    >>> ttm(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 10.0]]), gamma=0.1)
    tensor([0.])
    """
    _check_powers("ttm", student, teacher, gamma, mask)
    student, teacher = filled(mask, student, teacher)
    log_p, _ = _powers(teacher, gamma)
    return zeroed(mask, kl(log_p, log_softmax(student, 1.0))).to(student.dtype)


def wttm(
    student: Float[Tensor, "*batch classes"],
    teacher: Float[Tensor, "*batch classes"],
    *,
    gamma: Scalar = 0.1,
    mask: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch"]:
    """U · KL(p_γ ‖ q) with U = Σ_c p_c^γ: `ttm`, of which an unsure teacher's examples have more.

    p = softmax(teacher), p_γ = p^γ / U and q = softmax(student). Both are logits [..., classes], γ
    is `gamma` > 0, `mask` [...] is True where a position counts; in nats. For γ below 1, U lies in
    [1, C^(1−γ)] with C classes: 1 where the teacher is certain. The value is not negative, and zero
    with a zero gradient where the student's logits are γ times the teacher's up to a constant.
    Raises ValueError for shapes that differ, dtypes, or γ ≤ 0. Memory: 6 × logits.

    Zheng and Yang, "Knowledge Distillation Based on Transformed Teacher Matching" (2024), WTTM.

    >>> import torch
    >>> student, uniform = torch.tensor([[1.0, 1.0, 1.0, 5.0]]).log(), torch.zeros(1, 4)
    >>> wttm(student, uniform, gamma=0.5)  # U = 2, KL = ¼ log(16/5)
    tensor([0.5816])
    """
    _check_powers("wttm", student, teacher, gamma, mask)
    student, teacher = filled(mask, student, teacher)
    log_p, total = _powers(teacher, gamma)
    return zeroed(mask, total * kl(log_p, log_softmax(student, 1.0))).to(student.dtype)
