"""Heads of the student alone: what shapes they join."""

import pytest
import torch

from fkd import heads

SMALL, LARGE = torch.Size([4, 6, 6]), torch.Size([8, 6, 6])


@pytest.mark.parametrize(
    "build", [heads.convolution_regressor, heads.pointwise, heads.connector, heads.projector]
)
def test_plain_heads_join_the_channels(build):
    assert build(SMALL, LARGE)(torch.randn(3, *SMALL)).shape == (3, *LARGE)
    with pytest.raises(ValueError, match=r"it joins feature maps .* the student's is \(10,\)"):
        build(torch.Size([10]), LARGE)
