"""Hypothesis strategies for what a loss takes: logits, labels, features, maps, embeddings, numbers.

A strategy draws a loss's positional arguments as a tuple of float64 tensors, student first. Batches
and widths are small, and the numbers exact in float32.
"""

from fkd.testing.strategies._embeddings import (
    contrasted_embeddings,
    distinct_rows,
    embedding_pairs,
    related_embeddings,
)
from fkd.testing.strategies._features import (
    apart_pairs,
    channel_shapes,
    feature_pairs,
    pairs_with_margin,
    pairs_with_variance,
    signed_pairs,
)
from fkd.testing.strategies._logits import (
    labelled_logit_pairs,
    labelled_logits,
    labels,
    logit_pairs,
    logit_shapes,
    scattered_logit_pairs,
    soft_labelled_logits,
    soft_labels,
    uneven,
)
from fkd.testing.strategies._maps import (
    apart_map_pairs,
    distinct_map_pairs,
    map_pairs,
    map_quadruples,
    map_shapes,
    tall_map_pairs,
    unlike_map_pairs,
)
from fkd.testing.strategies._numbers import (
    Arguments,
    distinct,
    eighths,
    off_zero,
    pairs,
    shares,
    temperatures,
    tensors,
)

__all__ = [
    "Arguments",
    "apart_map_pairs",
    "apart_pairs",
    "channel_shapes",
    "contrasted_embeddings",
    "distinct",
    "distinct_map_pairs",
    "distinct_rows",
    "eighths",
    "embedding_pairs",
    "feature_pairs",
    "labelled_logit_pairs",
    "labelled_logits",
    "labels",
    "logit_pairs",
    "logit_shapes",
    "map_pairs",
    "map_quadruples",
    "map_shapes",
    "off_zero",
    "pairs",
    "pairs_with_margin",
    "pairs_with_variance",
    "related_embeddings",
    "scattered_logit_pairs",
    "shares",
    "signed_pairs",
    "soft_labelled_logits",
    "soft_labels",
    "tall_map_pairs",
    "temperatures",
    "tensors",
    "uneven",
    "unlike_map_pairs",
]
