"""Methods that match correlations of the answers, within and between classes and examples."""

from fkd import _check, losses
from fkd.methods._asked import check_temperature, check_weights
from fkd.methods._term import Method, Term, labels

__all__ = ["dist", "mlld"]


def dist(
    beta: float = 2.0, gamma: float = 2.0, temperature: float = 4.0, ce: float = 1.0
) -> Method:
    """Correlations between (β) and within (γ) classes, at the paper's setting for CIFAR.

    Huang et al., "Knowledge Distillation from a Stronger Teacher" (2022).
    """
    check_weights("dist", beta=beta, gamma=gamma)
    check_temperature("dist", temperature=temperature)
    hyper = {"temperature": temperature}
    return {
        "dist-inter": Term(losses.dist_inter, weight=beta, hyper=hyper),
        "dist-intra": Term(losses.dist_intra, weight=gamma, hyper=hyper),
    } | labels("dist", ce)


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
    check_weights("mlld", weight=weight, class_weight=class_weight)
    _check.instance("mlld", (tuple, list), "a list of temperatures", temperatures=temperatures)
    for temperature in temperatures:
        check_temperature("mlld", temperatures=temperature)
    if not temperatures or len({f"{t:g}" for t in temperatures}) < len(temperatures):
        raise ValueError(
            "mlld: temperatures must be one or more, each another one in its first six digits, but "
            f"they are {temperatures}"
        )
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
    } | labels("mlld", ce)
