"""CRD's banks, its constants and its negatives."""

import pytest
import torch
import torch.nn.functional as F

from fkd import heads


def test_crds_banks_move_half_way_and_its_constants_are_those_of_the_first_batch():
    torch.manual_seed(0)
    shape = torch.Size([12])
    head = heads.Memory(shape, (shape, torch.Size([])), examples=10, negatives=6, width=5)
    before = head.student_bank.clone()
    student, teacher, index = torch.randn(3, 12), torch.randn(3, 12), torch.tensor([7, 2, 5])
    given = head(student, teacher, index, torch.tensor(0.3))
    assert given["student_negatives"].shape == (3, 6, 5)
    assert float(given["share"]) == pytest.approx(6 / 10)
    rows = F.normalize(head.embeddings.student(student), dim=1)
    moved = F.normalize((before[index] + rows) / 2, dim=1)
    torch.testing.assert_close(head.student_bank[index], moved.detach())
    others = [i for i in range(10) if i not in index.tolist()]
    assert torch.equal(head.student_bank[others], before[others])
    # Z is the number of examples times the mean of e^(cosine / T) over the first batch
    cosines = torch.einsum("bd,bkd->bk", rows, given["teacher_negatives"])
    torch.testing.assert_close(given["student_scale"], 10 * (cosines / 0.3).exp().mean().detach())
    again = head(student, teacher, index, torch.tensor(0.3))
    assert torch.equal(again["teacher_scale"], given["teacher_scale"])
    assert not torch.equal(again["student_negatives"], given["student_negatives"])


@pytest.mark.parametrize("negatives", [0, 11])
def test_crds_negatives_are_of_the_examples(negatives):
    shape = torch.Size([12])
    with pytest.raises(
        ValueError, match=rf"negatives must lie in \[1, 10\], but it is {negatives}"
    ):
        heads.Memory(shape, (shape, torch.Size([])), examples=10, negatives=negatives)
