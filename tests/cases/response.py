"""Cases of the losses of logits."""

import strategies
from laws import Case

TEMPERATURE = {"temperature": strategies.temperatures()}

CASES = {
    "cross_entropy": Case(
        strategies.labelled_logits(), {"label_smoothing": strategies.shares()}, shift=True
    ),
    "kl_divergence": Case(strategies.logit_pairs(), TEMPERATURE, divergence=True, shift=True),
    "soft_cross_entropy": Case(strategies.logit_pairs(), TEMPERATURE, shift=True),
}
