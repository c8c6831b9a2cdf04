"""What ranks agree on: whatever befalls one of them, all hear of it at the same place."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fkd.compare._accord import Accord
from fkd.compare.failure import Failure, RankError, failure_of
from fkd.distributed import Mesh

TIMEOUT = 20.0  # seconds; a rank that waits in vain is a failure, and hangs nothing


@dataclass
class Table:
    """Where ranks that are threads lay down their words."""

    ranks: int
    words: list[str] = field(default_factory=list)
    meetings: int = 0

    def __post_init__(self) -> None:
        self.words = [""] * self.ranks
        self.barrier = threading.Barrier(self.ranks)


@dataclass(frozen=True)
class Threads(Mesh):
    """A mesh whose ranks are threads of this process."""

    table: Table = field(default_factory=lambda: Table(1))

    def words(self, word: Any) -> list[Any]:
        table = self.table
        table.words[self.rank] = json.dumps(word)
        table.barrier.wait(TIMEOUT)
        words = list(map(json.loads, table.words))
        if table.barrier.wait(TIMEOUT) == 0:
            table.meetings += 1
        return words


class Alone(Mesh):
    """One process, which has nobody to talk to."""

    def words(self, word: Any) -> list[Any]:
        raise AssertionError("nobody is there")


class Gone(Mesh):
    """A mesh whose other rank has died."""

    ranks = 2

    def words(self, word: Any) -> list[Any]:
        raise RuntimeError("Connection closed by peer")


def on_ranks(
    work: Callable[[Accord], Any],
    member_ranks: int,
    data_ranks: int = 1,
    table: Table | None = None,
) -> list[Any]:
    """What each rank returns of this work, or the error that it raises."""
    ranks = member_ranks * data_ranks
    table = table or Table(ranks)

    def one(rank: int) -> Any:
        try:
            return work(Accord(Threads(rank, member_ranks, data_ranks, table=table)))
        except Exception as error:
            return error

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(one, range(ranks)))


def test_one_process_agrees_with_itself_and_talks_to_nobody():
    accord = Accord(Alone())
    accord.at(1)
    assert (accord.save, accord.stop) == (False, None)
    accord.wish(save=True, stop=15)
    assert accord.stop == 15  # at once
    accord.at(2)
    assert (accord.save, accord.stop) == (True, 15)
    accord.at(3)
    assert (accord.save, accord.stop) == (False, 15)
    assert accord.share("here", 7) == [7] and accord.gather("here", [1, 2]) == [1, 2]
    error = KeyError("mine")
    assert accord.told(error) is error
    with pytest.raises(KeyError), accord.together("here"):
        raise error


def test_members_are_gathered_in_their_order_from_one_data_rank_of_each_row():
    def work(accord: Accord) -> list[str]:
        row = accord.mesh.rank // accord.mesh.data_ranks
        return accord.gather("here", [f"{row}{k}" for k in range(2 - row)])

    assert on_ranks(work, 2, 2) == [["00", "01", "10"]] * 4


STEPS = 12


def stepping(accord: Accord, wishes: dict[tuple[int, int], dict[str, Any]]) -> Any:
    """Take steps, and make some wishes after some of them; where the ranks save and stop."""
    saves = []
    accord.at()
    for step in range(1, STEPS + 1):
        accord.at(step)
        if accord.save:
            saves.append(step)
        if accord.stop is not None:
            return saves, step, accord.stop
        accord.wish(**wishes.get((accord.mesh.rank, step), {}))
    accord.at()
    return saves, None, accord.stop


@pytest.mark.parametrize("ranks", [2, 3])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_wish_of_any_rank_is_granted_on_all_at_one_step(ranks, data):
    places = st.tuples(st.integers(0, ranks - 1), st.integers(1, STEPS))
    saves = data.draw(st.sets(places, max_size=3), "saves")
    stops = data.draw(st.sets(places, max_size=2), "stops")
    wishes: dict[tuple[int, int], dict[str, Any]] = {place: {"save": True} for place in saves}
    for place in stops:
        wishes[place] = wishes.get(place, {}) | {"stop": 10 + place[0]}
    told = on_ranks(lambda accord: stepping(accord, wishes), ranks)
    assert all(one == told[0] for one in told)
    granted, step, stop = told[0]
    if stops:
        assert stop in {10 + rank for rank, _ in stops}
        assert step is None or step > min(at for _, at in stops)
    else:
        assert stop is None
    first = min((at for _, at in saves), default=STEPS)
    assert all(at > first for at in granted)


@pytest.mark.parametrize("ranks", [2, 3])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_an_error_on_any_ranks_is_the_same_error_on_all(ranks, data):
    some = st.sets(st.integers(0, ranks - 1), min_size=1)
    failing = data.draw(some, "ranks that fail")
    steps = {rank: data.draw(st.integers(1, STEPS), f"step of {rank}") for rank in failing}
    ends = data.draw(st.booleans(), "ends the run")

    def work(accord: Accord) -> Any:
        rank = accord.mesh.rank
        accord.at()
        try:
            for step in range(1, STEPS + 1):
                if steps.get(rank) == step:
                    raise KeyError(f"step {step}")
                accord.at(step)
            accord.share("the end of the training", None)
        except Exception as error:
            told = accord.told(error, ends=ends)
            accord.share("behind it", None)  # all are here, and none is a word behind
            return failure_of(told), isinstance(told, RankError) and told.ends
        return None

    told = on_ranks(work, ranks)
    assert all(one == told[0] for one in told)
    failure, ended = told[0]
    assert failure.kind == "error"
    alike = len(failing) == ranks and len(set(steps.values())) == 1
    if alike:
        assert failure.reason == f"KeyError: 'step {steps[0]}'"
    else:
        rank = int(failure.reason.split()[1].rstrip(":"))
        assert failure.reason == f"rank {rank}: KeyError: 'step {steps[rank]}'"
        assert ended == ends


def test_what_one_rank_refuses_all_refuse_in_its_words():
    def work(accord: Accord) -> None:
        with accord.together("outer"), accord.together("the door"):
            if accord.mesh.rank == 1:
                raise ValueError("seeds: there are none")

    for error in on_ranks(work, 3):
        assert isinstance(error, ValueError)
        assert str(error) == "seeds: there are none (on rank 1)"


def test_what_all_refuse_alike_is_of_no_rank():
    def work(accord: Accord) -> None:
        with accord.together("the door"):
            raise ValueError("seeds: there are none")

    assert [str(error) for error in on_ranks(work, 2)] == ["seeds: there are none"] * 2


def test_an_error_keeps_its_kind_and_its_traceback_on_all():
    def work(accord: Accord) -> Any:
        try:
            if accord.mesh.rank == 1:
                raise MemoryError("too much")
            accord.share("here", None)
        except Exception as error:
            told = accord.told(error, ends=False)
            assert isinstance(told, RankError)
            return told.failure.kind, told.failure.reason[:28], "in work" in told.traceback

    assert on_ranks(work, 2) == [("memory", "rank 1: the memory is full (", True)] * 2


def test_ranks_at_two_places_end_rather_than_take_one_word_for_another():
    def work(accord: Accord) -> None:
        accord.share(f"place {accord.mesh.rank}", None)

    for error in on_ranks(work, 2):
        assert isinstance(error, RankError) and error.ends and error.lost
        assert str(error) == "the ranks are not at one place, but at place 0, place 1"


def test_where_the_others_have_gone_the_run_ends_with_the_reason():
    accord = Accord(Gone())
    with pytest.raises(RankError, match=r"^the other ranks cannot be reached: ") as why:
        accord.share("here", None)
    assert why.value.ends and why.value.lost
    told = accord.told(KeyError("mine"))
    assert isinstance(told, RankError) and told.lost
    assert failure_of(told) == Failure("error", str(told))


def test_ranks_meet_about_once_a_second(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("fkd.compare._accord.time", SimpleNamespace(monotonic=lambda: clock.now))
    table = Table(1)
    accord = Accord(Threads(0, 2, table=table))  # as if the other said the same
    monkeypatch.setattr(Threads, "words", lambda mesh, word: meet(mesh, word))

    def meet(mesh: Threads, word: Any) -> list[Any]:
        mesh.table.meetings += 1
        return [word, word]

    accord.at()
    clock.now += 60.0  # the first step compiles
    for step in range(1, 20_001):
        accord.at(step)
        clock.now += 0.001
    # 20 seconds, and as many doublings as lead from one step to a thousand
    assert 20 <= table.meetings <= 20 + 12
