"""A batch in parts that are computed at the same time, so that nothing but rounding is changed.

Nothing here knows where the other parts are computed: `fkd.distributed` says it of ranks.
"""

from fkd.split._split import Split
from fkd.split._together import together

__all__ = ["Split", "together"]
