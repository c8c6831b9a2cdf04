"""Many processes: the only place that imports torch.distributed.

Members of ensembles are dealt over ranks, and each batch may be split over ranks too. Neither
changes a result but for rounding; dealing members changes no bit. A teacher may lie in parts on the
ranks, or answer from another process. So may a student's state lie in parts, and a server keep the
states of more members than the devices hold.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fkd.distributed._device_mesh import mesh_of
from fkd.distributed._member_server import (
    Members,
    MemberServer,
    StaleError,
    Taken,
    serve_members,
)
from fkd.distributed._mesh import Mesh
from fkd.distributed._remote_teacher import RemoteTeacher
from fkd.distributed._sharded_teacher import ShardedTeacher, sharded_teacher
from fkd.distributed._start import started
from fkd.distributed._sum import sum_over_ranks
from fkd.distributed._taught import Taught
from fkd.distributed._teacher_server import Served, serve_teacher

if TYPE_CHECKING:
    from fkd.distributed._sharded_student import (
        load_sharded,
        save_sharded,
        sharded,
        sharded_state,
        whole_state,
    )

__all__ = [
    "MemberServer",
    "Members",
    "Mesh",
    "RemoteTeacher",
    "Served",
    "ShardedTeacher",
    "StaleError",
    "Taken",
    "Taught",
    "load_sharded",
    "mesh_of",
    "save_sharded",
    "serve_members",
    "serve_teacher",
    "sharded",
    "sharded_state",
    "sharded_teacher",
    "started",
    "sum_over_ranks",
    "whole_state",
]


def __getattr__(name: str) -> Any:
    # What lies in parts are DTensors, which take most of a second to import, and few need them.
    if name in __all__:
        return getattr(import_module("fkd.distributed._sharded_student"), name)
    raise AttributeError(f"module 'fkd.distributed' has no attribute {name!r}")
