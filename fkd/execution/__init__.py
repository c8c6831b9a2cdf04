"""How students lie on the hardware: layout, chunks, compilation, capture, precision.

Nothing here changes a result beyond rounding.
"""

from fkd.execution._compile import PAYS_FROM, compiled, pays, why_not_compile
from fkd.execution._lay import Advance, lay
from fkd.execution._memory import keep_freed
from fkd.execution._plan import Compile, Layout, Plan
from fkd.execution._precision import PRECISIONS, fast_in_bfloat16, multiply_in, precisions
from fkd.execution._run import runner
from fkd.execution._vmap import why_not_vmap

__all__ = [
    "PAYS_FROM",
    "PRECISIONS",
    "Advance",
    "Compile",
    "Layout",
    "Plan",
    "compiled",
    "fast_in_bfloat16",
    "keep_freed",
    "lay",
    "multiply_in",
    "pays",
    "precisions",
    "runner",
    "why_not_compile",
    "why_not_vmap",
]
