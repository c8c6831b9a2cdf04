"""The order of an epoch and the part that is held out: pure functions of their seeds."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fkd import data


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


def test_the_order_is_what_it_has_always_been():
    # stored results were made by it
    assert data.order(3, 2, 7, 3).tolist() == [[6, 2, 4], [0, 5, 3], [1, 6, 2]]


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"order: batch_size must lie in \[1, 10\], but it is 11"):
        data.order(0, 0, 10, 11)


@given(
    st.lists(st.integers(4, 40), min_size=1, max_size=4),
    st.sampled_from([0.2, 0.25, 0.5]),
    st.integers(0, 5),
)
def test_a_held_out_part_is_disjoint_stratified_and_repeated(counts, share, seed):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(7))]
    rest, validation = data.hold_out(labels, share, seed)
    assert sorted(rest.tolist() + validation.tolist()) == list(range(len(labels)))
    of_class = np.bincount(labels[validation].numpy(), minlength=len(counts))
    assert (np.abs(of_class - share * np.array(counts)) <= 0.5).all()
    for one, again in zip((rest, validation), data.hold_out(labels, share, seed), strict=True):
        assert torch.equal(one, again)


def test_what_is_held_out_is_drawn_by_the_seed():
    labels = torch.zeros(50, dtype=torch.int64)
    first, second = (data.hold_out(labels, 0.2, seed)[1] for seed in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, data.hold_out(labels, 0.2)[1])
    assert not torch.equal(first, torch.arange(10)) and not torch.equal(first, torch.arange(40, 50))


def test_of_probabilities_the_likeliest_class_counts_and_of_dense_labels_none():
    classes = torch.arange(40) % 2
    soft = torch.eye(2)[classes] * 0.8 + 0.1
    for one, other in (
        (soft, classes),
        (classes[:, None].expand(40, 3), torch.zeros(40, dtype=torch.int64)),
    ):
        parts = zip(data.hold_out(one, 0.2), data.hold_out(other, 0.2), strict=True)
        assert all(torch.equal(part, expected) for part, expected in parts)


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


def test_the_default_device_of_torch_is_of_no_matter():
    labels = torch.arange(12) % 2
    plain = data.order(3, 1, 12, 5), *data.hold_out(labels, 0.5)
    with torch.device("meta"):
        other = data.order(3, 1, 12, 5), *data.hold_out(labels, 0.5)
    assert all(torch.equal(one, two) for one, two in zip(plain, other, strict=True))
