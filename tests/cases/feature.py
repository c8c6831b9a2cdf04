"""Cases of the losses of features."""

import strategies
from laws import Case

CASES = {
    "cosine_distance": Case(
        strategies.feature_pairs(),
        high=2.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "squared_error": Case(strategies.feature_pairs(), divergence=True, symmetric=True),
}
