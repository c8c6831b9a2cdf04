"""Ranks as a grid: over one axis members are dealt, over the other each batch is split."""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import _resolve_process_group
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check
from fkd.distributed._sum import sum_over_ranks
from fkd.split import Split
from fkd.split._split import dealt

Tree = TypeVar("Tree")  # any pytree of tensors


@dataclass(frozen=True)
class Mesh:
    """Rank number `rank` of `member_ranks` · `data_ranks`, the data axis the inner one.

    `data_group` names the process group of those ranks that share a batch with this one, and
    `words_group` that of all for what they tell each other, if not the default one. Without
    arguments it is one process, which needs no process group.

    Raises ValueError for what is no count, and for a rank that is not there.

    >>> mesh = Mesh()
    >>> mesh.members(3), mesh.gather(["a", "b"]), mesh.split
    (slice(0, 3, None), ['a', 'b'], None)
    """

    rank: int = 0
    member_ranks: int = 1
    data_ranks: int = 1
    data_group: str = ""
    words_group: str = ""

    def __post_init__(self) -> None:
        _check.count("Mesh", member_ranks=self.member_ranks, data_ranks=self.data_ranks)
        _check.count("Mesh", least=0, most=self.ranks - 1, rank=self.rank)

    @property
    def ranks(self) -> int:
        return self.member_ranks * self.data_ranks

    @property
    def member_rank(self) -> int:
        return self.rank // self.data_ranks

    @property
    def data_rank(self) -> int:
        return self.rank % self.data_ranks

    @property
    def split(self) -> Split | None:
        """This rank's part of each batch, for `distill`; None where batches are not split."""
        if self.data_ranks == 1:
            return None
        total = partial(sum_over_ranks, group=self.data_group)
        return Split(self.data_rank, self.data_ranks, total)

    def members(self, count: int) -> slice:
        """Those of an ensemble of `count` that are this rank's, for
        `Students(rule, seeds[mesh.members(count)], members=count)`.

        Raises ValueError where a rank would have none.
        """
        _check.count("Mesh.members", count=count)
        if count < self.member_ranks:
            raise ValueError(
                f"Mesh: {count} members cannot be dealt over {self.member_ranks} ranks, for each "
                "must have one; take fewer processes, more seeds, or let ranks share batches (the "
                "data axis)"
            )
        return dealt(count, self.member_rank, self.member_ranks)

    def gather(self, rows: list[Any]) -> list[Any]:
        """One JSON value for each member of this rank: those of all members in order, on each rank.

        >>> Mesh().gather([1, 2])
        [1, 2]
        """
        _check.kind("Mesh.gather", list, rows=rows)
        each = self.words(rows)[:: self.data_ranks]
        return [row for rows in each for row in rows]

    def words(self, word: Any) -> list[Any]:
        """One JSON value of each rank, by rank, on each. All ranks wait here for each other.

        Raises RuntimeError where one does not come: on rank 0 it says which.

        >>> Mesh().words({"step": 3})
        [{'step': 3}]
        """
        text = json.dumps(word).encode()
        if self.ranks == 1:
            return [json.loads(text)]
        group = _group(self.words_group)
        _meet(group)
        own = torch.tensor(list(text), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.ranks)]
        dist.all_gather(sizes, torch.tensor([len(own)]), group)
        longest = int(max(sizes))
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(own)] = own
        texts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(texts, padded, group)
        pairs = zip(texts, sizes, strict=True)
        return [json.loads(bytes(text[: int(size)].tolist())) for text, size in pairs]

    def of_first(self, tree: Tree) -> Tree:
        """Rank 0's tensors, on each rank; `tree` has their shapes everywhere.

        >>> Mesh().of_first({"w": torch.tensor(1.0)})
        {'w': tensor(1.)}
        """
        for leaf in tree_leaves(tree):
            _check.tensor("Mesh.of_first", tree=leaf)
        return tree if self.ranks == 1 else tree_map(_of_first, tree)


def _group(name: str) -> dist.ProcessGroup:
    if not name:
        return dist.distributed_c10d._get_default_group()
    return _resolve_process_group(name)  # type: ignore[arg-type]


def _meet(group: dist.ProcessGroup) -> None:
    """Wait until all ranks are here."""
    try:
        group.monitored_barrier(wait_all_ranks=True)  # type: ignore[attr-defined]
    except RuntimeError as error:
        raise RuntimeError(f"Mesh.words: not all ranks came: {error}") from error


def _of_first(leaf: Tensor) -> Tensor:
    copy = leaf.detach().clone(memory_format=torch.contiguous_format)
    dist.broadcast(copy, src=0)
    return copy
