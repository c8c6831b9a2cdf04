"""A side's ranks take steps together, and one that ends is told."""

from contextlib import closing

import pytest

from benchmarks.ddp.loops import Side
from benchmarks.ddp.ranks import Ranks, peak

pytestmark = [pytest.mark.plain, pytest.mark.slow]
SIDE = Side("tutorial", 1, members=2, batch=4)


def test_a_rank_takes_steps_until_it_is_let_go():
    with closing(Ranks(SIDE)) as ranks:
        (first,) = ranks(1)
        (later,) = ranks(2)
        assert len(first) == len(later) == 2 and first != later
        assert peak(SIDE) > 50  # MiB, which torch alone takes
    assert not any(process.is_alive() for process in ranks.processes)


def test_a_rank_that_ends_is_told(capfd, monkeypatch):
    monkeypatch.undo()  # what is forked writes where the server does that it is forked from
    with (
        closing(Ranks(Side("no such loop", 1, members=2))) as ranks,
        pytest.raises(RuntimeError, match="rank 0 ended"),
    ):
        ranks(1)
    assert "no such loop" in capfd.readouterr().err
