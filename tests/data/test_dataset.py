"""Data of any data set of torch's: held or streamed, the same batches, and what is refused."""

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import FakeData
from torchvision.transforms import v2

from fkd.data import Data, Normalize, Resident, Source, Streamed, built, from_dataset

CLASSES = ("a", "b", "c")
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randint(256, (11, 2, 4, 4), generator=GENERATOR).byte()
Y = torch.arange(11) % 3
BYTES = 11 * (2 * 4 * 4 + 8)  # of the images and their labels
NORMALIZE = Normalize((0.5, 0.4), (0.2, 0.3))


def _same(first: Source, second: Source) -> bool:
    one, other = (
        [source.read(feed, None) for feed in source.feeds(3, 1)] + list(source.in_order(4))
        for source in (first, second)
    )
    leaves = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in leaves)


def test_what_fits_is_held_and_else_streamed_in_the_same_batches():
    examples = TensorDataset(X, Y)
    read = partial(from_dataset, examples, examples, CLASSES, transform=NORMALIZE, batch_size=3)
    held, streamed = read(memory=2 * BYTES / 2**30), read(memory=(2 * BYTES - 1) / 2**30)
    expected = Resident(X, {"labels": Y}, batch_size=3, transform=NORMALIZE)
    for data, kind in ((held, Resident), (streamed, Streamed)):
        assert isinstance(data.train, kind) and isinstance(data.test, kind)
        assert _same(data.train, expected)
        assert _same(data.test.batched(3), expected)
        assert (data.name, data.classes, data.train.batch_size) == ("data", CLASSES, 3)
    assert held.test.batch_size == 128


@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_torchvisions_examples_are_read_through_their_own_transform(memory):
    fake = FakeData(7, (3, 8, 8), 3, transform=v2.PILToTensor())
    data = from_dataset(fake, fake, CLASSES, memory=memory, batch_size=2)
    (batch,) = data.train.in_order(7)
    images = torch.stack(
        [torch.tensor(np.asarray(FakeData(7, (3, 8, 8), 3)[k][0])) for k in range(7)]
    )
    assert torch.equal(batch.inputs, images.movedim(-1, 1))
    assert batch.targets["labels"].tolist() == [int(fake[k][1]) for k in range(7)]


@pytest.mark.parametrize("memory", [0.0, 1.0])
@pytest.mark.parametrize("form", ["soft", "dense", "none", "dict", "split"])
def test_inputs_and_labels_are_of_any_form(memory, form):
    soft, dense = torch.eye(3)[Y] * 0.7 + 0.1, torch.stack([Y, torch.full_like(Y, -100)], dim=1)
    labels = {"soft": soft, "dense": dense}.get(form, Y)
    rows: Any = [(x, y) for x, y in zip(X, labels, strict=True)]
    options = {}
    if form == "none":
        rows = [(x,) for x in X]
    elif form == "dict":
        rows = [{"pixels": x, "labels": y, "mask": y > 0} for x, y in rows]
    elif form == "split":
        rows = [(x, y, 2.0) for x, y in rows]
        options["split"] = _split
    classes = () if form == "none" else CLASSES
    data = from_dataset(Listed(rows), Listed(rows), classes, memory=memory, **options)
    (batch,) = data.train.in_order(11)
    targets = {name: value for name, value in batch.targets.items() if name != "index"}
    if form == "dict":
        assert torch.equal(batch.inputs["mask"], Y > 0)
    assert torch.equal(batch.inputs["pixels"] if form == "dict" else batch.inputs, X)
    expected = {} if form == "none" else {"labels": labels}
    if form == "split":
        expected["weight"] = torch.full((11,), 2.0, dtype=torch.float64)
    assert targets.keys() == expected.keys()
    assert all(torch.equal(targets[name], value) for name, value in expected.items())


def _split(batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
    x, y, weight = batch
    return x, {"labels": y, "weight": weight}


class Listed(Dataset):
    """A list's items; `reads` counts how often one is asked for."""

    def __init__(self, rows: list, classes: Any = None):
        self.rows, self.classes, self.reads = rows, classes, 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Any:
        self.reads += 1
        return self.rows[number]


def test_a_loader_keeps_its_batch_size_and_its_own_batches():
    loader = DataLoader(Listed(list(range(11))), batch_size=4, shuffle=True, collate_fn=_doubled)
    for memory in (0.0, 1.0):
        data = from_dataset(loader, loader, CLASSES, memory=memory)
        (batch,) = data.train.in_order(11)
        assert batch.inputs.tolist() == list(range(0, 22, 2))
        assert data.train.batch_size == 4


def _doubled(numbers: list[int]) -> tuple[Tensor, Tensor]:
    return torch.tensor(numbers) * 2, torch.tensor(numbers) % 3


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[float, int]]:
        return ((float(number), number % 3) for number in range(5))

    def __len__(self) -> int:
        return 5


