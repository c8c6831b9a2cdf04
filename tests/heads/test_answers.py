"""PS-KD's memory: what it gives is what it was given before, row by row."""

import pytest
import torch

from fkd import heads

SCALAR = torch.Size([])


def test_it_gives_the_probabilities_of_the_last_time_and_zeros_the_first():
    head = heads.Answers(torch.Size([3]), (SCALAR, SCALAR), examples=5)
    labels = torch.tensor([0, 2])
    first, second = torch.randn(2, 3), torch.randn(2, 3, requires_grad=True)
    given = head(first, labels, torch.tensor([4, 1]))
    assert torch.equal(given["answers"], torch.zeros(2, 3))
    given = head(second, labels, torch.tensor([1, 0], dtype=torch.uint8))
    expected = torch.stack([first[1].softmax(-1), torch.zeros(3)])
    torch.testing.assert_close(given["answers"], expected)
    assert given["student"] is second and given["labels"] is labels
    rows = [second[1].softmax(-1), second[0].softmax(-1), torch.zeros(3), torch.zeros(3)]
    torch.testing.assert_close(head.answers, torch.stack([*rows, first[0].softmax(-1)]))
    assert not head.answers.requires_grad


def test_of_pixels_it_has_an_answer_each_in_its_own_dtype():
    head = heads.Answers(torch.Size([4, 4, 3]), (torch.Size([4, 4]), SCALAR), examples=2)
    logits = torch.randn(1, 4, 4, 3, dtype=torch.bfloat16)
    head(logits, torch.zeros(1, 4, 4, dtype=torch.int64), torch.tensor([1]))
    assert head.answers.dtype == torch.float32
    torch.testing.assert_close(head.answers[1], logits[0].float().softmax(-1))


@pytest.mark.plain
def test_what_is_no_classifiers_is_refused():
    with pytest.raises(ValueError, match=r"Answers: student must have an axis of classes"):
        heads.Answers(SCALAR, (SCALAR, SCALAR), examples=2)
    head = heads.Answers(torch.Size([3]), (SCALAR, SCALAR), examples=2)
    index = torch.tensor([1])
    with pytest.raises(ValueError, match=r"Answers: student must be \[batch, 3\] and labels"):
        head(torch.zeros(1, 4), torch.tensor([0]), index)
    with pytest.raises(ValueError, match=r"Answers: index must lie in \[0, 2\), .* there is 2"):
        head(torch.zeros(1, 3), torch.tensor([0]), index + 1)
