"""Methods that change what the teacher says, or both sides, before they match it.

Their `mask` names the target that is True where a pixel or a token counts (see `Term`).
"""

from collections.abc import Callable

from torch import Tensor

from fkd import _check, losses
from fkd.methods._asked import check_mask, check_weights
from fkd.methods._term import Method, Term, labels, softened

__all__ = ["hard", "logit_standardised", "norm_kd", "ttm", "wttm"]


def hard(weight: float = 0.5, ce: float = 0.5, mask: str | None = None) -> Method:
    """The teacher's likeliest class as a second label, at the authors' weights, which give it to a
    token of its own.

    Touvron et al., "Training Data-efficient Image Transformers & Distillation through Attention"
    (2021).

    >>> list(hard())
    ['hard', 'ce']
    """
    check_weights("hard", weight=weight)
    check_mask("hard", mask)
    term = Term(losses.hard_cross_entropy, weight=weight, mask=mask)
    return {"hard": term} | labels("hard", ce, mask)


def logit_standardised(
    weight: float = 9.0, temperature: float = 2.0, ce: float = 0.1, mask: str | None = None
) -> Method:
    """KL of standardised logits.

    Sun et al., "Logit Standardization in Knowledge Distillation" (2024).
    """
    loss = losses.standardized_kl_divergence
    return softened("logit-standardised", loss, weight, temperature, ce, mask)


def norm_kd(
    weight: float = 0.9, temperature: float = 2.0, ce: float = 0.1, mask: str | None = None
) -> Method:
    """KL at each side's own temperature, so many deviations of its logits, at the authors' weights.

    Chi et al., "NormKD: Normalized Logits for Knowledge Distillation" (2023).
    """
    return softened("norm-kd", losses.norm_kd, weight, temperature, ce, mask)


def ttm(
    weight: float = 45.0, gamma: float = 0.1, ce: float = 1.0, mask: str | None = None
) -> Method:
    """KL to a power of the teacher's probabilities, at the numbers of the authors' example.

    Zheng and Yang, "Knowledge Distillation Based on Transformed Teacher Matching" (2024).
    """
    return _of_powers("ttm", losses.ttm, weight, gamma, ce, mask)


def wttm(
    weight: float = 4.0, gamma: float = 0.2, ce: float = 1.0, mask: str | None = None
) -> Method:
    """TTM where an example counts by how unsure the teacher is, at the authors' numbers beside CRD.

    Zheng and Yang, "Knowledge Distillation Based on Transformed Teacher Matching" (2024).
    """
    return _of_powers("wttm", losses.wttm, weight, gamma, ce, mask)


def _of_powers(
    name: str,
    loss: Callable[..., Tensor],
    weight: float,
    gamma: float,
    ce: float,
    mask: str | None,
) -> Method:
    """A loss of the logits to a power of the teacher's probabilities, beside the labels."""
    check_weights(name, weight=weight)
    _check.plain(name, gamma=gamma)
    _check.positive(name, gamma=gamma)
    check_mask(name, mask)
    term = Term(loss, weight=weight, hyper={"gamma": gamma}, mask=mask)
    return {name: term} | labels(name, ce, mask)
