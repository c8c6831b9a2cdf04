"""Cases of the losses of logits."""

import math

import strategies
from laws import Case

TEMPERATURE = {"temperature": strategies.temperatures()}
LABELLED = strategies.labelled_logit_pairs()
# A row, or a class, that is constant has no standard deviation to divide by: a jump.
UNEVEN = strategies.uneven(strategies.logit_pairs())
LARGEST = 2 * 8.0**2  # of T² (1 − correlation), at the highest temperature drawn

CASES = {
    "batch_correlation": Case(
        strategies.logit_pairs(batch=2),
        TEMPERATURE,
        high=5.0,  # the largest batch drawn
        divergence=True,
        shift=True,
        symmetric=True,
        relation=True,
    ),
    "class_correlation": Case(
        strategies.logit_pairs(),
        TEMPERATURE,
        divergence=True,
        shift=True,
        symmetric=True,
        per_class=True,
    ),
    "cross_entropy": Case(
        strategies.labelled_logits(), {"label_smoothing": strategies.shares()}, shift=True
    ),
    "dist_inter": Case(
        UNEVEN,
        TEMPERATURE,
        high=LARGEST,
        divergence=True,
        shift=True,
        symmetric=True,
    ),
    "dist_intra": Case(
        strategies.scattered_logit_pairs(),
        TEMPERATURE,
        high=LARGEST,
        divergence=True,
        shift=True,
        symmetric=True,
        relation=True,
        per_class=True,
    ),
    "dkd": Case(
        LABELLED,
        {"alpha": strategies.shares(), "beta": strategies.temperatures(), **TEMPERATURE},
        divergence=True,
        shift=True,
    ),
    "jensen_shannon": Case(
        strategies.logit_pairs(),
        {"beta": strategies.shares(), **TEMPERATURE},
        high=math.log(2),
        divergence=True,
        shift=True,
    ),
    "kl_divergence": Case(strategies.logit_pairs(), TEMPERATURE, divergence=True, shift=True),
    "nkd": Case(LABELLED, {"gamma": strategies.temperatures(), **TEMPERATURE}, shift=True),
    "reverse_kl_divergence": Case(
        strategies.logit_pairs(), TEMPERATURE, divergence=True, shift=True
    ),
    "soft_cross_entropy": Case(strategies.logit_pairs(), TEMPERATURE, shift=True),
    "standardized_kl_divergence": Case(
        UNEVEN, TEMPERATURE, divergence=True, shift=True, scale=True
    ),
    "total_variation": Case(
        strategies.logit_pairs(),
        TEMPERATURE,
        high=1.0,
        divergence=True,
        shift=True,
        symmetric=True,
        smooth=0,
    ),
    # its weight is held constant, so that its gradient is not that of its value
    "wsld": Case(LABELLED, TEMPERATURE, shift=True, smooth=0),
}
