"""The random calls of a forward pass, answered by a hash instead of torch's generators.

`Draws` answers what it knows how to; `refusing` finds what it missed, once and on the meta device.
"""

from fkd._draws._mode import Draws
from fkd._draws._refuse import placed, refusing

__all__ = ["Draws", "placed", "refusing"]
