"""A source that reads its batches from a `torch.utils.data.DataLoader` as they are needed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import islice
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, Subset

from fkd import _check, _random
from fkd._digest import digest
from fkd._random import Key
from fkd.data._loader import Rows, anew, batches, check_loader, is_iterable
from fkd.data._order import check_rows, order, steps_per_epoch
from fkd.data._source import (
    Batch,
    Digested,
    Mix,
    Transform,
    check_batch,
    check_index_is_free,
    check_shown,
    named_leaves,
    show,
    unchanged,
)
from fkd.model._module import seeded

Split = Callable[[Any], tuple[Any, Mapping[str, Tensor]]]
"""`split(batch) -> (inputs, targets)`: which part of a loader's batch is which."""


def inputs_and_targets(batch: Any) -> tuple[Any, Mapping[str, Tensor]]:
    """The inputs and the targets of a batch in one of the usual forms.

    These are a pair of inputs and labels, a pair of inputs and a dict of targets, a dict with
    `labels`, all else of which is taken as the inputs, and inputs alone, a tensor or a sequence of
    one, which have no targets. Raises ValueError for any other.

    >>> inputs_and_targets([torch.zeros(1, 2), torch.tensor([3])])
    (tensor([[0., 0.]]), {'labels': tensor([3])})
    """
    if isinstance(batch, Mapping) and "labels" in batch:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        return inputs, {"labels": batch["labels"]}
    if isinstance(batch, Tensor):
        return batch, {}
    if isinstance(batch, Sequence) and len(batch) == 1 and isinstance(batch[0], Tensor):
        return batch[0], {}
    if isinstance(batch, Sequence) and len(batch) == 2:
        inputs, targets = batch
        if isinstance(targets, Tensor):
            return inputs, {"labels": targets}
        if isinstance(targets, Mapping):
            return inputs, targets
    form = type(batch).__name__
    if isinstance(batch, Mapping):
        form += f" of {', '.join(map(str, batch))}"
    elif isinstance(batch, Sequence):
        form += f" of {', '.join(type(part).__name__ for part in batch)}"
    raise ValueError(
        "Streamed: the loader's batch must be a pair of inputs and labels, a pair of inputs and a "
        f"dict of targets, a dict with 'labels', or a tensor, but it is a {form}; give split=, a "
        "function from a batch to (inputs, targets)"
    )


