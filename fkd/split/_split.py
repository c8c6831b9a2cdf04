"""One of the parts of every batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from fkd import _check

Tree = TypeVar("Tree")  # any pytree of tensors


def dealt(count: int, part: int, parts: int) -> slice:
    """A part of so many things in order: of what cannot be divided the first parts have one more.

    >>> [dealt(8, part, 3) for part in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
    """
    size, more = divmod(count, parts)
    first = part * size + min(part, more)
    return slice(first, first + size + (part < more))


@dataclass(frozen=True)
class Split:
    """Part number `part` of `parts`; the others are computed elsewhere at the same time.

    `sum(x)` is the sum of what all parts give, on each of them. Its gradient is the same sum: where
    the whole's loss is the sum of the parts' losses, L = Σ L_p, the gradient by what one part gives
    is Σ ∂L_p/∂sum. It is called equally often, in one order and with equal shapes, on all parts.

    Raises ValueError for what is no number of a part, and for what is no function.

    >>> Split(part=1, parts=3, sum=torch.Tensor.clone).rows(8)
    slice(3, 6, None)
    """

    part: int
    parts: int
    sum: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        _check.count("Split", parts=self.parts)
        _check.count("Split", least=0, most=self.parts - 1, part=self.part)
        _check.function("Split", sum=self.sum)

    def rows(self, examples: int) -> slice:
        """This part's rows of a batch of so many, as `dealt`. Raises ValueError where a part would
        have none."""
        return self._rows(self.part, examples)

    def sizes(self, examples: int) -> list[int]:
        """How many rows each part has. Raises ValueError as `rows`."""
        each = [self._rows(part, examples) for part in range(self.parts)]
        return [rows.stop - rows.start for rows in each]

    def _rows(self, part: int, examples: int) -> slice:
        if examples < self.parts:
            raise ValueError(
                f"Split: each of the {self.parts} parts of a batch must have an example, but the "
                f"batch has {examples}; take a larger batch or fewer parts"
            )
        return dealt(examples, part, self.parts)

    def own(self, tree: Tree, examples: int) -> Tree:
        """This part's rows of every leaf of a batch of so many."""
        rows = self.rows(examples)
        return tree_map(lambda leaf: leaf[rows] if isinstance(leaf, Tensor) else leaf, tree)

    def whole(self, x: Tensor, examples: int) -> Tensor:
        """Every part's rows, [rows, ...] here and [examples, ...] on all: a sum of disjoint rows,
        which adds zeros alone and so is exact."""
        rows = self.rows(examples)
        return self.sum(F.pad(x, (0, 0) * (x.ndim - 1) + (rows.start, examples - rows.stop)))

    def reduce(self, tree: Tree) -> Tree:
        """The sum over the parts of every leaf, all in one `sum` for each dtype."""
        leaves, structure = tree_flatten(tree)
        sums = list(leaves)
        for dtype in dict.fromkeys(leaf.dtype for leaf in leaves):
            places = [n for n, leaf in enumerate(leaves) if leaf.dtype == dtype]
            flat = self.sum(torch.cat([leaves[n].reshape(-1) for n in places]))
            pieces = flat.split([leaves[n].numel() for n in places])
            for n, piece in zip(places, pieces, strict=True):
                sums[n] = piece.reshape(leaves[n].shape)
        return tree_unflatten(sums, structure)
