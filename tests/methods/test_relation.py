"""Methods of relations: published weights."""

import math

import torch
import torch.nn.functional as F

from fkd import methods
from methods.total import total


def test_cc_has_the_zoos_weight_of_the_mean_over_pairs():
    student, teacher = torch.randn(2, 6, 3)

    def kernel(x: torch.Tensor) -> torch.Tensor:
        cosine = F.normalize(x) @ F.normalize(x).T
        return math.exp(-0.8) * (1 + 0.8 * cosine + 0.8**2 / 2 * cosine**2)

    expected = 100 * F.mse_loss(kernel(student), kernel(teacher))
    torch.testing.assert_close(total(methods.cc(), student, teacher), expected)
