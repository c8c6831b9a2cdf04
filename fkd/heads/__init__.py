"""Trainable modules between a student's output and a loss, built from the shapes on both sides.

A shape is without its batch axis. Modules named as nouns of a paper are joint heads: they take the
student's outputs and the targets, and return what their loss takes, by argument. Heads join
channels and widths; `align` brings both sides to one resolution, and tokens and maps together.
"""

from fkd.heads import align
from fkd.heads._answers import Answers
from fkd.heads._contrastive import Embeddings, Memory
from fkd.heads._joint import (
    Factors,
    Flows,
    Fusion,
    Interrelations,
    Margin,
    SoftmaxRegression,
    Temperature,
    Variational,
)
from fkd.heads._regressors import (
    Aligned,
    Masked,
    classifier_of,
    connector,
    convolution_regressor,
    generator,
    linear,
    pointwise,
    pointwise_where_needed,
    projector,
    rectified_connector,
)
from fkd.heads._shapes import Arguments

__all__ = [
    "Aligned",
    "Answers",
    "Arguments",
    "Embeddings",
    "Factors",
    "Flows",
    "Fusion",
    "Interrelations",
    "Margin",
    "Masked",
    "Memory",
    "SoftmaxRegression",
    "Temperature",
    "Variational",
    "align",
    "classifier_of",
    "connector",
    "convolution_regressor",
    "generator",
    "linear",
    "pointwise",
    "pointwise_where_needed",
    "projector",
    "rectified_connector",
]
