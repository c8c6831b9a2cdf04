"""Methods of pooled maps: the authors' weights."""

import torch
from torch import nn

from fkd import methods
from methods.total import total


def test_wkd_f_has_its_authors_weights_and_projector():
    student, teacher = torch.randn(2, 4, 6, 3, 3)
    means = (student.mean((2, 3)) - teacher.mean((2, 3))).square().sum(1)
    deviations = [x.std((2, 3), correction=0) for x in (student, teacher)]
    expected = 0.08 * (4 * means + (deviations[0] - deviations[1]).square().sum(1)).mean()
    torch.testing.assert_close(total(methods.wkd_f(), student, teacher), expected)
    head = methods.wkd_f()["wkd-f"].head
    assert head is not None
    kinds = [type(x) for x in head(torch.Size([3, 3, 3]), torch.Size([6, 2, 2])).modules()]
    assert kinds[2:] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
