"""A streamed source against a resident one over the same examples, and what it refuses."""

from collections import UserDict
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from fkd._random import Key
from fkd.data import Batch, Flip, MixUp, Normalize, Resident, Streamed, order

IMAGES = torch.randint(256, (11, 3, 2, 2), generator=torch.Generator().manual_seed(0)).byte()
LABELS = torch.arange(11) % 4
NORMALIZE = Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


class Mapped(Dataset):
    """Images and labels by number; `read` holds the numbers that were asked for."""

    def __init__(self):
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        self.read.append(number)
        return IMAGES[number], LABELS[number]


class Stream(IterableDataset):
    """The numbers 0, 1, 2 ... as inputs and labels, shared among the workers."""

    def __init__(self, length: int):
        self.length = length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        worker = torch.utils.data.get_worker_info()
        first, each = (worker.id, worker.num_workers) if worker else (0, 1)
        return ((number, number) for number in range(first, self.length, each))


class Counted(Stream):
    def __len__(self) -> int:
        return self.length


def _same(first: Batch, second: Batch) -> bool:
    leaves = zip(tree_leaves(first), tree_leaves(second), strict=True)
    return all(torch.equal(one, other) and one.dtype == other.dtype for one, other in leaves)


# from Python 3.12 on, a fork of a process with threads warns; torch's workers are forks on Linux
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_batches_are_those_of_a_resident_source(workers, shuffle):
    loader = DataLoader(Mapped(), batch_size=3, shuffle=shuffle, num_workers=workers)
    resident = Resident(IMAGES, {"labels": LABELS}, batch_size=3, transform=NORMALIZE)
    streamed = Streamed(loader, transform=NORMALIZE)
    assert (streamed.examples, streamed.batch_size) == (11, 3)
    for start in (0, 2):
        feeds = zip(streamed.feeds(5, 1, start), resident.feeds(5, 1, start), strict=True)
        batches = [(streamed.read(feed), resident.read(rows)) for feed, rows in feeds]
        assert len(batches) == 4 - start
        assert all(_same(one, other) for one, other in batches)
    parts = zip(streamed.in_order(4), resident.in_order(4), strict=True)
    assert all(_same(one, other) for one, other in parts)


def test_an_epoch_goes_on_without_reading_what_lies_before():
    examples = Mapped()
    source = Streamed(DataLoader(examples, batch_size=3))
    assert len(list(source.feeds(0, 2, start=3))) == 1
    assert examples.read == order(0, 2, 11, 3)[3].tolist()


def test_only_what_is_asked_for_is_read():
    examples = Mapped()
    list(islice(Streamed(DataLoader(examples, batch_size=3)).feeds(0, 0), 2))
    assert len(examples.read) == 6


def test_torchs_global_generator_is_left_alone():
    source = Streamed(DataLoader(Mapped(), batch_size=3, shuffle=True))
    before = torch.get_rng_state()
    for _ in (*source.feeds(0, 0), *source.in_order(3)):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def _add_step(inputs: Tensor, key: Key | None) -> Tensor:
    return inputs if key is None else inputs + key.step


def test_read_hands_the_key_to_the_transform():
    source = Streamed(DataLoader(Mapped(), batch_size=3), transform=_add_step)
    feed = next(source.feeds(0, 0))
    batch = source.read(feed, Key(torch.tensor(0), torch.tensor(7)))
    assert torch.equal(batch.inputs, feed.inputs + 7)


def test_it_is_augmented_and_mixed_as_a_resident_source():
    loader = DataLoader(Mapped(), batch_size=4)
    resident = Resident(IMAGES, {"labels": LABELS}, batch_size=4, transform=NORMALIZE)
    ours = Streamed(loader, transform=NORMALIZE).augmented(Flip(), MixUp(classes=4))
    theirs = resident.augmented(Flip(), MixUp(classes=4))
    key = Key(torch.tensor(0), torch.tensor(7))
    feeds = zip(ours.to("cpu").feeds(5, 1), theirs.feeds(5, 1), strict=True)
    assert all(_same(ours.read(feed, key), theirs.read(rows, key)) for feed, rows in feeds)
    parts = zip(ours.batched(2).in_order(4), resident.in_order(4), strict=True)
    assert all(_same(one, other) for one, other in parts)
    assert ours.batched(2).mix == MixUp(classes=4)
    for other in (ours.batched(4), ours.to("cpu"), ours.subset(torch.arange(11))):
        (*_, feed), rows = other.feeds(5, 1), list(theirs.feeds(5, 1))[-1]
        assert _same(other.read(feed, key), theirs.read(rows, key))


def test_what_cannot_be_augmented_is_refused_when_it_is_read():
    def split(batch: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return batch[0], {"labels": batch[1], "logits": batch[1] * 1.0}

    source = Streamed(DataLoader(Mapped(), batch_size=4), split=split)
    with pytest.raises(ValueError, match=r"'logits', .* ask a teacher about each batch instead"):
        next(source.augmented(Flip()).feeds(0, 0))
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\)"):
        plain = Streamed(DataLoader(Mapped(), batch_size=4))
        list(plain.augmented(mix=MixUp(classes=2)).feeds(0, 0))


