"""Distillation losses: pure functions, student first, one value per example.

There is no `reduction=`: the mean over the batch is the published loss. Gradients flow to both
sides, nothing is broadcast, and float16 and bfloat16 are computed in float32 and returned in the
student's dtype. Every loss runs under `torch.func.vmap` and `grad` and `torch.compile`.
"""

from fkd.losses._feature import cosine_distance, squared_error
from fkd.losses._response import cross_entropy, kl_divergence, soft_cross_entropy

__all__ = [
    "cosine_distance",
    "cross_entropy",
    "kl_divergence",
    "soft_cross_entropy",
    "squared_error",
]
