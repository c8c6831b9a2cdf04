"""A process group from torchrun's environment, and its end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from fkd import _check
from fkd.distributed._mesh import Mesh

TIMEOUT = 600.0  # seconds that a rank waits for the others


@contextmanager
def started(
    data_ranks: int = 1, backend: str | None = None, timeout: float = TIMEOUT
) -> Iterator[Mesh]:
    """Under torchrun the ranks as a mesh, as long as it is entered; elsewhere one process.

    `data_ranks` share each batch. `backend` is torch's default for what is here: "cpu:gloo,
    cuda:nccl" on a GPU and "gloo" elsewhere. A rank that waits for another longer than `timeout`
    seconds raises an error, and so does every other.

    Raises ValueError for numbers that are none, and for ranks that cannot be dealt so.

    >>> with started() as mesh:
    ...     mesh.ranks
    1
    """
    _check.count("started", data_ranks=data_ranks)
    _check.plain("started", timeout=timeout)
    _check.positive("started", timeout=timeout)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks % data_ranks:
        raise ValueError(
            f"started: {ranks} ranks cannot be dealt into rows of {data_ranks} that share batches; "
            "take a multiple of them"
        )
    if ranks == 1:
        yield Mesh()
        return
    if backend is None:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    try:
        yield _mesh(data_ranks, timeout)
    finally:
        dist.destroy_process_group()


def _mesh(data_ranks: int, timeout: float) -> Mesh:
    rank, ranks = dist.get_rank(), dist.get_world_size()
    name = ""
    for first in range(0, ranks, data_ranks) if data_ranks > 1 else ():
        row = list(range(first, first + data_ranks))  # every rank makes every group, in one order
        group = dist.new_group(row, timeout=timedelta(seconds=timeout))
        if isinstance(group, dist.ProcessGroup):  # it is this rank's
            name = group.group_name
    return Mesh(rank, ranks // data_ranks, data_ranks, name)
