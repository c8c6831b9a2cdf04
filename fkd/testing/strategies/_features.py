"""Features of any axes, with one number a channel beside them or without."""

import torch
from hypothesis import strategies as st

from fkd.testing.strategies._embeddings import embedding_pairs
from fkd.testing.strategies._maps import distinct_map_pairs, map_pairs, map_shapes
from fkd.testing.strategies._numbers import Arguments, off_zero, tensors


def feature_pairs() -> st.SearchStrategy[Arguments]:
    """Student and teacher features [batch, width] or [batch, channels, height, width]."""
    return st.one_of(embedding_pairs(batch=1), map_pairs())


def apart_pairs() -> st.SearchStrategy[Arguments]:
    """Student and teacher features whose directions differ in each element, away from kinks."""

    def apart(features: Arguments) -> bool:
        student, teacher = (torch.nn.functional.normalize(x.flatten(1)) for x in features)
        return (student - teacher).abs().min().item() > 0.001

    return distinct_map_pairs().filter(apart)


def channel_shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """[batch, channels] or [batch, channels, height, width]."""
    return st.one_of(st.tuples(st.integers(1, 4), st.integers(1, 4)), map_shapes())


def signed_pairs() -> st.SearchStrategy[Arguments]:
    """Student and teacher features, the teacher's away from zero."""
    return channel_shapes().flatmap(lambda shape: st.tuples(tensors(shape), off_zero(shape)))


def pairs_with_variance() -> st.SearchStrategy[Arguments]:
    """Student and teacher features and a variance [channels] in [1/4, 20.25]."""
    return channel_shapes().flatmap(
        lambda shape: st.tuples(
            tensors(shape), tensors(shape), tensors(shape[1:2]).map(lambda x: x.abs() + 0.25)
        )
    )


def pairs_with_margin() -> st.SearchStrategy[Arguments]:
    """Student and teacher features, the teacher's away from zero and from a margin [channels]."""
    return channel_shapes().flatmap(
        lambda shape: st.tuples(
            tensors(shape), off_zero(shape), tensors(shape[1:2]).map(lambda x: -x.abs() - 1 / 64)
        )
    )
