"""Methods that match the teacher's answers by divergences between and beyond KL and its reverse.

Their papers distil language models, and take these without labels at temperature 1. Their `mask`
names the target that is True where a pixel or a token counts (see `Term`).
"""

from collections.abc import Callable, Mapping

from torch import Tensor

from fkd import _check, losses
from fkd.methods._asked import check_mask, check_weights
from fkd.methods._term import Method, Term, labels

__all__ = ["abkd", "akl", "skew_kl", "skew_reverse_kl", "top_k_kl"]


def skew_kl(
    weight: float = 1.0, skew: float = 0.1, ce: float = 1.0, mask: str | None = None
) -> Method:
    """KL to a mixture that holds a little of the teacher, at the authors' skew, beside the labels.

    Ko et al., "DistiLLM: Towards Streamlined Distillation for Large Language Models" (2024).

    >>> skew_kl()["skew-kl"].hyper
    {'skew': 0.1}
    """
    _check_share("skew-kl", skew=skew)
    return _beside_labels("skew-kl", losses.skewed_kl_divergence, weight, {"skew": skew}, ce, mask)


def skew_reverse_kl(
    weight: float = 1.0, skew: float = 0.1, ce: float = 1.0, mask: str | None = None
) -> Method:
    """Reverse KL to a mixture that holds a little of the student, at the authors' skew, beside the
    labels.

    Ko et al., "DistiLLM: Towards Streamlined Distillation for Large Language Models" (2024).
    """
    _check_share("skew-reverse-kl", skew=skew)
    loss = losses.skewed_reverse_kl_divergence
    return _beside_labels("skew-reverse-kl", loss, weight, {"skew": skew}, ce, mask)


def akl(weight: float = 1.0, mass: float = 0.5, ce: float = 1.0, mask: str | None = None) -> Method:
    """KL and its reverse by how far the head and the tail are off, beside the labels.

    Wu et al., "Rethinking Kullback-Leibler Divergence in Knowledge Distillation for Large Language
    Models" (2025).
    """
    _check_share("akl", mass=mass)
    loss = losses.adaptive_kl_divergence
    return _beside_labels("akl", loss, weight, {"mass": mass}, ce, mask)


def abkd(
    weight: float = 1.0,
    alpha: float = 0.2,
    beta: float = 0.7,
    ce: float = 1.0,
    mask: str | None = None,
) -> Method:
    """The α-β-divergence beside the labels; the paper's α and β differ by the task.

    Wang et al., "ABKD: Pursuing a Proper Allocation of the Probability Mass in Knowledge
    Distillation via α-β-Divergence" (2025).
    """
    hyper = {"alpha": alpha, "beta": beta}
    check_weights("abkd", **hyper)
    _check.positive("abkd", **{"alpha + beta": alpha + beta})
    return _beside_labels("abkd", losses.alpha_beta_divergence, weight, hyper, ce, mask)


def top_k_kl(
    weight: float = 1.0, k: float = 5.0, ce: float = 1.0, mask: str | None = None
) -> Method:
    """KL of the teacher's likeliest classes and one that has all the others, beside the labels; our
    k, for theirs belong to vocabularies.

    Anshumann et al., "Sparse Logit Sampling: Accelerating Knowledge Distillation in LLMs" (2025).
    """
    _check.plain("top-k-kl", k=k)
    _check.between("top-k-kl", 1, 2**24, k=k)
    return _beside_labels("top-k-kl", losses.top_k_kl_divergence, weight, {"k": k}, ce, mask)


def _check_share(where: str, **shares: float) -> None:
    """Raise where a named number is no plain one, or lies outside (0, 1)."""
    _check.plain(where, **shares)
    _check.positive(where, **shares)
    _check.share(where, **shares)


def _beside_labels(
    name: str,
    loss: Callable[..., Tensor],
    weight: float,
    hyper: Mapping[str, float],
    ce: float,
    mask: str | None,
) -> Method:
    """A divergence of the logits at temperature 1, beside the labels."""
    check_weights(name, weight=weight)
    check_mask(name, mask)
    return {name: Term(loss, weight=weight, hyper=hyper, mask=mask)} | labels(name, ce, mask)