def test_a_device_and_a_batch_size_are_chosen_anew():
    source = Streamed(DataLoader(Mapped(), batch_size=3), transform=NORMALIZE)
    assert source.batched(5).to("meta").to("cpu").batch_size == 5
    feed = next(source.to("meta").feeds(0, 0))
    assert {leaf.device.type for leaf in tree_leaves(feed)} == {"meta"}
    assert len(list(source.batched(5).feeds(0, 0))) == 3


def test_a_subset_has_the_batches_of_a_resident_one():
    rows = torch.tensor([7, 2, 9, 4])
    streamed = Streamed(DataLoader(Mapped(), batch_size=3), transform=NORMALIZE).subset(rows)
    resident = Resident(IMAGES, {"labels": LABELS}, batch_size=3, transform=NORMALIZE)
    resident = resident.subset(rows)
    assert streamed.examples == 4
    feeds = zip(streamed.feeds(5, 1), resident.feeds(5, 1), strict=True)
    assert all(_same(streamed.read(feed), resident.read(other)) for feed, other in feeds)
    parts = zip(streamed.in_order(4), resident.in_order(4), strict=True)
    assert all(_same(one, other) for one, other in parts)


@pytest.mark.parametrize(
    ("loader", "rows", "message"),
    [
        (DataLoader(Mapped(), 3), torch.tensor([11]), r"rows must lie in \[0, 10\], but it is 11"),
        (DataLoader(Mapped(), 3), torch.ones(11).bool(), r"give mask.nonzero\(\)"),
        (DataLoader(Mapped(), 3), torch.tensor([]).long(), "at least one example"),
        (DataLoader(Counted(5), 3), torch.tensor([1]), "of an IterableDataset have no numbers"),
    ],
)
@pytest.mark.plain
def test_a_subset_of_examples_that_there_are_not_is_refused(loader, rows, message):
    with pytest.raises(ValueError, match=message):
        Streamed(loader).subset(rows)


def test_examples_may_do_without_targets():
    singles = TensorDataset(IMAGES)
    for dataset in (singles, list(IMAGES)):
        (batch,) = Streamed(DataLoader(dataset, batch_size=3)).in_order(11)  # type: ignore[arg-type]
        assert torch.equal(batch.inputs, IMAGES)
        assert list(batch.targets) == ["index"]


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x, {"labels": y}),
        lambda x, y: {"pixels": x, "labels": y},
        lambda x, y: (x, y),
    ],
)
def test_the_usual_forms_of_a_batch_are_told_apart(form):
    examples = [form(image, label) for image, label in zip(IMAGES, LABELS, strict=True)]
    (batch,) = Streamed(DataLoader(examples, batch_size=1)).in_order(11)  # type: ignore[arg-type]
    assert torch.equal(tree_leaves(batch.inputs)[0], IMAGES)
    assert torch.equal(batch.targets["labels"], LABELS)
    assert torch.equal(batch.targets["index"], torch.arange(11))


def test_any_other_form_is_told_apart_by_split():
    examples = [(image, label, label * 2.0) for image, label in zip(IMAGES, LABELS, strict=True)]
    loader = DataLoader(examples, batch_size=1)  # type: ignore[arg-type]
    source = Streamed(loader, split=lambda b: ({"x": b[0]}, {"labels": b[1], "twice": b[2]}))
    (batch,) = source.in_order(11)
    assert list(batch.inputs) == ["x"]
    assert torch.equal(batch.targets["twice"], LABELS * 2.0)
    with pytest.raises(ValueError, match="it is a list of Tensor, Tensor, Tensor; give split="):
        list(Streamed(loader).in_order(11))


def _numbers(batches: Iterator[Batch]) -> list[list[int]]:
    return [batch.targets["labels"].tolist() for batch in batches]


