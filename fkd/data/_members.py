"""The batches of members who each read their own, with random numbers of their own."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd._random import Key
from fkd.data._source import Batch, Source

Read = Callable[[Any, Key], Batch]
"""`read(feeds, key) -> batches`: of feeds that are stacked and a key of seeds [members], the
members' batches, stacked, each of which is what its member reads alone."""


def member_feeds(source: Source, seeds: Sequence[int], epoch: int, start: int) -> Iterator[Any]:
    """The members' feeds of each step, stacked: those that `source.feeds` gives by their seeds, or
    the source itself at once."""
    if at_once := _at_once(source):
        return (_of_all(feed, len(seeds)) for feed in at_once(seeds, epoch, start))
    each = [source.feeds(seed, epoch, start) for seed in seeds]
    return (_beside(feeds) for feeds in zip(*each, strict=True))


def _at_once(source: Any) -> Callable[[Sequence[int], int, int], Iterator[Any]] | None:
    """A source's `member_feeds`, where its class has one of the same feeds as `feeds`."""
    for kind in type(source).__mro__:
        if "member_feeds" in vars(kind):
            return source.member_feeds
        if "feeds" in vars(kind):  # of which a class further up knows nothing
            return None
    return None


def _of_all(feed: Any, members: int) -> Any:
    """A feed of so many members; raises ValueError where it is another's."""
    for leaf in tree_leaves(feed):
        if leaf.ndim == 0 or len(leaf) != members:
            raise ValueError(
                f"train: the source's member_feeds must give leaves [{members} members, ...], but "
                f"one is {tuple(leaf.shape)}; stack what feeds gives by each seed"
            )
    return feed


def _beside(feeds: Sequence[Any]) -> Any:
    """What members read in a step, stacked."""
    try:
        return tree_map(_stacked, *feeds)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            "train: with order='own' the members' batches of a step must have one shape, but "
            f"{reason}; pad every batch to one length, or give order='shared'"
        ) from error


def member_reader(source: Source, feeds: Any, key: Key) -> partial[Batch]:
    """How members read in every step of a run.

    `source.read` sees one feed and one seed. It is mapped over members, or where `torch.func.vmap`
    cannot run it called for one after the other. Which of the two is found out here, on the feeds
    and the key of a few members, which stay as they are. It is the same whatever they hold: vmap
    refuses every branch on a number of theirs.
    """
    # Copies, for a source may write over what it is given.
    copies = tree_map(torch.clone, feeds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the run itself will warn
        try:
            mapped(source, copies, key)
        except Exception:  # what is the source's own, and not vmap's, comes again
            return partial(one_by_one, source)
    return partial(mapped, source)


def mapped(source: Source, feeds: Any, key: Key) -> Batch:
    """A `Read` by vmap. The step, one for all, is mapped too, so that a branch on it is refused as
    one on a seed is, and in the first step already."""
    each = Key(0, 0, None)  # type: ignore[arg-type]
    key = key._replace(step=key.step.expand_as(key.seed))
    return torch.func.vmap(source.read, in_dims=(0, each))(feeds, key)


def one_by_one(source: Source, feeds: Any, key: Key) -> Batch:
    """A `Read` by as many calls as there are members."""
    batches = [
        source.read(tree_map(itemgetter(k), feeds), key._replace(seed=seed))
        for k, seed in enumerate(key.seed)
    ]
    return tree_map(_stacked, *batches)


def _stacked(*leaves: Tensor) -> Tensor:
    return torch.stack(leaves)
