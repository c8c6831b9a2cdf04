"""Trainable modules between a student's output and a loss, built from the shapes on both sides.

A shape is without its batch axis. Modules named as nouns of a paper are joint heads: they take the
student's outputs and the targets, and return what their loss takes, by argument.
"""

from fkd.heads._contrastive import Embeddings, Memory
from fkd.heads._joint import Factors, Flows, Fusion, Margin, Temperature, Variational
from fkd.heads._regressors import (
    classifier_of,
    connector,
    convolution_regressor,
    pointwise,
    projector,
)
from fkd.heads._shapes import Arguments

__all__ = [
    "Arguments",
    "Embeddings",
    "Factors",
    "Flows",
    "Fusion",
    "Margin",
    "Memory",
    "Temperature",
    "Variational",
    "classifier_of",
    "connector",
    "convolution_regressor",
    "pointwise",
    "projector",
]