def _flat(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


@pytest.mark.parametrize(
    ("length", "batch_size", "expected"),
    [
        (7, 3, [[0, 1, 2], [3, 4, 5], [6, 0, 1]]),
        (6, 3, [[0, 1, 2], [3, 4, 5]]),
        (5, None, [[0, 1, 2, 3], [4, 0, 1, 2]]),  # examples come one by one
    ],
)
def test_a_stream_keeps_its_order_and_the_last_batch_is_filled_up(length, batch_size, expected):
    if batch_size is None:
        raw = DataLoader(Counted(length), batch_size=None, collate_fn=_one)
        source = Streamed(raw, batch_size=4)
    else:
        source = Streamed(DataLoader(Counted(length), batch_size=batch_size))
    for start in range(len(expected) + 1):
        assert _numbers(source.feeds(0, 0, start)) == expected[start:]
    assert _flat(_numbers(source.in_order(2))) == list(range(length))


def _one(example: Any) -> tuple[Tensor, Tensor]:
    number, label = example
    return torch.tensor([number]), torch.tensor([label])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_stream_in_workers_has_full_batches_of_each_example_once():
    loader = DataLoader(Counted(10), batch_size=3, num_workers=2)  # a short batch from each worker
    batches = _numbers(Streamed(loader).feeds(0, 0))
    assert [len(batch) for batch in batches] == [3, 3, 3, 3]
    shown = _flat(batches)
    assert sorted(shown[:10]) == list(range(10))
    assert shown[10:] == shown[:2]


class Whole(Counted):
    """Of which every worker reads the whole."""

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((number, number) for number in range(self.length))


class Short(Counted):
    """Which counts batches of two, and has one example more."""

    def __len__(self) -> int:
        return self.length // 2


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(("dataset", "workers"), [(Whole(8), 2), (Short(9), 0)])
def test_a_stream_of_more_examples_than_it_says_is_refused(dataset, workers):
    source = Streamed(DataLoader(dataset, batch_size=2, num_workers=workers))
    for batches in (source.feeds(0, 0), source.in_order(3)):
        with pytest.raises(ValueError, match=r"says that it has \d examples, but .* gave more"):
            list(batches)


def test_an_epoch_of_an_endless_stream_is_as_long_as_is_said():
    source = Streamed(DataLoader(Stream(10**9), batch_size=2), examples=5)
    assert _numbers(source.feeds(0, 0)) == [[0, 1], [2, 3], [4, 0]]
    assert _numbers(source.in_order(4)) == [[0, 1, 2, 3], [4]]


def test_a_stream_that_ends_too_soon_is_named():
    source = Streamed(DataLoader(Stream(5), batch_size=2), examples=8)
    with pytest.raises(ValueError, match="must have 8 examples, but the loader ended after 5"):
        list(source.feeds(0, 0))


def _drop_one(examples: list) -> list[Tensor]:
    return [torch.stack(column) for column in zip(*examples[1:], strict=True)]


@pytest.mark.parametrize(
    ("loader", "options", "message"),
    [
        (DataLoader(Mapped(), 3, drop_last=True), {}, "must have drop_last=False"),
        (DataLoader(Mapped(), batch_size=None), {}, "must put examples into batches"),
        (
            DataLoader(Mapped(), batch_sampler=[[0], [1]]),
            {},
            "has a list for batch_sampler; give it a batch_size",
        ),
        (
            DataLoader(Mapped(), sampler=WeightedRandomSampler([1.0] * 11, 11)),
            {},
            "has a WeightedRandomSampler of its own",
        ),
        (
            DataLoader(Mapped(), sampler=SequentialSampler(range(4))),
            {},
            "has a SequentialSampler of its own",
        ),
        (
            DataLoader(Mapped(), batch_sampler=BatchSampler(range(4), 2, False)),
            {},
            "has a BatchSampler for batch_sampler",
        ),
        (DataLoader(Mapped(), 3), {"examples": 5}, "has 11 examples .*, but examples is 5"),
        (DataLoader(Stream(5), 3), {}, "how many examples an epoch has; give examples="),
        (DataLoader(Counted(5), batch_size=None), {}, "give Streamed the batch_size of a step"),
        (DataLoader(Counted(5), 3), {"examples": 0}, "at least one example, but there are 0"),
        (DataLoader(Mapped(), 3), {"batch_size": 0}, "batch_size must be above zero"),
    ],
)
def test_a_loader_that_does_not_fit_is_refused(loader, options, message):
    with pytest.raises(ValueError, match=message):
        Streamed(loader, **options)


def test_a_step_that_an_epoch_has_not_is_refused_before_anything_is_read():
    source = Streamed(DataLoader(Mapped(), batch_size=3))
    with pytest.raises(ValueError, match=r"start must lie in \[0, 4\], but it is 5"):
        source.feeds(0, 0, 5)
    with pytest.raises(ValueError, match=r"batch_size must lie in \[1, 11\], but it is 12"):
        source.batched(12).feeds(0, 0)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("loader", "split", "message"),
    [
        (
            DataLoader(Mapped(), 3, collate_fn=_drop_one),
            lambda batch: (batch[0], {"labels": batch[1]}),
            "asked for a batch of 3 examples, but gave 2",
        ),
        (
            DataLoader(Mapped(), 3),
            lambda batch: ({"x": batch[0], "file": "a.png"}, {}),
            r"must be a tensor, but inputs\['file'\] is a str; turn it into one",
        ),
        (  # as what a tokenizer makes, which torch's trees do not look into
            DataLoader(Mapped(), 3),
            lambda batch: (UserDict(x=batch[0]), {}),
            r"must be a tensor, but inputs is a UserDict; give dict\(...\) of it",
        ),
        (
            DataLoader(Mapped(), 3),
            lambda batch: (batch[0], {"labels": batch[1], "index": batch[1]}),
            "no target may be named 'index'",
        ),
        (
            DataLoader(Mapped(), 3),
            lambda batch: (batch[0], {"labels": batch[1] * 1.0}),
            "labels must hold whole numbers",
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(loader, split, message):
    with pytest.raises(ValueError, match=message):
        next(Streamed(loader, split=split).feeds(0, 0))