def test_a_stream_is_streamed_and_its_test_split_held():
    data = from_dataset(
        DataLoader(Stream(), 2), TensorDataset(torch.zeros(3).double(), Y[:3]), CLASSES
    )
    assert isinstance(data.train, Streamed) and isinstance(data.test, Resident)
    assert [batch.inputs.tolist() for batch in data.train.in_order(5)] == [
        [0.0, 1.0, 2.0, 3.0, 4.0]
    ]


DRAWS = {
    "python": random.random,
    "numpy": np.random.rand,
    "torch": lambda: float(torch.rand(())),
    "a generator of its own": np.random.default_rng(0).random,
}


class Drawn(Dataset):
    """Numbers that are drawn each time; of them only whether they are below a hundred shows."""

    def __init__(self, draw: Any, shows: bool):
        self.draw, self.shows = draw, shows

    def __len__(self) -> int:
        return 11

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        drawn = self.draw()
        return torch.tensor([float(drawn if self.shows else drawn < 100)]), number % 3


@pytest.mark.parametrize("name", DRAWS)
def test_what_draws_random_numbers_is_never_read_once_for_all_epochs(name):
    states = random.getstate(), repr(np.random.get_state(legacy=False)), torch.get_rng_state()
    fixed = TensorDataset(torch.zeros(11, 1), Y)
    # A draw that does not show in the first examples counts too, where it can be seen.
    shows = [True] if name == "a generator of its own" else [True, False]
    for show in shows:
        data = from_dataset(Drawn(DRAWS[name], show), fixed, CLASSES)
        assert isinstance(data.train, Streamed) and isinstance(data.test, Resident)
    assert states[:2] == (random.getstate(), repr(np.random.get_state(legacy=False)))
    assert torch.equal(states[2], torch.get_rng_state())


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("few", [range(20, 40), [39]])
def test_what_draws_for_one_class_or_example_alone_is_streamed(name, few):
    class Some(Drawn):
        def __len__(self) -> int:
            return 40

        def __getitem__(self, number: int) -> tuple[Tensor, int]:
            return super().__getitem__(number) if number in few else (torch.zeros(1), 0)

    if name == "a generator of its own" and len(few) == 1:
        return  # which is not seen, for that example is not read twice
    data = from_dataset(Some(DRAWS[name], True), TensorDataset(torch.zeros(11, 1), Y), CLASSES)
    assert isinstance(data.train, Streamed)


def test_nothing_but_the_first_examples_is_read_before_it_is_streamed():
    examples = Listed([(x, y) for x, y in zip(X, Y, strict=True)] * 9)
    from_dataset(examples, TensorDataset(X, Y), CLASSES, memory=0)
    assert examples.reads == 8


FITS = TensorDataset(X, Y)


