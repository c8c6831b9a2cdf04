"""Methods that treat the labelled class apart from the others, or weigh examples by it.

Their `mask` names the target that is True where a pixel or a token counts (see `Term`).
"""

from collections.abc import Callable

from torch import Tensor

from fkd import _check, losses
from fkd.methods._asked import check_temperature, check_weights
from fkd.methods._term import Method, Term, labels, warmup_over

__all__ = ["dkd", "nkd", "ofa", "rld", "tf_kd", "wsld"]


def dkd(
    weight: float = 1.0,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    warmup: int = 20,
    ce: float = 1.0,
    mask: str | None = None,
) -> Method:
    """Decoupled distillation; the paper's β is 2, 6 or 8 by the pair of networks.

    The weight rises over the first `warmup` epochs, as in the authors' code.

    Zhao et al., "Decoupled Knowledge Distillation" (2022).
    """
    hyper = {"alpha": alpha, "beta": beta, "temperature": temperature}
    return _labelled("dkd", losses.dkd, weight, hyper, ce, mask, warmup)


def nkd(
    weight: float = 1.0,
    gamma: float = 1.5,
    temperature: float = 1.0,
    ce: float = 1.0,
    mask: str | None = None,
) -> Method:
    """Normalised distillation.

    Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation" (2023).
    """
    hyper = {"gamma": gamma, "temperature": temperature}
    return _labelled("nkd", losses.nkd, weight, hyper, ce, mask)


def rld(
    weight: float = 1.0,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    warmup: int = 20,
    ce: float = 1.0,
    mask: str | None = None,
) -> Method:
    """Refined logits: the teacher's certainty, and its order of the classes below the label.

    The weights are the authors', and rise over the first `warmup` epochs, as in their code.

    Sun et al., "Knowledge Distillation with Refined Logits" (2025).
    """
    hyper = {"alpha": alpha, "beta": beta, "temperature": temperature}
    return _labelled("rld", losses.rld, weight, hyper, ce, mask, warmup)


def ofa(
    weight: float = 1.0, gamma: float = 1.5, ce: float = 1.0, mask: str | None = None
) -> Method:
    """The teacher's answers with the label raised among them, of the last logits alone; the paper's
    γ lies between 1 and 1.5 by the pair of networks.

    Hao et al., "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge
    Distillation" (2023).
    """
    check_weights("ofa", weight=weight, gamma=gamma)
    _check.positive("ofa", gamma=gamma)
    others = labels("ofa", ce, mask)
    target = ("logits", "labels")
    term = Term(losses.ofa, target=target, weight=weight, hyper={"gamma": gamma}, mask=mask)
    return {"ofa": term} | others


def tf_kd(
    weight: float = 0.1,
    correct: float = 0.99,
    temperature: float = 20.0,
    ce: float = 0.9,
    mask: str | None = None,
) -> Method:
    """A virtual teacher that is right and finds all other classes equally likely: no teacher.

    The numbers are the authors' for ResNet-18 on CIFAR-100, whose multiplier of 100 is that of the
    mean over 100 classes.

    Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing Regularization" (2020).
    """
    check_weights("tf-kd", weight=weight)
    _check.plain("tf-kd", correct=correct)
    _check.positive("tf-kd", correct=correct)
    _check.share("tf-kd", correct=correct)
    check_temperature("tf-kd", temperature=temperature)
    hyper, others = {"correct": correct, "temperature": temperature}, labels("tf-kd", ce, mask)
    term = Term(losses.tf_kd, target="labels", weight=weight, hyper=hyper, mask=mask)
    return {"tf-kd": term} | others


def wsld(
    weight: float = 2.5, temperature: float = 2.0, ce: float = 1.0, mask: str | None = None
) -> Method:
    """Weighted soft labels, at the authors' weight and temperature for ImageNet.

    Zhou et al., "Rethinking Soft Labels for Knowledge Distillation" (2021).
    """
    hyper = {"temperature": temperature}
    return _labelled("wsld", losses.wsld, weight, hyper, ce, mask)


def _labelled(
    name: str,
    loss: Callable[..., Tensor],
    weight: float,
    hyper: dict[str, float],
    ce: float,
    mask: str | None,
    warmup: int = 0,
) -> Method:
    """A loss of the logits that reads the labels too, beside the labels."""
    check_weights(name, weight=weight, **hyper)
    check_temperature(name, temperature=hyper["temperature"])
    others = labels(name, ce, mask)
    target, schedules = ("logits", "labels"), warmup_over(name, warmup)
    term = Term(loss, target=target, weight=weight, hyper=hyper, schedules=schedules, mask=mask)
    return {name: term} | others
