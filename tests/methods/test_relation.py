"""Methods of relations: published weights."""

import math

import torch
import torch.nn.functional as F

from fkd import heads, methods
from methods.total import total


def test_cc_has_the_zoos_weight_of_the_mean_over_pairs():
    student, teacher = torch.randn(2, 6, 3)

    def kernel(x: torch.Tensor) -> torch.Tensor:
        cosine = F.normalize(x) @ F.normalize(x).T
        return math.exp(-0.8) * (1 + 0.8 * cosine + 0.8**2 / 2 * cosine**2)

    expected = 100 * F.mse_loss(kernel(student), kernel(teacher))
    torch.testing.assert_close(total(methods.cc(), student, teacher), expected)


def test_cc_bilinear_has_repdistillers_weight_and_embeddings_of_128():
    term = methods.cc_bilinear()["cc-bilinear"]
    assert term.weight == 0.02 and term.head is heads.Embeddings
    both = heads.Embeddings(torch.Size([5]), torch.Size([7]))(torch.randn(3, 5), torch.randn(3, 7))
    errors = (both["student"] - both["teacher"]).abs()
    assert errors.shape == (3, 128)
    expected = 0.02 * ((errors[0] * errors[1]).sum() + (errors[1] * errors[2]).sum()) / 2
    torch.testing.assert_close(total(methods.cc_bilinear(), **both), expected)
