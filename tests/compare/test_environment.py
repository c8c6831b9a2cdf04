"""What a run depends on of its machine, and what a user should know of it."""

import pytest

from fkd.compare import environment
from fkd.compare.environment import idle_cores, own_rank, ranks_here


@pytest.mark.parametrize(
    ("cores", "threads", "told"),
    [(16, 1, "OMP_NUM_THREADS=4"), (16, 4, None), (4, 1, None), (3, 1, None), (9, 1, "THREADS=2")],
)
def test_cores_that_ranks_leave_idle_are_told(cores, threads, told, monkeypatch):
    monkeypatch.setattr(environment, "cores_here", lambda: cores)
    monkeypatch.setattr(environment.torch, "get_num_threads", lambda: threads)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    notes = idle_cores(8)  # on two machines
    assert not notes if told is None else told in notes[0]
    assert not idle_cores(1)


def test_ranks_of_this_machine(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert ranks_here(8) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (ranks_here(8), ranks_here(1)) == (4, 1)


@pytest.mark.parametrize(("ranks", "rank"), [(None, 0), ("1", 0), ("4", 3)])
def test_a_rank_is_one_of_several(ranks, rank, monkeypatch):
    monkeypatch.setenv("RANK", "3")  # as something else than torchrun may
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if ranks is not None:
        monkeypatch.setenv("WORLD_SIZE", ranks)
    assert own_rank() == rank
