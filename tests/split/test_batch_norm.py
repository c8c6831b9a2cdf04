"""BatchNorm of a batch in parts is torch's own of the whole batch."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fkd.split import Split, together
from fkd.split._batch_norm import whole_batch_norm

DOUBLE = torch.float64


def outputs(split: Split | None, norm: nn.Module, x: Tensor, weight: Tensor) -> list[Tensor]:
    """Values, gradient by the inputs, and the buffers after it, of this part."""
    examples = len(x)
    rows = slice(None) if split is None else split.rows(examples)
    own = x[rows].clone().requires_grad_()
    with whole_batch_norm(split, examples):
        y = norm(own)
    (gradient,) = torch.autograd.grad((y.sin() * weight[rows]).sum(), own)
    return [y.detach(), gradient, *norm.buffers()]


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([(), (2,), (2, 3)]),
    st.booleans(),
    st.sampled_from([0.1, None]),
)
def test_values_gradients_and_statistics_are_those_of_the_whole(
    parts, more, shape, affine, momentum
):
    examples, channels = parts + more, 2
    x = torch.randn(examples, channels, *shape, dtype=DOUBLE) * 3 + 50
    weight = torch.randn_like(x)
    kind = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[len(shape)]
    norm = kind(channels, affine=affine, momentum=momentum).double()
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    expected = outputs(None, copy.deepcopy(norm), x, weight)
    norms = [copy.deepcopy(norm) for _ in range(parts)]
    each = together(parts, lambda split: outputs(split, norms[split.part], x, weight))
    for place in (0, 1):
        whole = torch.cat([part[place] for part in each])
        torch.testing.assert_close(whole, expected[place], rtol=1e-9, atol=1e-9)
    for part in each:
        for value, buffer in zip(part[2:], expected[2:], strict=True):
            torch.testing.assert_close(value, buffer, rtol=1e-12, atol=1e-12)


def test_in_evaluation_it_is_torchs_own_and_asks_nobody():
    norm = nn.BatchNorm1d(2).eval()
    x = torch.randn(3, 2)

    def refuse(x: Tensor) -> Tensor:
        raise AssertionError("asked")

    with whole_batch_norm(Split(0, 2, refuse), 6):
        assert torch.equal(norm(x), norm(x))


@pytest.mark.plain
def test_what_has_no_variance_or_no_examples_is_refused():
    split = Split(0, 1, torch.clone)
    norm = nn.BatchNorm1d(2)
    with (
        whole_batch_norm(split, 1),
        pytest.raises(ValueError, match="a channel must have two values or more"),
    ):
        norm(torch.ones(1, 2))
    with (
        whole_batch_norm(Split(0, 2, torch.clone), 4),
        pytest.raises(ValueError, match="its input must lead with the examples, 2 of them here"),
    ):
        norm(torch.ones(3, 2))
