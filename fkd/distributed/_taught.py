"""A source whose batches a teacher in another process was asked about before they are needed."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import torch

from fkd import _check
from fkd._random import Key
from fkd.data import Batch, Source, steps_per_epoch
from fkd.distributed._remote_teacher import RemoteTeacher
from fkd.model import Tensors


@dataclass(frozen=True, eq=False)
class Taught:
    """The source with a teacher's outputs among its targets, asked for `ahead` batches early.

    So the teacher works while the students do: `train({...}, Taught(source, teacher), ...)` is
    `train({...}, source, teacher=teacher, ...)`, bit for bit where the order is shared. A feed is a
    batch as the teacher was shown it, augmented by its order's seed and the number of its step, and
    `read` gives just that; so it may be compiled and captured, and `ahead` + 1 batches are in
    memory. With the order "own" each member's batch is asked about by itself.

    Raises ValueError for arguments of another kind, and in `feeds` what `RemoteTeacher` raises.
    """

    source: Source
    teacher: RemoteTeacher
    ahead: int = 2

    def __post_init__(self) -> None:
        _check.kind("Taught", Source, source=self.source)
        _check.kind("Taught", RemoteTeacher, teacher=self.teacher)
        _check.count("Taught", ahead=self.ahead)

    @property
    def examples(self) -> int:
        return self.source.examples

    @property
    def batch_size(self) -> int:
        return self.source.batch_size

    @property
    def device(self) -> torch.device:
        return self.source.device

    def feeds(self, seed: int, epoch: int, start: int = 0) -> Iterator[Any]:
        first = epoch * steps_per_epoch(self.examples, self.batch_size) + start
        feeds = enumerate(self.source.feeds(seed, epoch, start), start=first)
        return self._answered(self.source.read(feed, self._key(seed, step)) for step, feed in feeds)

    def read(self, feed: Any, key: Key | None = None) -> Batch:
        return Batch(*feed)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        return self._answered(self.source.in_order(batch_size))

    def digest(self) -> str:
        return self.source.digest()

    def to(self, device: torch.device | str) -> "Taught":
        return replace(self, source=self.source.to(device))

    def batched(self, batch_size: int) -> "Taught":
        return replace(self, source=self.source.batched(batch_size))

    def _key(self, seed: int, step: int) -> Key:
        """The key that `train` reads a step's batch with."""
        return Key(*(torch.tensor(number, device=self.device) for number in (seed, step)))

    def _answered(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        asked: deque[tuple[Batch, Future[Tensors]]] = deque()
        for batch in batches:
            asked.append((batch, self.teacher.submit(batch.inputs)))
            if len(asked) > self.ahead:
                yield _taught(*asked.popleft())
        while asked:
            yield _taught(*asked.popleft())


def _taught(batch: Batch, answer: "Future[Tensors]") -> Batch:
    return Batch(batch.inputs, batch.targets | answer.result())
