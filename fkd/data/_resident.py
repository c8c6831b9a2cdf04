"""A source that lies on the device as tensors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd import _check
from fkd._digest import digest
from fkd._random import Key
from fkd.data._order import check_feed, check_rows, order, steps_per_epoch
from fkd.data._source import (
    Batch,
    Mix,
    Transform,
    check_batch,
    check_device,
    check_index_is_free,
    check_shown,
    named_leaves,
    show,
    unchanged,
)

Expand = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Resident:
    """Examples that lie on a device as tensors, read by their numbers inside the step.

    `inputs` are any pytree of tensors and `targets` tensors by name; all lead with one axis of
    examples, and may have any other axes and any dtype. A feed is the numbers [batch] of the rows,
    or [members, batch]; `read` takes those rows, and then `transform(inputs, key)`. The batch has
    the numbers among its targets, as `index`. Targets that lie compact are made what they stand for
    by `expand(targets)` whenever they are read, such as a teacher's few largest logits. What
    `augmented` adds, `augment` before the transform and `mix` behind it, comes only where there is
    a key: in training.

    Raises ValueError for leaves that are no tensors, differ in their number of examples or lie on
    different devices, for no examples at all, labels that do not fit (see `Batch`), a target named
    `index`, a batch size below one, functions that are none, examples that the transform refuses,
    and as `augmented`; when it is read, for what are no numbers of rows.

    >>> source = Resident(torch.arange(5.0), {"labels": torch.arange(5)}, batch_size=2)
    >>> feeds = list(source.feeds(seed=0, epoch=0))
    >>> len(feeds), source.read(torch.tensor([3, 1]))
    (3, Batch(inputs=tensor([3., 1.]), targets={'labels': tensor([3, 1]), 'index': tensor([3, 1])}))
    """

    inputs: Any
    targets: Mapping[str, Tensor]
    _: KW_ONLY
    batch_size: int = 128
    transform: Transform = unchanged
    expand: Expand | None = None
    augment: Transform = unchanged
    mix: Mix | None = None

    def __post_init__(self) -> None:
        _check.mapping("Resident", targets=self.targets)
        _check.function("Resident", transform=self.transform, augment=self.augment)
        for name, function in (("expand", self.expand), ("mix", self.mix)):
            if function is not None:
                _check.function("Resident", **{name: function})
        check_index_is_free("Resident", self.targets)
        if check_batch("Resident", self.inputs, self.targets) == 0:
            raise ValueError("Resident: there are no examples; give at least one")
        _check.count("Resident", batch_size=self.batch_size)
        leaves = named_leaves(self.inputs, self.targets)
        if len({leaf.device for leaf in leaves.values()}) > 1:
            places = ", ".join(f"{name} on {leaf.device}" for name, leaf in leaves.items())
            raise ValueError(
                f"Resident: all tensors must lie on one device, but there are {places}; "
                "move them with .to(device) first"
            )
        check_shown("Resident", self.inputs, self.targets, self.augment, self.transform, self.mix)

    @property
    def examples(self) -> int:
        return len(tree_leaves(self.inputs)[0])

    @property
    def device(self) -> torch.device:
        return tree_leaves(self.inputs)[0].device

    def feeds(self, seed: int, epoch: int, start: int = 0) -> Iterator[Int[Tensor, " batch"]]:
        """The rows of `order(seed, epoch, examples, batch_size)`, from step `start` on."""
        return iter(self._rows([seed], epoch, start)[0])

    def member_feeds(
        self, seeds: Sequence[int], epoch: int, start: int = 0
    ) -> Iterator[Int[Tensor, "members batch"]]:
        """The same of several seeds, stacked."""
        return iter(self._rows(seeds, epoch, start).unbind(1))

    def _rows(
        self, seeds: Sequence[int], epoch: int, start: int
    ) -> Int[Tensor, "seeds steps batch"]:
        """The feeds of several seeds, copied to the device at once: for a copy it is waited."""
        steps = steps_per_epoch(self.examples, self.batch_size)
        _check.count("Resident.feeds", least=0, most=steps, start=start)
        each = [order(seed, epoch, self.examples, self.batch_size)[start:] for seed in seeds]
        return torch.stack(each).to(self.device)

    def read(self, feed: Int[Tensor, "*members batch"], key: Key | None = None) -> Batch:
        """The rows' inputs, after the transform, and their targets with `index`."""
        check_feed(feed, self.examples, self.device)
        rows = feed.long()  # 8 bits would be a mask
        inputs = tree_map(lambda leaf: leaf[rows], self.inputs)
        batch = Batch(inputs, self._targets(rows) | {"index": rows})
        return show(batch, key, self.augment, self.transform, self.mix)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every example once, in order; the transform is given no key."""
        _check.count("Resident.in_order", batch_size=batch_size)
        return (self._part(start, batch_size) for start in range(0, self.examples, batch_size))

    def _part(self, start: int, batch_size: int) -> Batch:
        rows = slice(start, min(start + batch_size, self.examples))
        inputs = tree_map(lambda leaf: leaf[rows], self.inputs)
        index = torch.arange(rows.start, rows.stop, device=self.device)
        return Batch(self.transform(inputs, None), self._targets(rows) | {"index": index})

    def _targets(self, rows: Tensor | slice) -> dict[str, Tensor]:
        targets = {name: target[rows] for name, target in self.targets.items()}
        return targets if self.expand is None else self.expand(targets)

    def digest(self) -> str:
        """The SHA-256 of the inputs and targets: names, dtypes, shapes and every byte."""
        return digest(named_leaves(self.inputs, self.targets)).hex()

    def subset(self, rows: Int[Tensor, " rows"]) -> "Resident":
        """The examples with these numbers, in this order; their own numbers count from 0 anew.

        Raises ValueError for numbers that are not whole, or not those of examples.
        """
        check_rows(rows, self.examples)
        rows = rows.to(self.device, torch.int64)
        inputs = tree_map(lambda leaf: leaf[rows], self.inputs)
        targets = {name: target[rows] for name, target in self.targets.items()}
        return replace(self, inputs=inputs, targets=targets)

    def with_targets(self, targets: Mapping[str, Tensor]) -> "Resident":
        """The same examples with more targets, such as a teacher's outputs, or with others of the
        same names."""
        _check.mapping("Resident.with_targets", targets=targets)
        return replace(self, targets={**self.targets, **targets})

    def augmented(self, augment: Transform = unchanged, mix: Mix | None = None) -> "Resident":
        """The same examples, augmented before the transform and mixed behind it when they are
        trained on, and never in an evaluation. It takes the place of what was there.

        What `augment` sees is what the source holds: raw images, where the transform normalises.
        Raises ValueError where `augment` or `mix` refuses the examples, and for targets that cannot
        follow: beside labels none where they are mixed, and elsewhere whole numbers [examples]
        alone. So a teacher's outputs are asked for in training instead of kept.
        """
        return replace(self, augment=augment, mix=mix)

    def to(self, device: torch.device | str) -> "Resident":
        """The same examples on a device. Raises ValueError for one that is not here."""
        check_device("Resident.to", device)
        inputs, targets = tree_map(lambda leaf: leaf.to(device), (self.inputs, dict(self.targets)))
        return replace(self, inputs=inputs, targets=targets)

    def batched(self, batch_size: int) -> "Resident":
        """The same examples in batches of another size."""
        return replace(self, batch_size=batch_size)
