"""A method that moves the student's probability to where the teacher has it, at a cost by classes.

Its `mask` names the target that is True where a pixel or a token counts (see `Term`).
"""

from functools import partial

from torch import Tensor

from fkd import _check, heads, losses
from fkd.losses._transport import ITERATIONS
from fkd.methods._asked import check_mask, check_temperature, check_weights
from fkd.methods._term import Method, Term, labels

__all__ = ["wkd_l"]
REACH = 5  # regularisations that an iteration moves: of further costs the plan is far from its sums


def wkd_l(
    weight: float = 1.0,
    gamma: float = 600.0,
    temperature: float = 8.0,
    regularization: float = 0.05,
    ce: float = 1.0,
    cost: Tensor | None = None,
    mask: str | None = None,
) -> Method:
    """The label's probability, and what it costs to move the others', less between like classes.

    `cost` is that of `losses.class_cost`, of the teacher's features, as the paper has it; without
    it it is that of the weights of the teacher's last layer: see `heads.Interrelations`. The
    numbers are the authors' for CIFAR-100; for ImageNet they have γ = 30 at temperature 2. Their
    code lets γ fall by a cosine in the last epochs.

    Lv, Yang and Li, "Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge
    Distillation" (2024).
    """
    check_weights("wkd-l", weight=weight, gamma=gamma, regularization=regularization)
    _check.positive("wkd-l", regularization=regularization)
    check_temperature("wkd-l", temperature=temperature)
    check_mask("wkd-l", mask)
    if cost is not None:
        _check.dimensions("wkd-l", "classes classes", cost=cost)
        _check.floating("wkd-l", cost=cost)
        _check_reach(cost, regularization)
    hyper = {"gamma": gamma, "temperature": temperature, "regularization": regularization}
    term = Term(
        losses.wkd_l,
        target=("logits", "labels"),
        weight=weight,
        hyper=hyper,
        head=partial(heads.Interrelations, cost=cost),
        joint=True,
        needs=("teacher",) if cost is None else (),
        mask=mask,
        whole=False,
    )
    return {"wkd-l": term} | labels("wkd-l", ce, mask)


def _check_reach(cost: Tensor, regularization: float) -> None:
    """Raise where the loss's few iterations move next to nothing, for the costs are large."""
    _, highest = _check.extremes(cost) or (0.0, 0.0)
    most = REACH * ITERATIONS
    if highest > most * regularization:
        raise ValueError(
            f"wkd-l: cost must be at most {most} times regularization, for further than that "
            f"{ITERATIONS} iterations move next to nothing, but it goes to {highest:.4g}, and "
            f"regularization is {regularization:.4g}; divide cost by its largest number"
        )
