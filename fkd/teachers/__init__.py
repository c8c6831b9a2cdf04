"""Where targets come from: a teacher that is asked about each batch, or its answers looked up.

A teacher is an `Ask`, anything that gives outputs by name for a batch of inputs: a trained model
with its own input statistics (`Teacher`), several as one (`Several`), or a function of your own.
`train(..., teacher=ask)` asks it about each batch; `cached` and `kept` ask it once about each
example, and keep what it says in memory or on disk.
"""

from fkd.evaluate import Ask
from fkd.teachers._cached import cached, reads_alike
from fkd.teachers._compact import TopK, spread, top_k
from fkd.teachers._kept import kept
from fkd.teachers._renormalize import Renormalize
from fkd.teachers._several import Several
from fkd.teachers._teacher import Teacher, module_of, teacher_of_module

__all__ = [
    "Ask",
    "Renormalize",
    "Several",
    "Teacher",
    "TopK",
    "cached",
    "kept",
    "module_of",
    "reads_alike",
    "spread",
    "teacher_of_module",
    "top_k",
]
