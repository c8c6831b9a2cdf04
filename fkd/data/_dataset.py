"""A `Data` of any data set of torch's: held in memory where it fits, else streamed."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, Dataset, Subset

from fkd import _check
from fkd.data._data import Data, check_alike
from fkd.data._labels import check_classes
from fkd.data._resident import Resident
from fkd.data._source import Batch, Source, Transform, check_batch, named_leaves, unchanged
from fkd.data._streamed import Split, Streamed, inputs_and_targets

BATCH_SIZE = 128  # of a data set that comes without a loader
FEW = 8  # examples that are read beforehand, to see what they are

Examples: TypeAlias = Dataset | DataLoader
WANTED = (
    "a fkd.data.Data, or a pair of torch's data sets or DataLoaders to train on and to test on, of "
    "which the first has `classes`"
)


def from_dataset(
    train: Examples,
    test: Examples,
    classes: Sequence[str],
    *,
    name: str = "data",
    batch_size: int | None = None,
    memory: float = 4.0,
    transform: Transform = unchanged,
    split: Split = inputs_and_targets,
) -> Data[Any]:
    """The data of any data sets of torch's, or loaders of them, to train on and to test on.

    `split` tells apart what `collate_fn` makes of examples, and `transform` is applied within the
    step. Each data set is read once into a `Resident` source where both take no more than `memory`
    GiB, by their first examples and their lengths, and is else a `Streamed` source of the same
    batches. An `IterableDataset` is always streamed, and so is one that draws random numbers when
    it is read, for once read they would be the same in every epoch. Batches are by default of the
    loader's size, or of 128.

    Raises ValueError for examples that do not go into one batch, that do not fit the classes or
    that `transform` refuses; for data sets that number classes differently by their own `classes`,
    as torchvision's `ImageFolder` does where one lacks a class, or in another order than `classes`;
    and as `Streamed` and `Data`.

    >>> examples = torch.utils.data.TensorDataset(torch.zeros(6, 2), torch.arange(6) % 2)
    >>> data = from_dataset(examples, examples, ("even", "odd"))
    >>> type(data.train).__name__, data.train.examples
    ('Resident', 6)
    """
    _check.kind("from_dataset", (Dataset, DataLoader), train=train, test=test)
    _check.kind("from_dataset", Sequence, classes=classes)
    _check.words("from_dataset", classes=tuple(classes))
    _check.kind("from_dataset", str, name=name)
    if batch_size is not None:
        _check.count("from_dataset", batch_size=batch_size)
    _check.plain("from_dataset", memory=memory)
    _check.not_negative("from_dataset", memory=memory)
    _check.function("from_dataset", transform=transform, split=split)
    _check_numbering(name, train, test, tuple(classes))
    streamed = {
        "train": Streamed(_loader(train), split=split, transform=transform, batch_size=batch_size),
        "test": Streamed(_loader(test), split=split, transform=transform),
    }
    where = {key: f"{name}, {key} split" for key in streamed}
    numbered = {key: source for key, source in streamed.items() if source.numbered}
    firsts = {key: _checked(where[key], source, len(classes)) for key, source in numbered.items()}
    if len(firsts) == 2:
        check_alike(name, firsts["train"].inputs, firsts["test"].inputs)
    size = sum(_bytes_of_one(firsts[key]) * source.examples for key, source in numbered.items())
    sources: dict[str, Source] = {**streamed}
    if size <= memory * 2**30:
        for key, source in numbered.items():
            whole = _whole(where[key], source) if _reads_alike(where[key], source) else None
            sources[key] = source if whole is None else whole
    return Data(name, tuple(classes), sources["train"], sources["test"])


def built(
    build: Callable[[], Any], *, batch_size: int | None = None, memory: float = 4.0
) -> Data[Any]:
    """The data that a function without arguments returns.

    That is a `Data`, or a pair of data sets or loaders for `from_dataset`, of which the first has
    `classes`, the classes' names, as torchvision's have. `memory` is for such a pair.

    Raises ValueError where the function raises anything, returns anything else, or its pair has no
    classes, and as `from_dataset`.

    >>> built(lambda: 3)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: <lambda>() must return ... but it returned a int
    """
    _check.function("built", build=build)
    if batch_size is not None:
        _check.count("built", batch_size=batch_size)
    _check.plain("built", memory=memory)
    _check.not_negative("built", memory=memory)
    name = getattr(build, "__name__", type(build).__name__)
    try:
        result = build()
    except Exception as error:  # a function of the user's may raise anything
        raise ValueError(
            f"{name}() raised {type(error).__name__}: {error}; it must be a function without "
            f"required arguments that returns {WANTED}"
        ) from error
    if isinstance(result, Data):
        return result if batch_size is None else result.batched(batch_size)
    parts = list(result) if isinstance(result, tuple | list) else [result]
    if len(parts) != 2 or not all(isinstance(part, Dataset | DataLoader) for part in parts):
        form = f"{type(result).__name__}"
        if parts != [result]:
            form += f" of {', '.join(type(part).__name__ for part in parts) or 'nothing'}"
        raise ValueError(f"{name}() must return {WANTED}, but it returned a {form}")
    train, test = parts
    classes = _names(train)
    if classes is None:
        raise ValueError(
            f"{name}() returned a pair whose first has no `classes`, the list of the classes' "
            "names; return fkd.data.from_dataset(train, test, classes) instead"
        )
    return from_dataset(train, test, classes, name=name, batch_size=batch_size, memory=memory)


def _check_numbering(name: str, train: Examples, test: Examples, classes: tuple[str, ...]) -> None:
    """Raise where a label means one class in one data set and another class elsewhere, by the lists
    of classes that the data sets have themselves, if they have any."""
    own, others = _names(train), _names(test)
    if own is not None and others is not None and own != others:
        raise ValueError(
            f"{name}: the data sets have classes that differ, {own!s:.100} to train on and "
            f"{others!s:.100} to test on, so that one label means two classes; number the classes "
            "alike"
        )
    for names in (own, others):
        if names is not None and names != classes and sorted(names) == sorted(classes):
            raise ValueError(
                f"{name}: classes must be in the order of their numbers, but they are "
                f"{classes!s:.100}, and the data set numbers them as {names!s:.100}; give these"
            )


def _names(examples: Examples) -> tuple[str, ...] | None:
    """The names of the classes by number, of a data set that says so, or of one that it is a part
    of."""
    dataset: Any = examples.dataset if isinstance(examples, DataLoader) else examples
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    classes = getattr(dataset, "classes", None)
    return tuple(map(str, classes)) if isinstance(classes, tuple | list) else None


def _loader(examples: Examples) -> DataLoader:
    return examples if isinstance(examples, DataLoader) else DataLoader(examples, BATCH_SIZE)


def _checked(where: str, source: Streamed, classes: int) -> Batch:
    """The first examples. Raises ValueError where they do not fit together, the classes, or the
    transform."""
    with _random_numbers_kept():
        batch = _some(where, source, range(min(FEW, source.examples)))
    check_batch(where, batch.inputs, batch.targets)
    if "labels" in batch.targets:
        check_classes(where, batch.targets["labels"], classes)
    try:
        source.transform(batch.inputs, None)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return batch


def _bytes_of_one(batch: Batch) -> float:
    leaves = tree_leaves(batch)
    return sum(leaf.nbytes for leaf in leaves) / len(leaves[0])


def _some(where: str, source: Streamed, numbers: Sequence[int]) -> Batch:
    """The examples with these numbers in a batch, before the transform."""
    loader = source.loader
    examples = [loader.dataset[number] for number in numbers]
    try:
        inputs, targets = source.split(loader.collate_fn(examples))
    except (RuntimeError, TypeError) as error:  # what torch's default raises
        raise ValueError(
            f"{where}: the examples do not go into one batch: {error}; let them be tensors of one "
            "shape, or give a DataLoader with a collate_fn that makes them so"
        ) from error
    return Batch(inputs, dict(targets))


def _reads_alike(where: str, source: Streamed) -> bool:
    """Whether some examples, of whatever classes, are the same when they are read again, and draw
    no numbers."""
    few = min(FEW, source.examples)
    numbers = [place * source.examples // few for place in range(few)]
    with _random_numbers_kept():
        before = _states()
        one, other = (_leaves(_some(where, source, numbers)) for _ in range(2))
        same = _states() == before and one.keys() == other.keys()
    return same and all(torch.equal(leaf, other[name]) for name, leaf in one.items())


def _states() -> tuple[str, str, bytes]:
    """Where the random numbers of Python, NumPy and torch stand."""
    torchs = torch.get_rng_state().numpy().tobytes()
    return repr(random.getstate()), repr(np.random.get_state(legacy=False)), torchs


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Leave the caller's random numbers as they were."""
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _whole(where: str, source: Streamed) -> Resident | None:
    """All examples of a source in memory, each written once, where it belongs; None where random
    numbers were drawn for one, which is not seen of a worker's."""
    raw = Streamed(source.loader, split=source.split, batch_size=source.batch_size)
    with _random_numbers_kept():
        before = _states()
        batches = raw.in_order(raw.batch_size)
        first = next(batches)
        whole = tree_map(lambda leaf: leaf.new_empty(raw.examples, *leaf.shape[1:]), first)
        start = 0
        for batch in chain([first], batches):
            _write(where, whole, batch, start)
            start += len(batch.targets["index"])
        if _states() != before:
            return None
    targets = {name: leaf for name, leaf in whole.targets.items() if name != "index"}
    return Resident(whole.inputs, targets, batch_size=source.batch_size, transform=source.transform)


def _write(where: str, whole: Batch, batch: Batch, start: int) -> None:
    """Put a batch in its place. Raises ValueError where it is of another form than the first."""
    leaves, parts = _leaves(whole), _leaves(batch)
    forms = [{name: _form(leaf) for name, leaf in one.items()} for one in (leaves, parts)]
    if forms[0] != forms[1]:
        raise ValueError(
            f"{where}: every example must have one structure, dtype and shape, but the first has "
            f"{forms[0]} and those from {start} on have {forms[1]}; make them so in collate_fn, or "
            "give a fkd.data.Data of Streamed sources, whose batches may differ"
        )
    for name, part in parts.items():
        leaves[name][start : start + len(part)] = part


def _leaves(batch: Batch) -> dict[str, Tensor]:
    return named_leaves(batch.inputs, batch.targets)


def _form(leaf: Tensor) -> str:
    return f"{leaf.dtype} {tuple(leaf.shape[1:])}"
