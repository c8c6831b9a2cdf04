"""A process group in Python, whose ranks leave their tensors in the store: a backend of one's own.

Backend.register_backend("stored", StoredGroup.made, devices=["cpu"]) names it.
"""

# torch's own stubs have the shorthands for one tensor alone, and not what c10d calls.
# pyright: reportIncompatibleMethodOverride=false
import io
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store, _create_work_from_future
from torch.distributed.distributed_c10d import _world


class StoredGroup(dist.ProcessGroup):
    """All reduce, all gather and broadcast; every rank reads what each has left."""

    def __init__(self, store: Store, rank: int, ranks: int):
        super().__init__(rank, ranks)  # pyright: ignore[reportCallIssue]  # torch 2.11 takes no store
        self.store, self.own, self.ranks, self.calls = store, rank, ranks, 0

    @staticmethod
    def made(store: Store, rank: int, ranks: int, timeout: timedelta) -> "StoredGroup":
        store.set_timeout(timeout)
        return StoredGroup(store, rank, ranks)

    def _all(self, own: Tensor) -> list[Tensor]:
        """The tensor of each rank at this call."""
        self.calls += 1
        written = io.BytesIO()
        torch.save(own, written)
        self.store.set(f"{self.calls}/{self.own}", written.getvalue().hex())
        texts = [self.store.get(f"{self.calls}/{rank}") for rank in range(self.ranks)]
        files = [io.BytesIO(bytes.fromhex(text.decode())) for text in texts]
        return [torch.load(file, weights_only=True) for file in files]

    def allreduce(self, tensors: list[Tensor], opts: Any = None) -> dist.Work:
        assert opts is None or opts.reduceOp == dist.ReduceOp.SUM
        for tensor in tensors:
            tensor.copy_(torch.stack(self._all(tensor)).sum(0))
        return done(tensors)

    def allgather(
        self, outputs: list[list[Tensor]], inputs: list[Tensor], opts: Any = None
    ) -> dist.Work:
        for places, tensor in zip(outputs, inputs, strict=True):
            for place, value in zip(places, self._all(tensor), strict=True):
                place.copy_(value)
        return done(outputs)

    def broadcast(self, tensors: list[Tensor], opts: Any = None) -> dist.Work:
        for tensor in tensors:
            tensor.copy_(self._all(tensor)[opts.rootRank])
        return done(tensors)

    def barrier(self, opts: Any = None) -> dist.Work:
        return self.allreduce([torch.zeros(1)])

    @property
    def group_name(self) -> str:  # which a group in Python must say itself, as torch's own does
        return _world.pg_names[self]

    def getBackendName(self) -> str:
        return "stored"


def done(value: Any) -> dist.Work:
    future: torch.futures.Future[Any] = torch.futures.Future()
    future.set_result(value)
    return _create_work_from_future(future)
