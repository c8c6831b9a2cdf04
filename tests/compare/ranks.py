"""Ranks as threads of one process: their words go through memory, and all of them are JSON."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any

from fkd.distributed import Mesh

LONGEST = 60  # seconds that a rank waits for another


@dataclass
class Table:
    """Where so many ranks lay their words down."""

    ranks: int
    words: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = Barrier(self.ranks, timeout=LONGEST)


@dataclass(frozen=True)
class InThreads(Mesh):
    """A mesh of threads."""

    table: Table = field(default_factory=lambda: Table(1))

    def words(self, word: Any) -> list[Any]:
        self.table.words[self.rank] = json.dumps(word)
        self.table.barrier.wait()
        words = [json.loads(self.table.words[rank]) for rank in range(self.ranks)]
        self.table.barrier.wait()
        return words


def meshes(member_ranks: int, data_ranks: int = 1) -> list[Mesh]:
    """The meshes of all ranks, without a word between them."""
    ranks = range(member_ranks * data_ranks)
    return [Mesh(rank=rank, member_ranks=member_ranks, data_ranks=data_ranks) for rank in ranks]


def on_ranks(function: Callable[[Mesh], Any], member_ranks: int, data_ranks: int = 1) -> list[Any]:
    """What each rank returns, or the error that it raises, in order of ranks."""
    table = Table(member_ranks * data_ranks)
    each = [
        InThreads(rank=rank, member_ranks=member_ranks, data_ranks=data_ranks, table=table)
        for rank in range(table.ranks)
    ]
    with ThreadPoolExecutor(table.ranks) as threads:
        running = [threads.submit(function, mesh) for mesh in each]
        return [one.exception() or one.result() for one in running]
