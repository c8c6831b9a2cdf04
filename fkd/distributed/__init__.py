"""x"""

from fkd.distributed._remote_teacher import RemoteTeacher
from fkd.distributed._sharded_teacher import ShardedTeacher, sharded_teacher
from fkd.distributed._taught import Taught
from fkd.distributed._teacher_server import Served, serve_teacher

__all__ = ["ShardedTeacher", "sharded_teacher"]
