"""Methods that match what the teacher answers.

Their `mask` names the target that is True where a pixel or a token counts (see `Term`).
"""

from fkd import _check, heads, losses
from fkd.methods._asked import check_mask, check_temperature, check_weights
from fkd.methods._term import Method, Term, labels, softened

__all__ = [
    "ce",
    "ctkd",
    "funmatch",
    "jensen_shannon",
    "kd",
    "reverse_kd",
    "total_variation",
]


def ce(weight: float = 1.0, mask: str | None = None) -> Method:
    """Cross-entropy against the labels: no teacher.

    >>> list(ce())
    ['ce']
    """
    check_weights("ce", weight=weight)
    return labels("ce", weight, mask)


def kd(
    weight: float = 0.25, temperature: float = 2.0, ce: float = 0.75, mask: str | None = None
) -> Method:
    """Soft targets beside the labels, at the tutorial's weights and temperature.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).

    >>> kd(temperature=4.0)["kd"].hyper
    {'temperature': 4.0}
    """
    return softened("kd", losses.soft_cross_entropy, weight, temperature, ce, mask)


def reverse_kd(
    weight: float = 1.0, temperature: float = 4.0, ce: float = 1.0, mask: str | None = None
) -> Method:
    """Reverse KL beside the labels; our weights, for the paper samples the student's own text.

    Gu et al., "MiniLLM" (2024), which distils language models so.
    """
    return softened("reverse-kd", losses.reverse_kl_divergence, weight, temperature, ce, mask)


def jensen_shannon(
    weight: float = 10.0, beta: float = 0.5, ce: float = 1.0, mask: str | None = None
) -> Method:
    """Generalised Jensen-Shannon divergence at temperature 1 beside the labels; our weight, for the
    paper takes it without labels.

    Agarwal et al., "On-Policy Distillation of Language Models" (2024).
    """
    name = "jensen-shannon"
    check_weights(name, weight=weight)
    _check.plain(name, beta=beta)
    _check.between(name, 0, 1, beta=beta)
    others = labels(name, ce, mask)
    hyper = {"beta": beta, "temperature": 1.0}
    term = Term(losses.jensen_shannon, weight=weight, hyper=hyper, mask=mask)
    return {name: term} | others


def total_variation(weight: float = 1.0, ce: float = 1.0, mask: str | None = None) -> Method:
    """Total variation at temperature 1 beside the labels; the authors' weight, without labels.

    Wen et al., "f-Divergence Minimization for Sequence-Level Knowledge Distillation" (2023).
    """
    return softened("total-variation", losses.total_variation, weight, 1.0, ce, mask)


def ctkd(weight: float = 0.9, ce: float = 0.1, mask: str | None = None) -> Method:
    """KL at a learnt temperature, which is trained against the student.

    Li et al., "Curriculum Temperature for Knowledge Distillation" (2023).
    """
    check_weights("ctkd", weight=weight)
    others = labels("ctkd", ce, mask)
    term = Term(losses.kl_divergence, weight=weight, head=heads.Temperature, joint=True, mask=mask)
    return {"ctkd": term} | others


def funmatch(weight: float = 1.0, temperature: float = 1.0, mask: str | None = None) -> Method:
    """KL alone, without labels: the teacher's function is matched on what both are shown.

    The paper shows both the same random crop, mixed strongly, for many epochs: on the command line
    that is the recipe of this name, or some `augment` and a mix. VanillaKD's published code has the
    same KL beside a loss of the labels, each at weight 1, which `kd` has with 1, 1 and 1.

    Beyer et al., "Knowledge Distillation: A Good Teacher is Patient and Consistent" (2022).

    >>> list(funmatch())
    ['funmatch']
    """
    check_weights("funmatch", weight=weight)
    check_temperature("funmatch", temperature=temperature)
    check_mask("funmatch", mask)
    hyper = {"temperature": temperature}
    return {"funmatch": Term(losses.kl_divergence, weight=weight, hyper=hyper, mask=mask)}
