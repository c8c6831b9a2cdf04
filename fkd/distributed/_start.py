"""A process group from torchrun's environment, and its end."""

import os
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import multiprocessing

from fkd import _check
from fkd.distributed._mesh import Mesh

TIMEOUT = 600.0  # seconds that a rank waits for the others
# What torchrun tells a process of itself, and how it finds the others.
NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
NAMES = (*NUMBERS, "MASTER_ADDR")
FRESH = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


@contextmanager
def started(
    data_ranks: int = 1, backend: str | None = None, timeout: float = TIMEOUT
) -> Iterator[Mesh]:
    """Under torchrun the ranks as a mesh, as long as it is entered; elsewhere one process.

    `data_ranks` share each batch. `backend` carries tensors, and is torch's default for what is
    here: "cpu:gloo,cuda:nccl" on a GPU, each rank on the one of its LOCAL_RANK, and "gloo"
    elsewhere. What ranks tell each other goes over gloo. A rank that waits for another longer than
    `timeout` seconds raises an error that says for whom, and so does every other. The process
    groups are gone at the end, however it came.

    A worker of torchrun ends with its agent, where the system can do that (Linux): without it, it
    would go on beside those that are started in its place. Where torchrun may start workers again,
    its own environment should have had TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, so that these do not
    meet where the dead have met; a warning says so.

    Raises ValueError for numbers that are none, for an environment that has only a part of what
    torchrun sets, for a LOCAL_RANK without a GPU of its own, and for ranks that cannot be dealt so.

    >>> with started() as mesh:
    ...     mesh.ranks
    1
    """
    _check.count("started", data_ranks=data_ranks)
    _check.plain("started", timeout=timeout)
    _check.positive("started", timeout=timeout)
    if backend is not None:
        _check.kind("started", str, backend=backend)
    place = _place(os.environ)
    ranks = place.get("WORLD_SIZE", 1)
    if ranks % data_ranks:
        raise ValueError(
            f"started: {ranks} ranks cannot be dealt into rows of {data_ranks} that share batches; "
            "take a multiple of them"
        )
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _under_agent(os.environ, place)
    if backend is None:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if "nccl" in backend and place:
        _take_gpu(place["LOCAL_RANK"])
    if ranks == 1:
        yield Mesh()
        return
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    try:
        yield _mesh(data_ranks, timeout)
    finally:
        dist.destroy_process_group()


def _place(environ: Mapping[str, str]) -> dict[str, int]:
    """The numbers of this process among those that torchrun has started; none of one alone."""
    given = {name: environ[name] for name in NAMES if name in environ}
    if not given:
        return {}
    if missing := [name for name in NAMES if name not in given]:
        raise ValueError(
            f"started: the environment has {', '.join(given)} but no {', '.join(missing)}; start "
            "the ranks by torchrun, which sets all of them, or unset those for one process"
        )
    try:
        place = {name: int(given[name]) for name in NUMBERS}
    except ValueError as error:
        raise ValueError(
            f"started: {', '.join(NUMBERS)} in the environment must be numbers ({error}); start "
            "the ranks by torchrun, which sets them"
        ) from error
    if not 0 <= place["RANK"] < place["WORLD_SIZE"]:
        raise ValueError(
            f"started: the environment has RANK={place['RANK']} and WORLD_SIZE="
            f"{place['WORLD_SIZE']}, but ranks are numbered from 0 to one below their count; start "
            "them by torchrun"
        )
    return place


def _under_agent(environ: Mapping[str, str], place: Mapping[str, int]) -> None:
    # torch's own of the system's prctl, which it uses for the processes that it spawns
    end_with_parent = getattr(multiprocessing, "_prctl_pr_set_pdeathsig", None)
    if end_with_parent is not None:
        end_with_parent(signal.SIGKILL)
    shared = environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    if place.get("RANK") == 0 and shared and int(environ.get("TORCHELASTIC_MAX_RESTARTS", "0")):
        warnings.warn(
            "started: workers that torchrun starts again may fail to find each other, for it "
            f"shares one store among all attempts; write {FRESH}=1 torchrun ...",
            stacklevel=4,
        )


def _take_gpu(local_rank: int) -> None:
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise ValueError(
            f"started: LOCAL_RANK is {local_rank}, but this machine has {gpus} GPUs, one a rank; "
            f"start {gpus} ranks here, or take backend 'gloo', which needs none"
        )
    torch.cuda.set_device(local_rank)


def _mesh(data_ranks: int, timeout: float) -> Mesh:
    rank, ranks = dist.get_rank(), dist.get_world_size()
    patience, name = timedelta(seconds=timeout), ""
    for first in range(0, ranks, data_ranks) if data_ranks > 1 else ():
        row = list(range(first, first + data_ranks))  # every rank makes every group, in one order
        group = dist.new_group(row, timeout=patience)
        if isinstance(group, dist.ProcessGroup):  # it is this rank's
            name = _name(group)
    # One more, so that it still says who is missing where the tensors' groups are broken.
    words = dist.new_group(backend="gloo", timeout=patience)
    assert isinstance(words, dist.ProcessGroup)  # every rank is in it
    return Mesh(rank, ranks // data_ranks, data_ranks, name, _name(words))


def _name(group: dist.ProcessGroup) -> str:
    return dist.distributed_c10d._get_process_group_name(group)
