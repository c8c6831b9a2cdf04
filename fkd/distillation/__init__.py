"""Distillation as a pure function of state: `gradient`, a seam where ranks may meet, `update`."""

from fkd.distillation._distill import distill, step
from fkd.distillation._state import (
    Distillation,
    Gradient,
    Loss,
    Parts,
    State,
    average_of,
    student_of,
)

__all__ = [
    "Distillation",
    "Gradient",
    "Loss",
    "Parts",
    "State",
    "average_of",
    "distill",
    "step",
    "student_of",
]
