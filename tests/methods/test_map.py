"""Methods of maps: the authors' weights."""

import torch
import torch.nn.functional as F
from torch import nn

from fkd import methods
from methods.total import total


def test_ickd_has_its_authors_weight_and_normalised_embedding():
    student, teacher = torch.randn(2, 4, 6, 3, 3)
    g_s, g_t = (F.normalize(x.flatten(2) @ x.flatten(2).mT, dim=2) for x in (student, teacher))
    value = total(methods.ickd(), student, teacher)
    torch.testing.assert_close(value, 2.5 * (g_s - g_t).square().sum() / (6 * 4))
    head = methods.ickd()["ickd"].head
    assert head is not None
    built = head(torch.Size([3, 3, 3]), torch.Size([6, 3, 3]))
    assert isinstance(built, nn.Sequential)
    convolution, norm = built
    assert isinstance(convolution, nn.Conv2d) and convolution.bias is None
    assert isinstance(norm, nn.BatchNorm2d)