def _ragged(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Images that are lower where the first is not of class 0."""
    images, labels = map(torch.stack, zip(*rows, strict=True))
    return images[:, :, int(labels[0] > 0) :], labels


RAGGED = DataLoader(FITS, batch_size=2, collate_fn=_ragged)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        (FakeData(3), {}, r"mine, train split: the examples do not go into one batch: .*PIL"),
        (
            Listed([(torch.zeros(number), 0) for number in (2, 3)]),
            {},
            r"mine, train split: the examples do not go into one batch: .*; let them be tensors",
        ),
        (
            Listed([(X[0] if number < 9 else X[0, :1], 0) for number in range(10)]),
            {"batch_size": 3},
            r"split: every .* but the first has .*\(2, 4, 4\).* from 9 on have .*\(1, 4, 4\)",
        ),
        (Listed([{"pixels": torch.zeros(2)}]), {}, r"it is a dict of pixels; give split="),
        (TensorDataset(X, Y + 1), {}, r"mine, train split: labels must lie in \[0, 3\)"),
        (TensorDataset(X, Y.float()), {}, r"mine, train split: labels must hold whole numbers"),
        (TensorDataset(X, torch.eye(2)[Y % 2]), {}, r"a probability of each of the 3 classes"),
        (
            FITS,
            {"transform": Normalize((0.5,), (0.2,))},
            r"train split: Normalize: images must have 1",
        ),
        (FITS, {"memory": -1.0}, "memory must be zero or more"),
        (FITS, {"memory": float("nan")}, "memory must be zero or more"),
        (FITS, {"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        (TensorDataset(X[:, :1], Y), {}, r"one structure, dtype and shape in both splits"),
        (TensorDataset(X[:, :1], Y), {"memory": 0}, r"mine: an example .* in both splits"),
        (RAGGED, {}, r"those from 2 on have .* \(2, 3, 4\).*; make them so in collate_fn, or"),
    ],
)
def test_a_data_set_that_does_not_fit_is_refused(train, options, message):
    with pytest.raises(ValueError, match=message):
        from_dataset(train, FITS, CLASSES, name="mine", **options)


ROWS = [(x, y) for x, y in zip(X, Y, strict=True)]


@pytest.mark.plain
@pytest.mark.parametrize(
    ("train", "test", "classes", "message"),
    [
        (
            Listed(ROWS, ["a", "b", "c"]),
            Listed([(X[0], 0)], ["a", "c"]),  # whose number 1 is c, as an ImageFolder's without b
            CLASSES,
            r"mine: .*\('a', 'b', 'c'\) to train on and \('a', 'c'\) to test on, so that one label",
        ),
        (
            Subset(Listed(ROWS, ["a", "b", "c"]), range(9)),
            DataLoader(Subset(Listed(ROWS, ["a", "c", "b"]), range(3))),
            CLASSES,
            r"'a', 'b', 'c'.* to train on and .*'a', 'c', 'b'.* to test on",
        ),
        (
            FITS,
            Listed(ROWS, ["b", "a", "c"]),
            CLASSES,
            r"order of their numbers, but they are \('a', 'b', 'c'\), .* as \('b', 'a', 'c'\)",
        ),
    ],
)
def test_a_label_that_means_two_classes_is_refused(train, test, classes, message):
    with pytest.raises(ValueError, match=message):
        from_dataset(train, test, classes, name="mine")


def test_classes_may_have_other_names_than_the_data_set_has():
    examples = Listed(ROWS, ["0 - zero", "1 - one", "2 - two"])
    assert from_dataset(examples, examples, CLASSES).classes == CLASSES


def _pair(memory: float = 4.0) -> tuple[Dataset, Dataset]:
    return Listed(ROWS, ["a", "b", "c"]), Listed(ROWS)


def test_a_function_builds_a_pair_or_data():
    data = built(_pair, batch_size=4)
    assert (data.name, data.classes, data.train.batch_size) == ("_pair", CLASSES, 4)
    assert isinstance(data.train, Resident)
    assert isinstance(built(_pair, memory=0).train, Streamed)
    loaders = [DataLoader(examples, batch_size=5) for examples in _pair()]
    again = built(lambda: loaders)
    assert (again.classes, again.train.batch_size) == (CLASSES, 5)
    assert _same(again.train.batched(4), data.train)
    alike = built(lambda: (_pair()[0], _pair()[0]))  # as torchvision's, of which both have classes
    assert alike.classes == CLASSES
    assert built(lambda: data) is data
    assert built(lambda: data, batch_size=7).train.batch_size == 7


def _needs(folder: str) -> Data:
    raise AssertionError(folder)


def _fails() -> Data:
    raise FileNotFoundError("no such folder")


@pytest.mark.plain
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            _needs,
            r"_needs\(\) raised TypeError: .*'folder'; it must be a function without required",
        ),
        (
            _fails,
            r"_fails\(\) raised FileNotFoundError: no such folder; .* that returns a fkd.data.Data",
        ),
        (lambda: None, r"or a pair of .* has `classes`, but it returned a NoneType"),
        (lambda: (), r"it returned a tuple of nothing"),
        (lambda: (FITS,), r"it returned a tuple of TensorDataset"),
        (lambda: [FITS, FITS, FITS], r"it returned a list of TensorDataset, TensorDataset, Tensor"),
        (lambda: (X, Y), r"it returned a tuple of Tensor, Tensor"),
        (
            lambda: (FITS, FITS),
            r"first has no `classes`, .* return fkd.data.from_dataset\(train, te",
        ),
        (
            lambda: (_pair()[0], Listed([(X[0], 0)], ["a", "c", "b"])),
            r"classes that differ, .*'a', 'b', 'c'.* to train on and .*'a', 'c', 'b'.* to test on",
        ),
    ],
)
def test_a_function_that_builds_anything_else_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        built(build)
