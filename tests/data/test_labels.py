"""What labels may be, and what is refused at the door."""

import pytest
import torch

from fkd.data import Resident
from fkd.data._labels import IGNORED, check_classes, check_labels, class_numbers, strata

SOFT = torch.tensor([[0.2, 0.8, 0.0], [0.5, 0.25, 0.25]])


def test_what_is_ignored_is_what_torchs_losses_ignore():
    assert torch.nn.CrossEntropyLoss().ignore_index == IGNORED


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([0, 2]),
        torch.tensor([[[0, 2], [IGNORED, 1]]]),  # [examples, height, width]
        torch.tensor([[IGNORED, IGNORED]]),
        SOFT,
        SOFT.bfloat16(),
        torch.randn(50, 3).bfloat16().softmax(-1),
        torch.zeros(2, 3, device="meta"),
        torch.zeros(2, device="meta").long(),
    ],
)
def test_labels_are_classes_at_one_place_or_many_or_probabilities(labels):
    check_labels("here", labels)
    check_classes("here", labels, classes=3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_thousand_probabilities_may_be_rounded(dtype):
    logits = torch.randn(20, 1000, generator=torch.Generator().manual_seed(0))
    check_labels("here", logits.softmax(-1).to(dtype))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            torch.zeros(2),
            r"here: .* whole numbers, .* torch.float32 \(2,\); of classes give labels.long\(\)",
        ),
        (torch.zeros(2, 3, 4), r"probabilities \[examples, classes\], but they are .* \(2, 3, 4\)"),
        (
            torch.zeros(2, dtype=torch.complex64),
            "labels must hold whole numbers, .* torch.complex64",
        ),
        # several classes at once
        (torch.tensor([[0.0, 1.0], [1.0, 1.0]]), "example 1 has .1.0, 1.0., whose sum is 2; where"),
        (
            torch.tensor([[0.0, 0.0]]),
            "sum is 0; where .* name, such as 'tags', .* loss of your own",
        ),
        (
            torch.tensor([[1.5, -0.5]]),
            "none below zero .* example 0 has .1.5, -0.5., whose sum is 1",
        ),
        (torch.tensor([[0.5, float("nan")]]), "example 0 has .0.5, nan., whose sum is nan"),
        (torch.tensor([[0.5, 0.48]]), "whose sum is 0.98"),
    ],
)
def test_what_is_no_label_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        check_labels("here", labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 3]), r"lie in \[0, 3\), one .* classes, but they reach from 0 to 3"),
        (torch.tensor([IGNORED, 1]), "but they reach from -100 to 1"),  # an example needs a class
        (torch.tensor([[IGNORED, 1], [3, 1]]), "or be -100, but they reach from 1 to 3"),
        (torch.tensor([[-1, 1]]), "or be -100, but they reach from -1 to 1"),
        (torch.tensor([1, 2]).int(), r"must be int64, .* torch.int32 \(2,\); give labels.long"),
        (SOFT[:, :2], r"a probability of each of the 3 classes, but they are \(2, 2\)"),
    ],
)
def test_labels_outside_the_classes_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        check_classes("here", labels, classes=3)


def test_a_source_refuses_what_is_no_label_and_takes_it_under_another_name():
    tags = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"Resident: .* such as 'tags'"):
        Resident(torch.zeros(2, 1), {"labels": tags})
    source = Resident(torch.zeros(2, 1), {"tags": tags})
    assert torch.equal(source.read(torch.tensor([1, 0])).targets["tags"], tags.flip(0))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (torch.tensor([2, 0, 1]), [2, 0, 1]),
        (SOFT, [1, 0]),
        (torch.tensor([[0, 1], [2, 2], [IGNORED, 1]]), [0, 0, 0]),
    ],
)
def test_a_share_is_drawn_by_the_class_where_an_example_has_one(labels, expected):
    assert strata(labels).tolist() == expected


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([2, 0, 1], [2, 0, 1]),
        (torch.tensor([2, 0, 1]), [2, 0, 1]),
        ([2, 0], None),
        (["a.xml", "b.xml", "c.xml"], None),  # VOC's
        (torch.zeros(3, 2), None),
        (None, None),
    ],
)
def test_classes_are_read_from_a_data_sets_own_list(targets, expected):
    numbers = class_numbers(targets, 3)
    assert (None if numbers is None else numbers.tolist()) == expected
