"""The saver: when a checkpoint is due, that it is written beside, and that no error stops it."""

import threading
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fkd import checkpoint
from fkd.compare._job.standing import Standing
from fkd.compare._store.moment import whole_moments
from fkd.compare._store.saver import Saver

pytestmark = pytest.mark.plain  # what stands for a standing is none
RARELY = 1e6  # minutes


class Stands:
    """What stands for a standing: its copy is its number, which is its step too."""

    def __init__(self, number: int, part: int | None = 0, parts: int = 1):
        self.number = self.step = number
        self.part, self.parts = part, parts

    def taken(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return {"x": torch.tensor(self.number)}, {"step": self.number}


def standing(number: int, part: int | None = 0, parts: int = 1) -> Standing:
    return cast(Standing, Stands(number, part, parts))


def steps(saver: Saver) -> list[int]:
    """What each file is about, in the order of their names."""
    return [checkpoint.about(file)["step"] for file in sorted(saver.folder.iterdir())]


@pytest.fixture
def saver(tmp_path):
    saver = Saver(tmp_path, 2.0)
    yield saver
    saver.close()


def test_the_next_is_due_two_minutes_after_the_last(saver, monkeypatch):
    begin = saver._saved
    monkeypatch.setattr("fkd.compare._store.saver.time.monotonic", lambda: begin + 119.9)
    assert not saver.due
    monkeypatch.setattr("fkd.compare._store.saver.time.monotonic", lambda: begin + 120.1)
    assert saver.due
    saver.save(standing(1))
    saver.wait()
    assert not saver.due
    monkeypatch.setattr("fkd.compare._store.saver.time.monotonic", lambda: begin + 240.3)
    assert saver.due


def test_none_is_due_while_the_last_is_written(tmp_path, monkeypatch):
    saver = Saver(tmp_path, 1e-9)
    go_on, write = threading.Event(), checkpoint.write

    def slowly(*arguments):
        go_on.wait(60)
        write(*arguments)

    monkeypatch.setattr(checkpoint, "write", slowly)
    assert saver.due
    saver.save(standing(1))
    assert not saver.due and not list(tmp_path.glob("checkpoint-*"))
    go_on.set()
    saver.wait()
    assert saver.due and steps(saver) == [1]
    saver.close()


def test_what_is_saved_is_the_last_and_is_removed_when_asked(saver):
    saver.remove()  # where there is none
    for number in (1, 2, 3):
        saver.save(standing(number))
    saver.wait()
    assert steps(saver) == [3]
    saver.save(standing(4))
    saver.remove()
    assert steps(saver) == []


def test_a_moment_that_is_spared_stays_whatever_is_saved(saver):
    for number, spared in ((1, ()), (2, (1,)), (3, (1,))):
        saver.save(standing(number), spared)
    saver.wait()
    assert steps(saver) == [1, 3]
    saver.save_now(standing(4), {1, 3})
    assert steps(saver) == [1, 3, 4]
    saver.remove({1})
    assert steps(saver) == [1]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("dtype")])
def test_what_cannot_be_written_is_told_and_the_old_one_stays(error, saver, monkeypatch):
    saver.save(standing(1))
    saver.wait()

    def failing(*arguments):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", failing)
        saver.save(standing(2))
        saver.wait()
    assert saver.error == str(error) and steps(saver) == [1]
    saver.written = False
    saver.save(standing(3))
    saver.wait()
    assert saver.error is None and saver.written and steps(saver) == [3]


def test_a_reason_has_no_name_that_is_another_each_time(saver, monkeypatch):
    def failing(path, *arguments):
        if "-2-" in path.name.replace("0", ""):
            raise OSError(28, "No space left on device", f"{path}.0a1b2c3d.fkd-partial")
        raise ValueError(f"checkpoint {path}: no file holds it")

    monkeypatch.setattr(checkpoint, "write", failing)
    for save in (saver.save, saver.save_now):
        save(standing(1))
        saver.wait()
        assert saver.error is not None and str(saver.folder) not in saver.error


def test_a_mistake_of_ours_is_not_taken_for_a_full_disk(tmp_path, monkeypatch):
    def wrong(*arguments):
        raise KeyError("ours")

    saver = Saver(tmp_path, RARELY)
    monkeypatch.setattr(checkpoint, "write", wrong)
    saver.save(standing(1))
    with pytest.raises(KeyError, match="ours"):
        saver.wait()


def test_closing_waits_for_what_is_written(tmp_path):
    saver = Saver(tmp_path, RARELY)
    assert not saver.due
    saver.save(standing(7))
    saver.close()
    assert steps(saver) == [7]


@given(data=st.data(), ranks=st.integers(1, 4), saves=st.integers(1, 3))
def test_at_every_instant_the_last_moment_that_is_whole_is_there(
    data, ranks, saves, tmp_path_factory
):
    """Ranks write their parts in whatever order, or cannot."""
    folder = tmp_path_factory.mktemp("ranks")
    savers = [Saver(folder, RARELY) for _ in range(ranks)]
    last = 0
    for number in range(1, saves + 1):
        written = 0
        for rank in data.draw(st.permutations(range(ranks)), "order"):
            writes = data.draw(st.booleans(), "writes")
            savers[rank].save(standing(number, rank if writes else None, ranks))
            savers[rank].wait()
            written += writes
            if written == ranks:
                last = number
            there = whole_moments(folder)
            assert [moment.step for moment in there] == ([last] if last else [])
    for saver in savers:
        saver.close()
    savers[0].remove()
    assert list(folder.iterdir()) == []


def test_a_rank_without_a_part_writes_none_and_counts_with_the_others(saver):
    saver.save(standing(1, None, 2))
    saver.save_now(standing(2, None, 2))
    assert list(saver.folder.iterdir()) == [] and saver.last == 2


def test_ranks_that_stand_at_two_steps_make_no_moment(tmp_path):
    savers = [Saver(tmp_path, RARELY) for _ in range(2)]
    for rank, saver in enumerate(savers):
        saver.save_now(standing(5, rank, 2))
    for rank, saver in enumerate(savers):  # as they may where one of them was lost
        saver.save_now(standing(6 + rank, rank, 2))
        saver.close()
    assert [moment.step for moment in whole_moments(tmp_path)] == [5]


def test_a_part_of_what_another_could_not_write_is_removed(tmp_path):
    savers = [Saver(tmp_path, RARELY) for _ in range(2)]
    for number in (1, 2):
        for rank, saver in enumerate(savers[: 3 - number]):
            saver.save(standing(number, rank, 2))
            saver.wait()
    savers[0].discard()
    assert steps(savers[0]) == [1, 1]
    for saver in savers:
        saver.close()
