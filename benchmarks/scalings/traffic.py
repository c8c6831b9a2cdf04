"""What ranks send each other, counted in the process group: every collective of whatever origin."""

# pyright: reportIncompatibleMethodOverride=false
# torch declares each collective in several forms, and calls the one that is here.

from functools import partial
from typing import Any, NamedTuple

import torch.distributed as dist
from torch import Tensor

BACKEND = "counting"  # gloo that counts, by the name under which torch knows it


class Call(NamedTuple):
    """A collective, and the bytes that this rank gives into it."""

    name: str
    bytes: int


def register(calls: list[Call]) -> None:
    """Have torch make groups of the backend BACKEND that add to these calls."""
    dist.Backend.register_backend(BACKEND, partial(Counting, calls), devices=["cpu"])


class Counting(dist.ProcessGroup):
    """Gloo's process group, which notes each collective. One that is not here raises an error."""

    def __init__(self, calls: list[Call], store: Any, rank: int, size: int, timeout: Any):
        super().__init__(rank, size)  # pyright: ignore[reportCallIssue]
        self.calls = calls
        self.gloo: Any = dist.ProcessGroupGloo(store, rank, size, timeout)

    def getBackendName(self) -> str:
        return BACKEND

    def _set_group_name(self, name: str) -> None:
        self.own_name = name  # torch's own property reads it from a backend in C++

    @property
    def group_name(self) -> str:
        return self.own_name

    def allreduce(self, tensors: list[Tensor], opts: Any) -> Any:
        self._note("all_reduce", *tensors)
        return self.gloo.allreduce(tensors, opts)

    def allgather(self, outputs: list[list[Tensor]], inputs: list[Tensor], opts: Any) -> Any:
        self._note("all_gather", *inputs)
        return self.gloo.allgather(outputs, inputs, opts)

    def broadcast(self, tensors: list[Tensor], opts: Any) -> Any:
        self._note("broadcast", *tensors)
        return self.gloo.broadcast(tensors, opts)

    def barrier(self, opts: Any) -> Any:
        self._note("barrier")
        return self.gloo.barrier(opts)

    def _note(self, name: str, *tensors: Tensor) -> None:
        self.calls.append(Call(name, sum(tensor.nbytes for tensor in tensors)))
