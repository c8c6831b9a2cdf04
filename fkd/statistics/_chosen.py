"""What a choice is worth: of a setting on validation, of an epoch on the test set."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fkd.statistics._numbers import level, same_shape, table
from fkd.statistics._pair import Paired, paired


class Choice(NamedTuple):
    """The setting of the best mean, by its number; and of a choice by one seed alone, over seeds:
    its optimism, and what it is worth on the test set. `optimism_of_mean` is that of the first."""

    chosen: int
    optimism_of_mean: float
    optimism: Paired
    worth: Paired


class Epochs(NamedTuple):
    """By how much the best test epoch of each seed is above the last, over seeds; and by how much
    the best epoch of the mean curve is, with its number."""

    each: Paired
    best: int
    of_mean: float


def setting_choice(
    validation: Float[np.ndarray, "settings seeds"],
    test: Float[np.ndarray, "settings seeds"],
    confidence: float = 0.95,
) -> Choice:
    """What choosing a setting on validation is worth on the test set; higher scores are better.

    Each seed makes a choice of its own, c(s) = argmax over settings of validation[:, s], the first
    where several are equal. Its optimism is how much further validation lies above test there than
    on the mean of all settings,

        (validation − test)[c(s), s] − mean over settings of (validation − test)[:, s]

    and its worth test[c(s), s] − mean over settings of test[:, s]: what it wins over a setting at
    random. Both are one number a seed, with choices that know nothing of each other, so the paired
    t intervals over seeds hold, for skewed ones as a t interval does.

    `chosen` is the choice by the mean of all seeds, which is made once: the optimism of that is
    told without an interval, for there is no second such choice to tell its spread from.

    Cawley and Talbot, "On over-fitting in model selection and subsequent selection bias in
    performance evaluation" (2010), Section 5. Raises ValueError for fewer than two settings or
    seeds, two shapes, and numbers that are not finite.

    >>> validation, test = np.array([[3.0, 1.0], [2.0, 2.0]]), np.array([[1.0, 1.0], [2.0, 2.0]])
    >>> result = setting_choice(validation, test)
    >>> result.chosen, result.optimism.difference, result.worth.difference
    (0, 0.5, 0.0)
    """
    held = table("setting_choice", "validation", validation, "settings seeds", (2, 2))
    tested = table("setting_choice", "test", test, "settings seeds", (2, 2))
    same_shape("setting_choice", validation=held, test=tested)
    level("setting_choice", confidence)
    gap = held - tested
    chosen = int(held.mean(axis=1).argmax())
    own = held.argmax(axis=0), np.arange(held.shape[1])
    return Choice(
        chosen,
        float(gap[chosen].mean() - gap.mean()),
        _paired(gap[own], gap.mean(axis=0), confidence),
        _paired(tested[own], tested.mean(axis=0), confidence),
    )


def epoch_choice(curves: Float[np.ndarray, "epochs seeds"], confidence: float = 0.95) -> Epochs:
    """What picking the best epoch on the test set would have made of the last; higher is better.

    `each` is max over epochs of curves[:, s] − curves[−1, s], over seeds: never below zero, however
    useless the choice, which is why fkd tells the last. `of_mean` is the same of the mean over
    seeds, at epoch `best`, from zero on and the first where several are equal; it is one number and
    has no interval. For two methods a and b, what it makes of their difference is
    `paired(best of a − last of a, best of b − last of b)`.

    Raises ValueError for no epochs or fewer than two seeds, and for numbers that are not finite.

    >>> result = epoch_choice(np.array([[0.5, 0.8], [0.7, 0.6], [0.6, 0.6]]))
    >>> [round(x, 4) for x in result.each], result.best, round(result.of_mean, 4)
    ([0.15, -0.4853, 0.7853, 0.2048], 0, 0.05)
    """
    x = table("epoch_choice", "curves", curves, "epochs seeds", (1, 2))
    level("epoch_choice", confidence)
    mean = x.mean(axis=1)
    best = int(mean.argmax())
    return Epochs(_paired(x.max(axis=0), x[-1], confidence), best, float(mean[best] - mean[-1]))


def _paired(
    a: Float[np.ndarray, " seeds"], b: Float[np.ndarray, " seeds"], confidence: float
) -> Paired:
    return paired(a.tolist(), b.tolist(), confidence)