class Streamed:
    """Examples that a `DataLoader` reads as they are needed, a few batches ahead of the step.

    A feed is the batch itself, on the device: what `split` makes of the loader's batch. Workers,
    `collate_fn`, `pin_memory` and prefetching are the loader's; memory holds only the batches that
    it prefetches. `read` applies `transform(inputs, key)` inside the step, in training between
    `augment` and `mix`, which `augmented` adds.

    Over a map-style data set the batches are those of `Resident` over the same examples: `order`
    says which examples come when, `index` among the targets gives their numbers, and an epoch goes
    on from any step without reading what lies before it. Whether the loader shuffles is ignored.
    Over an `IterableDataset` the order is the loader's own, and another for another seed only where
    the data set heeds its workers' seed. The last batch of an epoch is filled up from its first,
    and an epoch goes on from a step by reading and skipping what lies before it. The data set then
    says how many `examples` an epoch has, or the argument does; one that gives more than it says,
    as where every worker reads the whole of it, is refused at an epoch's end.

    Each epoch starts its workers anew, and seeds them by (seed, epoch, step it starts from), or by
    (seed, epoch) over an `IterableDataset`; `persistent_workers` is ignored. Workers leave Ctrl-C
    and the end of the terminal to the process that trains, and what one refuses by a ValueError is
    raised here in its own words. What a data set draws by itself is not part of the state: put what
    must come back the same after a resumed run into `transform`, which has the key.

    Raises ValueError for a loader whose sampler or batch sampler is not torch's own, or that drops
    the last batch, for a batch size or a number of examples that is not known, and in `feeds` for a
    batch that does not hold the examples that were asked for, or that `Resident` would refuse.

    >>> images, labels = torch.zeros(5, 1, 2, 2), torch.arange(5)
    >>> loader = DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=2)
    >>> source = Streamed(loader)
    >>> [batch.targets["labels"].tolist() for batch in source.in_order(batch_size=3)]
    [[0, 1, 2], [3, 4]]
    """

    def __init__(
        self,
        loader: DataLoader,
        *,
        split: Split = inputs_and_targets,
        transform: Transform = unchanged,
        augment: Transform = unchanged,
        mix: Mix | None = None,
        examples: int | None = None,
        batch_size: int | None = None,
        device: torch.device | str = "cpu",
    ):
        check_loader(loader)
        self.loader = loader
        self.split = split
        self.transform = transform
        self.augment = augment
        self.mix = mix
        self.examples = _examples(loader, examples)
        self.batch_size = _batch_size(loader, batch_size)
        self.device = torch.device(device)

    def feeds(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `start` on."""
        steps = steps_per_epoch(self.examples, self.batch_size)
        _check.between("Streamed.feeds", 0, steps, start=start)
        _check.between("Streamed.feeds", 1, self.examples, batch_size=self.batch_size)
        key = _random.fold(torch.tensor(seed), epoch)
        if is_iterable(self.loader):
            even = self._even(int(key), self.batch_size)
            return map(self._move, islice(_filled(even, self.batch_size), start, None))
        rows = order(seed, epoch, self.examples, self.batch_size)[start:].unbind()
        return map(self._move, self._at(rows, int(_random.fold(key, start))))

    def read(self, feed: Batch, key: Key | None = None) -> Batch:
        """The batch with its inputs after the transform."""
        return show(feed, key, self.augment, self.transform, self.mix)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every example once, in order; the transform is given no key."""
        _check.positive("Streamed.in_order", batch_size=batch_size)
        if is_iterable(self.loader):
            batches = self._even(0, batch_size)
        else:
            batches = self._at(torch.arange(self.examples).split(batch_size), 0)
        return (self.read(self._move(batch)) for batch in batches)

    def augmented(self, augment: Transform = unchanged, mix: Mix | None = None) -> "Streamed":
        """The same examples, augmented before the transform and mixed behind it when they are
        trained on: as `Resident.augmented`, which refuses the same, here in `feeds`."""
        return self._with(augment=augment, mix=mix)

    def to(self, device: torch.device | str) -> "Streamed":
        """The same source with its batches on a device."""
        return self._with(device=device)

    def batched(self, batch_size: int) -> "Streamed":
        """The same source with batches of another size."""
        return self._with(batch_size=batch_size)

    def _with(self, **changes: Any) -> "Streamed":
        same = {
            "split": self.split,
            "transform": self.transform,
            "augment": self.augment,
            "mix": self.mix,
            "examples": self.examples,
            "batch_size": self.batch_size,
            "device": self.device,
        }
        return Streamed(self.loader, **same | changes)

    def _checked(self, inputs: Any, targets: Mapping[str, Tensor]) -> int:
        """How many examples a loader's batch holds. Raises ValueError where it does not fit."""
        examples = check_batch("Streamed", inputs, targets)
        check_shown("Streamed", inputs, targets, self.augment, self.transform, self.mix)
        return examples

    @property
    def numbered(self) -> bool:
        """Whether examples have numbers: those of a map-style data set, not of a stream."""
        return not is_iterable(self.loader)

    def subset(self, rows: Int[Tensor, " rows"]) -> "Streamed":
        """The examples with these numbers, in this order; their own numbers count from 0 anew.

        Raises ValueError for an `IterableDataset`, whose examples have no numbers, and as
        `Resident.subset`.
        """
        if not self.numbered:
            raise ValueError("subset: the examples of an IterableDataset have no numbers")
        check_rows(rows, self.examples)
        source = copy(self)
        source.loader = anew(self.loader, Subset(self.loader.dataset, rows.tolist()))
        source.examples = _examples(source.loader, None)
        return source

    def digest(self) -> str:
        """The SHA-256 of how many examples there are and of what they are.

        A data set that has a `digest()` of its own, as a folder of images, says what they are, and
        a `Subset` adds its numbers. Of any other with numbers the first and the last example count,
        by every byte of what `split` makes of them; but one that differs when it is read twice, as
        where it has a generator of its own, by dtypes and shapes. An example in between that
        changes is not seen. Of an `IterableDataset` nothing is read.
        """
        dataset, rows = self.loader.dataset, []
        while isinstance(dataset, Subset):
            rows.append(torch.tensor(list(dataset.indices)))
            dataset = dataset.dataset
        if isinstance(dataset, Digested):
            content: Any = dataset.digest()
        else:
            content = self._ends() if self.numbered else None
        return digest((self.examples, rows, content)).hex()

    def _ends(self) -> dict[str, Any]:
        """The first and the last example, leaf by leaf."""
        one, other = self._read_ends(), self._read_ends()
        same = digest(one) == digest(other)
        return one if same else {name: _form(leaf) for name, leaf in one.items()}

    def _read_ends(self) -> dict[str, Any]:
        dataset: Any = self.loader.dataset
        with seeded(0):
            ends = self.loader.collate_fn([dataset[number] for number in (0, self.examples - 1)])
        return {name: _plain(leaf) for name, leaf in named_leaves(*self.split(ends)).items()}

    def _move(self, batch: Batch) -> Batch:
        return tree_map(lambda leaf: leaf.to(self.device, non_blocking=True), batch)

    def _at(self, rows: Sequence[Tensor], worker_seed: int) -> Iterator[Batch]:
        """The examples with the numbers of each row, in a batch a row."""
        loader = anew(self.loader, self.loader.dataset, worker_seed, Rows(rows))
        for numbers, raw in zip(rows, batches(loader), strict=True):
            inputs, targets = self.split(raw)
            check_index_is_free("Streamed", targets)
            examples = self._checked(inputs, targets)
            if examples != len(numbers):
                raise ValueError(
                    f"Streamed: the loader was asked for a batch of {len(numbers)} examples, but "
                    f"gave {examples}; collate_fn must keep every example that it is given"
                )
            yield Batch(inputs, {**targets, "index": numbers})

    def _even(self, worker_seed: int, size: int) -> Iterator[Batch]:
        """The examples of a stream's epoch in batches, of which the last may be smaller."""
        said = _length_of(self.loader) == self.examples
        return _even(self._stream(worker_seed), size, self.examples, said)

    def _stream(self, worker_seed: int) -> Iterator[Batch]:
        """The loader's own batches, of whatever size."""
        for raw in batches(anew(self.loader, self.loader.dataset, worker_seed)):
            inputs, targets = self.split(raw)
            self._checked(inputs, targets)
            yield Batch(inputs, dict(targets))


def _examples(loader: DataLoader, examples: int | None) -> int:
    length = _length_of(loader)
    if examples is None and length is None:
        raise ValueError(
            "Streamed: the data set does not say how many examples an epoch has; give examples="
        )
    if not is_iterable(loader) and examples not in (None, length):
        raise ValueError(
            f"Streamed: the data set has {length} examples and an epoch shows each, but examples "
            f"is {examples}; leave it out"
        )
    number = length if examples is None else examples
    if number is None or number < 1:
        raise ValueError(f"Streamed: there must be at least one example, but there are {number}")
    return number


def _length_of(loader: DataLoader) -> int | None:
    """How many examples the data set says that it has."""
    try:
        return len(loader.dataset)  # type: ignore[arg-type]
    except TypeError:
        return None


def _batch_size(loader: DataLoader, batch_size: int | None) -> int:
    number = loader.batch_size if batch_size is None else batch_size
    if number is None:
        raise ValueError(
            "Streamed: the loader has batch_size=None, so give Streamed the batch_size of a step"
        )
    _check.positive("Streamed", batch_size=number)
    return number


def _even(batches: Iterator[Batch], size: int, examples: int, said: bool) -> Iterator[Batch]:
    """`examples` in all, in batches of `size`, of which the last may be smaller. Raises where there
    are fewer, and where there are more although the data set `said` so many."""
    rest: Batch | None = None
    left = examples
    for batch in batches:
        rest = batch if rest is None else _join(rest, batch)
        while left and rest is not None and _length(rest) >= min(size, left):
            number = min(size, left)
            yield _part(rest, 0, number)
            left -= number
            rest = _part(rest, number, None) if _length(rest) > number else None
        if not left:
            if said and (rest is not None or next(batches, None) is not None):
                raise ValueError(
                    f"Streamed: the data set says that it has {examples} examples, but the loader "
                    "gave more; let each of several workers read a part of its own "
                    "(torch.utils.data.get_worker_info), and __len__ count examples"
                )
            return
    number = examples - left + (0 if rest is None else _length(rest))
    raise ValueError(
        f"Streamed: an epoch must have {examples} examples, but the loader ended after {number}; "
        "give examples= the number that it has"
    )


def _filled(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """The same batches, the last filled up to `size` from the first."""
    first: Batch | None = None
    for batch in batches:
        first = first or batch
        missing = size - _length(batch)
        yield _join(batch, _part(first, 0, missing)) if missing else batch


def _plain(leaf: Any) -> Any:
    """A leaf, or the name of its class where it is neither a tensor nor a number or a word."""
    return leaf if isinstance(leaf, Tensor | bool | int | float | str) else type(leaf).__qualname__


def _form(leaf: Any) -> str:
    return f"{leaf.dtype} {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else type(leaf).__name__


def _length(batch: Batch) -> int:
    return len(tree_leaves(batch.inputs)[0])


def _part(batch: Batch, start: int, stop: int | None) -> Batch:
    return tree_map(lambda leaf: leaf[start:stop], batch)


def _join(first: Batch, second: Batch) -> Batch:
    return tree_map(lambda *leaves: torch.cat(leaves), first, second)
