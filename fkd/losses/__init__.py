"""Distillation losses: pure functions, student first, one value per example.

There is no `reduction=`: the mean over the batch is the published loss. Gradients flow to both
sides, nothing is broadcast, and float16 and bfloat16 are computed in float32 and returned in the
student's dtype. Every loss runs under `torch.func.vmap` and `grad` and `torch.compile`. Bounds hold
up to rounding, but that a value is not negative holds to the last bit. A logit of −inf is a class
of probability zero.

Losses of logits [..., classes] take two classes or more, for the softmax of one number is 1, and
any number of leading axes, so that a pixel or a token has a value as an example has. Their `mask`,
boolean [...], is True where a position counts: elsewhere the value and every gradient are zero,
whatever stands there: NaN, or a label of −100. Relations and correlations over a batch take
[batch, classes]; what is one batch to them, the caller says by flattening.

What does not fit raises ValueError before any work: tensors that are empty, sparse, on two devices,
or of other dtypes than float16, bfloat16, float32 and float64, numbers that float32 cannot hold,
temperatures whose square it cannot. Values of tensors are read for that (a label that is no class,
a number in a tensor that is out of range) where they are known: not under `torch.compile`; not, of
a number, where `vmap` or `grad` wraps it; and on an accelerator, where reading waits, outside
`torch.func` alone.

`Memory:` in a docstring is what a value and its gradient by `torch.func.grad` hold at their peak
beside the arguments, uncompiled and without a mask, in float32 numbers; `logits`, `maps`,
`features` or `embeddings` stand for one side's.

`__all__` lists the losses. `HELPERS` lists what some of them are computed from, and `BY_EXAMPLE`
holds those whose value of an example depends on no other example.
"""

from fkd.losses._contrastive import crd, info_nce
from fkd.losses._correlation import (
    batch_correlation,
    class_correlation,
    dist_inter,
    dist_intra,
)
from fkd.losses._decoupled import dkd, nkd, ofa, rld, tf_kd, wsld
from fkd.losses._divergence import (
    adaptive_kl_divergence,
    alpha_beta_divergence,
    skewed_kl_divergence,
    skewed_reverse_kl_divergence,
    top_k_kl_divergence,
)
from fkd.losses._feature import (
    activation_boundary,
    bilinear_congruence,
    cosine_distance,
    factor_transfer,
    ofd,
    squared_error,
    srd,
    vid,
)
from fkd.losses._feature import batchnorm_margin as batchnorm_margin
from fkd.losses._feature import mean_negative as mean_negative
from fkd.losses._map import (
    attention_transfer,
    attention_transfer_squared,
    channel_wise_divergence,
    fsp,
    hierarchical_context,
    inter_channel_correlation,
    nst,
    pkd,
)
from fkd.losses._map import flow as flow
from fkd.losses._pooled import class_attention_transfer, sdd, wkd_f
from fkd.losses._relation import (
    cka_distance,
    correlation_congruence,
    pkt,
    rkd_angle,
    rkd_distance,
    similarity,
)
from fkd.losses._response import (
    cross_entropy,
    jensen_shannon,
    kl_divergence,
    reverse_kl_divergence,
    soft_cross_entropy,
    total_variation,
)
from fkd.losses._singular import kdsvd
from fkd.losses._transformed import (
    hard_cross_entropy,
    norm_kd,
    standardized_kl_divergence,
    ttm,
    wttm,
)
from fkd.losses._transport import class_cost as class_cost
from fkd.losses._transport import wkd_l

__all__ = [
    "activation_boundary",
    "adaptive_kl_divergence",
    "alpha_beta_divergence",
    "attention_transfer",
    "attention_transfer_squared",
    "batch_correlation",
    "bilinear_congruence",
    "channel_wise_divergence",
    "cka_distance",
    "class_attention_transfer",
    "class_correlation",
    "correlation_congruence",
    "cosine_distance",
    "crd",
    "cross_entropy",
    "dist_inter",
    "dist_intra",
    "dkd",
    "factor_transfer",
    "fsp",
    "hard_cross_entropy",
    "hierarchical_context",
    "info_nce",
    "inter_channel_correlation",
    "jensen_shannon",
    "kdsvd",
    "kl_divergence",
    "nkd",
    "norm_kd",
    "nst",
    "ofa",
    "ofd",
    "pkd",
    "pkt",
    "reverse_kl_divergence",
    "rkd_angle",
    "rkd_distance",
    "rld",
    "sdd",
    "similarity",
    "skewed_kl_divergence",
    "skewed_reverse_kl_divergence",
    "soft_cross_entropy",
    "squared_error",
    "srd",
    "standardized_kl_divergence",
    "tf_kd",
    "top_k_kl_divergence",
    "total_variation",
    "ttm",
    "vid",
    "wkd_f",
    "wkd_l",
    "wsld",
    "wttm",
]

HELPERS = ["batchnorm_margin", "class_cost", "flow", "mean_negative"]

# Those whose value of an example depends on that example alone, so that a batch can be split.
BY_EXAMPLE = frozenset(
    {
        activation_boundary,
        adaptive_kl_divergence,
        alpha_beta_divergence,
        attention_transfer,
        attention_transfer_squared,
        channel_wise_divergence,
        class_attention_transfer,
        cosine_distance,
        crd,
        cross_entropy,
        dist_inter,
        dkd,
        factor_transfer,
        fsp,
        hard_cross_entropy,
        hierarchical_context,
        inter_channel_correlation,
        jensen_shannon,
        kdsvd,
        kl_divergence,
        nkd,
        norm_kd,
        nst,
        ofa,
        ofd,
        reverse_kl_divergence,
        rld,
        sdd,
        skewed_kl_divergence,
        skewed_reverse_kl_divergence,
        soft_cross_entropy,
        squared_error,
        standardized_kl_divergence,
        tf_kd,
        top_k_kl_divergence,
        total_variation,
        ttm,
        vid,
        wkd_f,
        wkd_l,
        wsld,
        wttm,
    }
)
