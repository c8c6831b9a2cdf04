"""Cases of the losses of features."""

import math

import strategies
from laws import Case

TEMPERATURE = {"temperature": strategies.temperatures()}

CASES = {
    "activation_boundary": Case(
        strategies.signed_pairs(),
        {"margin": strategies.temperatures()},
        smooth=1,  # a square of a positive part
    ),
    "attention_transfer": Case(
        strategies.apart_map_pairs(),
        high=math.sqrt(2),
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "attention_transfer_squared": Case(
        strategies.unlike_map_pairs(),
        high=1.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "channel_wise_divergence": Case(
        strategies.map_pairs(), TEMPERATURE, divergence=True, shift=True
    ),
    "cosine_distance": Case(
        strategies.feature_pairs(),
        high=2.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "factor_transfer": Case(
        strategies.apart_pairs(),
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "fsp": Case(strategies.map_quadruples(), divergence=True, sides=2),
    "hierarchical_context": Case(strategies.tall_map_pairs(), divergence=True, symmetric=True),
    "inter_channel_correlation": Case(
        strategies.distinct_map_pairs(),
        high=4.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "nst": Case(
        strategies.unlike_map_pairs(),
        high=2.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "ofd": Case(
        strategies.pairs_with_margin(),
        divergence=True,
        smooth=1,  # a square that is left out on one side of zero
        unbatched=1,
    ),
    "pkd": Case(
        strategies.distinct_map_pairs(),
        divergence=True,
        shift=True,
        scale=True,
        symmetric=True,
    ),
    "squared_error": Case(strategies.feature_pairs(), divergence=True, symmetric=True),
    "vid": Case(strategies.pairs_with_variance(), low=None, symmetric=True, unbatched=1),
}
