"""The batches of members who each read their own, with random numbers of their own."""

from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from fkd._random import Key
from fkd.data._source import Batch, Source


def read_members(source: Source, feeds: Any, key: Key) -> Batch:
    """The members' batches, stacked, of feeds that are stacked and a key of seeds [members]: each
    is what its member reads alone.

    `read` sees one feed and one seed. It is mapped over members, or where `torch.func.vmap` cannot
    run it called for one after the other.
    """
    own = Key(0, None, None)  # type: ignore[arg-type]
    # Copies, for what fails on the way may have written over what it was given.
    copies = tree_map(torch.clone, feeds)
    try:
        return torch.func.vmap(source.read, in_dims=(0, own))(copies, key)
    except Exception:  # what is the source's own, and not vmap's, comes again
        batches = [
            source.read(tree_map(itemgetter(k), feeds), key._replace(seed=seed))
            for k, seed in enumerate(key.seed)
        ]
        return tree_map(_stacked, *batches)


def _stacked(*leaves: Tensor) -> Tensor:
    return torch.stack(leaves)
