"""Order, normalisation and the door of a data set."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from fkd import data
from fkd.data import Data


def _data(**changes) -> Data:
    given = {
        "name": "mine",
        "classes": ("a", "b"),
        "train_images": torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        "train_labels": torch.tensor([0, 1, 0, 1]),
        "test_images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        "test_labels": torch.tensor([0, 1]),
    }
    return Data(**given | changes)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_is_every_example_once_and_a_filled_last_batch(examples, batch, seed, epoch):
    batch = min(batch, examples)
    index = data.order(seed, epoch, examples, batch)
    assert index.shape == (data.steps_per_epoch(examples, batch), batch)
    flat = index.flatten()
    assert sorted(flat[:examples].tolist()) == list(range(examples))
    assert torch.equal(flat[examples:], flat[: len(flat) - examples])


def test_the_order_is_of_the_seed_and_the_epoch():
    first = data.order(0, 0, 100, 10)
    assert torch.equal(first, data.order(0, 0, 100, 10))
    assert not torch.equal(first, data.order(0, 1, 100, 10))
    assert not torch.equal(first, data.order(1, 0, 100, 10))


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"order: batch_size must lie in \[1, 10\], but it is 11"):
        data.order(0, 0, 10, 11)


@given(
    st.lists(st.integers(4, 40), min_size=1, max_size=4),
    st.sampled_from([0.2, 0.25, 0.5]),
    st.integers(0, 5),
)
def test_a_held_out_split_is_disjoint_stratified_and_repeated(counts, share, seed):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(7))]
    kept, held = data.hold_out(labels, share, seed)
    assert sorted(kept.tolist() + held.tolist()) == list(range(len(labels)))
    of_class = np.bincount(labels[held].numpy(), minlength=len(counts))
    assert (np.abs(of_class - share * np.array(counts)) <= 0.5).all()
    for one, again in zip((kept, held), data.hold_out(labels, share, seed), strict=True):
        assert torch.equal(one, again)


def test_what_is_held_out_is_drawn_by_the_seed():
    labels = torch.zeros(50, dtype=torch.int64)
    first, second = (data.hold_out(labels, 0.2, seed)[1] for seed in (0, 1))
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.arange(10)) and not torch.equal(first, torch.arange(40, 50))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_is_none_or_all_is_refused(share):
    with pytest.raises(ValueError, match="share must lie between 0 and 1"):
        data.hold_out(torch.zeros(9, dtype=torch.int64), share)


@pytest.mark.parametrize(("share", "number"), [(0.1, 0), (0.9, 3)])
def test_a_class_is_never_emptied(share, number):
    labels = torch.tensor([0] * 10 + [4] * 3)
    message = f"holds out {number} of the 3 examples of class 4"
    with pytest.raises(ValueError, match=message):
        data.hold_out(labels, share)


def test_normalize_is_torchvisions():
    images = torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8)
    reference = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize(data.MEAN, data.STD)]
    )
    normal = data.normalize(images)
    torch.testing.assert_close(normal, reference(images))
    assert normal.is_contiguous(memory_format=torch.channels_last)
    members = images.reshape(5, 1, 3, 4, 4)
    torch.testing.assert_close(data.normalize(members)[:, 0], normal)


def test_take_reads_images_and_targets_at_the_index():
    images = torch.arange(4 * 12).reshape(4, 3, 2, 2).to(torch.uint8)
    targets = {"labels": torch.tensor([5, 6, 7, 8])}
    x, y = data.take(images, targets, torch.tensor([2, 0]))
    torch.testing.assert_close(x, data.normalize(images[[2, 0]]))
    assert y["labels"].tolist() == [7, 5]


@pytest.mark.plain
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_labels": torch.tensor([0, 1, 0, 2])},
            "labels must lie in .0, 2.*reach from 0 to 2",
        ),
        ({"test_labels": torch.tensor([0, -1])}, "mine, test split: .*reach from -1 to 0"),
        (
            {"train_labels": torch.tensor([0, 1])},
            r"there are 4 images, .* they are torch.int64 \(2,\)",
        ),
        ({"train_labels": torch.zeros(4)}, "labels must be int64"),
        (
            {"train_images": torch.zeros(4, 3, 8, 8)},
            "images must be uint8 .* but they are torch.float32",
        ),
        ({"train_images": torch.zeros(4, 1, 8, 8, dtype=torch.uint8)}, r"uint8 \(4, 1, 8, 8\)"),
        (
            {
                "test_images": torch.zeros(0, 3, 8, 8, dtype=torch.uint8),
                "test_labels": torch.zeros(0, dtype=torch.int64),
            },
            "test split: there are no images",
        ),
    ],
)
def test_data_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _data(**changes)
