"""Many processes: the only place that imports torch.distributed.

Members of ensembles are dealt over ranks, and each batch may be split over ranks too. Neither
changes a result but for rounding; dealing members changes no bit.
"""

from fkd.distributed._mesh import Mesh
from fkd.distributed._start import started
from fkd.distributed._sum import sum_over_ranks

__all__ = ["Mesh", "started", "sum_over_ranks"]
