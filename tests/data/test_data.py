"""The door of a data set, and the part that it holds out."""

from collections.abc import Iterator
from functools import partial
from itertools import count

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset, IterableDataset

from fkd import losses, optim
from fkd.data import Batch, Data, Resident, Streamed, hold_out
from fkd.distillation import distill
from fkd.methods import Term
from fkd.model import functional
from fkd.teachers import Teacher
from fkd.train import Students, train


def _source(labels: list[int], **changes) -> Resident:
    arguments = {
        "inputs": torch.arange(len(labels)).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8).byte(),
        "targets": {"labels": torch.tensor(labels)},
        "batch_size": 2,
    }
    return Resident(**arguments | changes)


def _data(**changes) -> Data:
    arguments = {
        "name": "mine",
        "classes": ("a", "b"),
        "train": _source([0, 1, 0, 1, 0, 1, 0, 1]),
        "test": _source([0, 1]),
    }
    return Data(**arguments | changes)


def test_both_sources_are_moved_and_the_batches_are_of_another_size():
    data = _data().to("meta")
    assert (data.train.device.type, data.test.device.type) == ("meta", "meta")
    assert _data().batched(5).train.batch_size == 5


def test_what_is_held_out_is_drawn_by_class_and_is_no_longer_trained_on():
    data = _data()
    rest, validation = data.hold_out(0.25, seed=1)
    expected = hold_out(data.train.targets["labels"], 0.25, seed=1)
    for source, rows in zip((rest.train, validation), expected, strict=True):
        assert torch.equal(source.inputs[:, 0, 0, 0].long(), rows)
        assert torch.equal(source.targets["labels"], data.train.targets["labels"][rows])
    assert rest.test is data.test
    assert data.train.examples == 8


SOFT = torch.tensor([[0.9, 0.1], [0.3, 0.7]]).repeat(4, 1)
DENSE = torch.arange(8 * 2 * 3).reshape(8, 2, 3) % 2
DENSE[:, 0] = -100


@pytest.mark.parametrize("targets", [{"labels": SOFT}, {"labels": DENSE}, {}])
def test_labels_may_be_soft_dense_or_none(targets):
    source = _source([0] * 8, targets=targets)
    data = _data(train=source, test=source, classes=("a", "b") if targets else ())
    rest, validation = data.hold_out(0.25, seed=3)
    # by the likeliest class where there is one
    classes = [0, 1] * 4 if targets.get("labels") is SOFT else [0] * 8
    expected = hold_out(torch.tensor(classes), 0.25, seed=3)
    for part, rows in zip((rest.train, validation), expected, strict=True):
        assert torch.equal(part.inputs, data.train.inputs[rows])
        for name, target in targets.items():
            assert torch.equal(part.targets[name], target[rows])
    assert validation.examples == 2


def test_a_student_is_trained_without_labels_by_what_the_teacher_says():
    teacher = functional(partial(nn.Linear, 3, 2))
    params, buffers = teacher.init(7)
    method = {"match": Term(losses.kl_divergence, weight=1.0)}
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    states = []
    for targets in ({}, {"labels": torch.arange(8) % 2}):
        source = Resident(inputs, targets, batch_size=4)
        data = Data("mine", ("a", "b") if targets else (), source, source)
        ask = Teacher(teacher, params, buffers)
        batch = next(data.train.in_order(4))
        batch = Batch(batch.inputs, batch.targets | ask(batch.inputs))
        student = distill(teacher, method, optim.adam(), batch)
        *_, at = train({"match": Students(student, [0])}, data.train, epochs=2, teacher=ask)
        states.append(at.states["match"])
    assert all(map(torch.equal, *map(tree_leaves, states)))


class Numbers(Dataset):
    """Numbers from 0 on, with `targets` as torchvision's data sets have them or without."""

    def __init__(self, targets: list[int] | None = None):
        if targets:
            self.targets = targets

    def __len__(self) -> int:
        return 8

    def __getitem__(self, number: int) -> tuple[float, int]:
        return float(number), number % 2


@pytest.mark.parametrize("targets", [[0, 1] * 4, None])
def test_a_share_of_a_streamed_source_is_that_of_a_resident_one(targets):
    source = Streamed(DataLoader(Numbers(targets), batch_size=3))
    rest, validation = _data(train=source, test=source).hold_out(0.25, seed=3)
    # where the classes are not known without reading, all count as one
    expected = hold_out(torch.tensor(targets or [0] * 8), 0.25, seed=3)
    for part, rows in zip((rest.train, validation), expected, strict=True):
        (batch,) = part.in_order(8)
        assert torch.equal(batch.inputs.long(), rows)
    assert rest.test is source


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((number, 0) for number in count())


def test_of_a_stream_nothing_is_held_out():
    source = Streamed(DataLoader(Endless(), batch_size=2), examples=8)
    with pytest.raises(ValueError, match=r"mine: a share .* that have numbers, but train is a Str"):
        _data(train=source, test=source).hold_out(0.25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": _source([0, 1, 0, 2])}, "labels must lie in .0, 2.*reach from 0 to 2"),
        ({"test": _source([0, -1])}, "mine, test split: .*reach from -1 to 0"),
        (
            {"train": _source([0, 1], targets={"labels": torch.tensor([0, 1]).int()})},
            r"labels must be int64, .* they are torch.int32 \(2,\)",
        ),
        (
            {"test": _source([0, 1], inputs=torch.zeros(2, 3, 8, 8))},
            r"it is \['torch.uint8 \(3, 8, 8\)'\] in train and \['torch.float32 \(3, 8, 8\)'\]",
        ),
        (
            {"test": _source([0, 1], inputs=torch.zeros(2, 1, 8, 8, dtype=torch.uint8))},
            r"\['torch.uint8 \(1, 8, 8\)'\] in test",
        ),
    ],
)
def test_data_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _data(**changes)
