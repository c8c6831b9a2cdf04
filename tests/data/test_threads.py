"""Work in threads: in order, with no more at once than there is room for."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fkd.data import _threads
from fkd.data._threads import Room, each


@pytest.mark.parametrize("together", [1, 3, 100])
def test_results_come_in_the_order_of_the_items(monkeypatch, together):
    monkeypatch.setattr(_threads, "AT_ONCE", 7)
    for number in (0, 1, 7, 20):
        assert list(each(str, range(number), together)) == list(map(str, range(number)))


def test_items_are_worked_on_side_by_side():
    meeting = threading.Barrier(2, timeout=30)  # whoever comes alone waits, and then fails
    list(each(lambda item: meeting.wait(), range(4)))


def test_an_error_is_raised_and_the_rest_is_left(monkeypatch):
    monkeypatch.setattr(_threads, "AT_ONCE", 2)
    begun = []

    def fails(item: int) -> None:
        begun.append(item)
        raise KeyError(item)

    with pytest.raises(KeyError, match="0"):
        list(each(fails, range(100)))
    assert len(begun) <= 2


@given(numbers=st.lists(st.integers(0, 12), max_size=30), most=st.integers(1, 8))
def test_there_is_never_more_than_there_is_room_for(numbers, most):
    room, lock, now, seen = Room(most), threading.Lock(), [], []

    def enter(number: int) -> None:
        with room.of(number):
            with lock:
                now.append(number)
                seen.append(list(now))
            with lock:
                now.remove(number)

    list(each(enter, numbers))
    assert room.free == most
    for together in seen:
        large = [number for number in together if number >= most]
        assert sum(together) <= most or [n for n in together if n] == large[:1]


def test_room_is_free_again_after_an_error():
    room: Any = Room(3)
    with pytest.raises(KeyError), room.of(2):
        raise KeyError
    assert room.free == 3
