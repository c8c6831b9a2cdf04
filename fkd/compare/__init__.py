"""Comparisons: which method helps, and how sure are we?

    from fkd.compare import compare
    results = compare(teacher, student, {"ce": methods.ce(), "kd": methods.kd()}, data)
    results.write(folder)
    results.draw(folder)

`python -m fkd.compare` is the command line. What is not used here is not loaded: results are read
without torch's compiler, and written without matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fkd.compare.results import Results
    from fkd.compare.run import Comparison, Progress, compare
    from fkd.compare.teachers import Teachers
    from fkd.compare.variance import Variance
    from fkd.compare.vary import Factorial

__all__ = ["Comparison", "Factorial", "Progress", "Results", "Teachers", "Variance", "compare"]

_FILES = {
    "Comparison": "run",
    "Factorial": "vary",
    "Progress": "run",
    "Results": "results",
    "Teachers": "teachers",
    "Variance": "variance",
    "compare": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
