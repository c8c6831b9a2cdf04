"""A part of a batch: its rows, and what all parts have together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fkd.split import Split, together


@given(st.integers(1, 9), st.integers(0, 40))
def test_the_parts_are_those_of_tensor_split(parts, more):
    examples = parts + more
    expected = torch.arange(examples).tensor_split(parts)
    for part in range(parts):
        split = Split(part, parts, torch.clone)
        assert torch.equal(torch.arange(examples)[split.rows(examples)], expected[part])
        assert split.sizes(examples) == [len(rows) for rows in expected]


@given(st.integers(1, 4), st.integers(0, 5), st.sampled_from([(), (2,), (3, 1)]))
def test_the_whole_is_all_parts_rows_in_order(parts, more, shape):
    examples = parts + more
    x = torch.randn(examples, *shape, dtype=torch.float64)
    for whole in together(parts, lambda split: split.whole(split.own(x, examples), examples)):
        assert torch.equal(whole, x)


def test_a_tree_is_summed_leaf_by_leaf_each_dtype_in_one_sum():
    calls = []

    def doubled(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return 2 * x

    tree = {"a": torch.tensor([[1.0], [2.0]]), "b": [torch.tensor(3.0), torch.tensor(4)]}
    total = Split(0, 2, doubled).reduce(tree)
    assert total["a"].tolist() == [[2.0], [4.0]]
    assert [leaf.item() for leaf in total["b"]] == [6.0, 8]
    assert [x.dtype for x in calls] == [torch.float32, torch.int64]


def test_the_gradient_of_a_sum_is_the_sum_of_the_gradients():
    # L = sum over parts of (part + 1) * s, with s the sum of x_part squared: dL/dx_p = 6 * 2 x_p.
    x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def share(split: Split) -> list[float]:
        def loss(own: torch.Tensor) -> torch.Tensor:
            return (split.part + 1) * split.sum(own.square().sum())

        return torch.func.grad(loss)(split.own(x, 3)).tolist()

    assert together(3, share) == [[12.0], [-24.0], [6.0]]


@pytest.mark.plain
def test_what_is_no_part_is_refused():
    with pytest.raises(ValueError, match="each of the 3 parts of a batch must have an example"):
        Split(0, 3, torch.clone).rows(2)
    with pytest.raises(ValueError, match="part"):
        Split(2, 2, torch.clone)
