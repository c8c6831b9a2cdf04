"""Methods that match logits."""

from collections.abc import Callable

from torch import Tensor

from fkd import _check, heads, losses
from fkd.methods._term import Method, Term, supervised


def kd(weight: float = 0.25, temperature: float = 2.0, ce: float = 0.75) -> Method:
    """Soft targets beside the labels, at the tutorial's weights and temperature.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).

    >>> kd(temperature=4.0)["kd"].hyper
    {'temperature': 4.0}
    """
    return _softened("kd", losses.soft_cross_entropy, weight, temperature, ce)


def reverse_kd(weight: float = 1.0, temperature: float = 4.0, ce: float = 1.0) -> Method:
    """Reverse KL beside the labels; our weights, for the paper samples the student's own text.

    Gu et al., "MiniLLM" (2024), which distils language models so.
    """
    return _softened("reverse-kd", losses.reverse_kl_divergence, weight, temperature, ce)


def jensen_shannon(weight: float = 10.0, beta: float = 0.5, ce: float = 1.0) -> Method:
    """Generalised Jensen-Shannon divergence at temperature 1 beside the labels; our weight, for the
    paper takes it without labels.

    Agarwal et al., "On-Policy Distillation of Language Models" (2024).
    """
    term = Term(losses.jensen_shannon, weight=weight, hyper={"beta": beta, "temperature": 1.0})
    return {"jensen-shannon": term} | supervised(ce)


def total_variation(weight: float = 1.0, ce: float = 1.0) -> Method:
    """Total variation at temperature 1 beside the labels; the authors' weight, without labels.

    Wen et al., "f-Divergence Minimization for Sequence-Level Knowledge Distillation" (2023).
    """
    return _softened("total-variation", losses.total_variation, weight, 1.0, ce)


def logits(weight: float = 0.1, ce: float = 1.0) -> Method:
    """Squared error of the logits beside the labels, at Knowledge-Distillation-Zoo's weight for
    CIFAR-10; the paper takes no labels.

    Ba and Caruana, "Do Deep Nets Really Need to be Deep?" (2014).
    """
    return {"logits": Term(losses.squared_error, weight=weight)} | supervised(ce)


def dkd(
    weight: float = 1.0,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    warmup: int = 20,
    ce: float = 1.0,
) -> Method:
    """Decoupled distillation; the paper's β is 2, 6 or 8 by the pair of networks.

    Zhao et al., "Decoupled Knowledge Distillation" (2022).
    """
    hyper = {"alpha": alpha, "beta": beta, "temperature": temperature}
    return {"dkd": _labelled(losses.dkd, weight, hyper, warmup)} | supervised(ce)


def nkd(
    weight: float = 1.0, gamma: float = 1.5, temperature: float = 1.0, ce: float = 1.0
) -> Method:
    """Normalised distillation.

    Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation" (2023).
    """
    hyper = {"gamma": gamma, "temperature": temperature}
    return {"nkd": _labelled(losses.nkd, weight, hyper)} | supervised(ce)


def wsld(weight: float = 2.5, temperature: float = 2.0, ce: float = 1.0) -> Method:
    """Weighted soft labels, at the authors' weight and temperature for ImageNet.

    Zhou et al., "Rethinking Soft Labels for Knowledge Distillation" (2021).
    """
    return {"wsld": _labelled(losses.wsld, weight, {"temperature": temperature})} | supervised(ce)


def dist(
    beta: float = 2.0, gamma: float = 2.0, temperature: float = 4.0, ce: float = 1.0
) -> Method:
    """Correlations between (β) and within (γ) classes, at the paper's setting for CIFAR.

    Huang et al., "Knowledge Distillation from a Stronger Teacher" (2022).
    """
    hyper = {"temperature": temperature}
    return {
        "dist-inter": Term(losses.dist_inter, weight=beta, hyper=hyper),
        "dist-intra": Term(losses.dist_intra, weight=gamma, hyper=hyper),
    } | supervised(ce)


def logit_standardised(weight: float = 9.0, temperature: float = 2.0, ce: float = 0.1) -> Method:
    """KL of standardised logits.

    Sun et al., "Logit Standardization in Knowledge Distillation" (2024).
    """
    loss = losses.standardized_kl_divergence
    return _softened("logit-standardised", loss, weight, temperature, ce)


def mlld(
    weight: float = 2.25,
    class_weight: float = 0.001,
    temperatures: tuple[float, ...] = (4.0, 3.0, 5.0, 2.0, 6.0),
    ce: float = 0.1,
) -> Method:
    """Multi-level logits: instances, classes and the batch, averaged over temperatures.

    The weights are the authors' for images without strong augmentation: 0.9 at each of the five
    temperatures, halved by their masks, is 2.25 of the average, beside 0.1 of the labels.

    The class term grows about as batch² / classes³: `class_weight` is ours, which brings it at
    batch 128 and 10 classes to the size that it has in the paper at batch 64 and 100 classes.

    Jin, Wang and Lin, "Multi-Level Logit Distillation" (2023), without its strong augmentation.
    """
    parts = {
        "instance": (losses.kl_divergence, weight),
        "class": (losses.class_correlation, weight * class_weight),
        "batch": (losses.batch_correlation, weight),
    }
    return {
        f"mlld-{part}-{temperature:g}": Term(
            loss, weight=share / len(temperatures), hyper={"temperature": temperature}
        )
        for part, (loss, share) in parts.items()
        for temperature in temperatures
    } | supervised(ce)


def ctkd(weight: float = 0.9, ce: float = 0.1) -> Method:
    """KL at a learnt temperature, which is trained against the student.

    Li et al., "Curriculum Temperature for Knowledge Distillation" (2023).
    """
    term = Term(losses.kl_divergence, weight=weight, head=heads.Temperature, joint=True)
    return {"ctkd": term} | supervised(ce)


def _softened(
    name: str, loss: Callable[..., Tensor], weight: float, temperature: float, ce: float
) -> Method:
    """A loss of the logits at a temperature, beside the labels."""
    _check.positive(name, temperature=temperature)
    return {name: Term(loss, weight=weight, hyper={"temperature": temperature})} | supervised(ce)


def _labelled(
    loss: Callable[..., Tensor], weight: float, hyper: dict[str, float], warmup: int = 0
) -> Term:
    """A loss of the logits that reads the labels too."""
    target = ("logits", "labels")
    return Term(loss, target=target, weight=weight, hyper=hyper, warmup=warmup)
