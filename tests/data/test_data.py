"""The door of a data set, and the part that it holds out."""

import pytest
import torch

from fkd.data import Data, Resident, hold_out


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": _source([0, 1, 0, 2])}, "labels must lie in .0, 2.*reach from 0 to 2"),
        ({"test": _source([0, -1])}, "mine, test split: .*reach from -1 to 0"),
        (
            {"train": _source([0, 1], targets={"labels": torch.tensor([0, 1]).int()})},
            r"there are 2 examples, .* they are torch.int32 \(2,\)",
        ),
        (
            {"train": _source([0, 1], targets={"labels": torch.tensor([[0], [1]])})},
            r"there are 2 examples, .* they are torch.int64 \(2, 1\)",
        ),
        ({"test": _source([0, 1], targets={})}, "test split: there must be a target 'labels'"),
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
