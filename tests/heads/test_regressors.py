"""Heads of the student alone: what shapes they join."""

import pytest
import torch
from torch import nn

from fkd import heads

SMALL, LARGE = torch.Size([4, 6, 6]), torch.Size([8, 6, 6])


@pytest.mark.parametrize(
    "build", [heads.convolution_regressor, heads.pointwise, heads.connector, heads.projector]
)
def test_plain_heads_join_the_channels(build):
    assert build(SMALL, LARGE)(torch.randn(3, *SMALL)).shape == (3, *LARGE)
    with pytest.raises(ValueError, match=r"it joins feature maps .* the student's is \(10,\)"):
        build(torch.Size([10]), LARGE)


@pytest.mark.parametrize(
    ("student", "target"), [([4], [6]), ([10, 4], [10, 6])], ids=["vectors", "tokens"]
)
def test_the_regressor_of_vectors_and_tokens_is_a_linear_map_of_each(student, target):
    head = heads.convolution_regressor(torch.Size(student), torch.Size(target))
    assert isinstance(head, nn.Linear)
    x = torch.randn(3, *student)
    expected = torch.einsum("b...i,oi->b...o", x, head.weight) + head.bias
    torch.testing.assert_close(head(x), expected)


@pytest.mark.plain
def test_the_regressor_joins_no_different_numbers_of_tokens():
    with pytest.raises(ValueError, match=r"the student's is \(10, 4\) .* `heads.align` makes maps"):
        heads.convolution_regressor(torch.Size([10, 4]), torch.Size([9, 4]))
