"""fkd: functional knowledge distillation for PyTorch.

    import fkd

    fkd.losses.kl_divergence(student_logits, teacher_logits, temperature=4.0)

A part is loaded when it is first used, so `fkd.losses` brings no training code with it.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fkd import (
        checkpoint,
        compare,
        data,
        distillation,
        distributed,
        ensemble,
        evaluate,
        execution,
        export,
        heads,
        losses,
        methods,
        model,
        models,
        optim,
        schedules,
        split,
        statistics,
        teachers,
        testing,
        train,
    )

try:
    __version__ = version("fkd")
except PackageNotFoundError:  # the sources alone, not installed
    __version__ = "unknown"

__all__ = [
    "checkpoint",
    "compare",
    "data",
    "distillation",
    "distributed",
    "ensemble",
    "evaluate",
    "execution",
    "export",
    "heads",
    "losses",
    "methods",
    "model",
    "models",
    "optim",
    "schedules",
    "split",
    "statistics",
    "teachers",
    "testing",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"fkd.{name}")
    raise AttributeError(f"module 'fkd' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
