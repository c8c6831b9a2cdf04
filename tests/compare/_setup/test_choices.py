"""What a comparison chooses, and what it says of that."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, examples, trained_elsewhere, vectors
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from fkd.compare import Comparison
from fkd.data import Data, Streamed
from fkd.ensemble import Seeds


def chosen(data: Data | None = None, **options) -> tuple[str, str]:
    """The order that a comparison reads batches in, and its notes."""
    options = {"methods": ALL, "plan": EAGER, "epochs": 1} | options
    comparison = Comparison(Wide, Narrow, data=data or vectors(), **options)
    return comparison.results.config["order"], "\n".join(comparison.notes)


def test_each_seed_has_its_own_order_where_that_costs_little():
    order, notes = chosen()
    assert order == "own" and "one order" not in notes


def test_all_share_one_where_each_would_read_a_stream_and_it_is_told():
    loader = DataLoader(TensorDataset(*examples(40, seed=0)), batch_size=10)
    data = replace(vectors(), train=Streamed(loader))
    # Which asks for no teacher, so that none is asked about each batch.
    order, notes = chosen(data, methods={"ce": ALL["ce"]}, teacher_state=trained_elsewhere())
    assert order == "shared"
    assert "each of its own would read the data once a seed" in notes


def test_all_share_one_where_each_would_ask_the_teacher_and_it_is_told():
    order, notes = chosen(teacher_state=trained_elsewhere(), teacher_memory=0.0)
    assert order == "shared"
    assert "each of its own would ask the teacher once a seed" in notes


@pytest.mark.parametrize("order", ["shared", "own"])
def test_what_is_asked_for_is_taken(order):
    assert chosen(order=order)[0] == order
    assert chosen(order=order, teacher_memory=0.0)[0] == order


class Stream(IterableDataset):
    def __len__(self) -> int:
        return 40

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(*examples(40, seed=0), strict=True)


def test_of_a_stream_it_is_told_that_its_order_may_be_one_for_all():
    data = replace(vectors(), train=Streamed(DataLoader(Stream(), batch_size=10)))
    for options in ({"order": "own"}, {"seeds": [Seeds(0, 0, 0), Seeds(0, 1, 0)]}):
        order, notes = chosen(data, methods={"ce": ALL["ce"]}, **options)
        assert order == "own" and "if it takes none from its workers' seed" in notes


def test_seeds_of_an_order_have_it():
    assert chosen(seeds=[Seeds(0, 0, 0), Seeds(0, 1, 0)], teacher_memory=0.0)[0] == "own"
