"""Heads of the student alone: what shapes they join."""

import pytest
import torch
from torch import nn

from fkd import heads

SMALL, LARGE = torch.Size([4, 6, 6]), torch.Size([8, 6, 6])


@pytest.mark.parametrize(
    "build",
    [
        heads.convolution_regressor,
        heads.pointwise,
        heads.connector,
        heads.projector,
        heads.generator,
        heads.rectified_connector,
    ],
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


def test_a_linear_head_joins_vectors_alone():
    head = heads.linear(torch.Size([4]), torch.Size([6]))
    assert head(torch.randn(3, 4)).shape == (3, 6)
    assert len(list(head.parameters())) == 1
    with pytest.raises(ValueError, match=r"it joins vectors \[width\], but .* is \(4, 6, 6\)"):
        heads.linear(SMALL, torch.Size([6]))


@pytest.mark.plain
def test_the_regressor_joins_no_different_numbers_of_tokens():
    with pytest.raises(ValueError, match=r"the student's is \(10, 4\) .* `heads.align` makes maps"):
        heads.convolution_regressor(torch.Size([10, 4]), torch.Size([9, 4]))


def test_masked_channels_are_zero_and_the_others_as_they_were():
    torch.manual_seed(0)
    maps = torch.rand(200, 50, 2, 2) + 1
    masked = heads.Masked(0.25)(maps)
    kept = (masked != 0).all((2, 3))
    assert torch.equal((masked != 0).any((2, 3)), kept)  # a channel goes as a whole
    torch.testing.assert_close(masked[kept], maps[kept])
    # of 10,000 draws the share has a deviation of 0.0043
    assert abs(kept.double().mean().item() - 0.75) < 5 * 0.0043
    assert torch.equal(heads.Masked(0.25).eval()(maps), maps)


def test_a_generator_of_as_many_channels_has_no_convolution_before_its_mask():
    alike, wider = (heads.generator(SMALL, target) for target in (SMALL, LARGE))
    layers = [type(layer).__name__ for layer in alike.children()]
    assert layers == ["Masked", "Conv2d", "ReLU", "Conv2d"]
    assert [type(layer).__name__ for layer in wider.children()] == ["Conv2d", *layers]


@pytest.mark.plain
def test_a_share_of_all_channels_is_refused():
    with pytest.raises(ValueError, match=r"Masked: share must lie in \[0, 1\), but it is 1.0"):
        heads.Masked(1.0)
