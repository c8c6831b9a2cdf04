"""Work on many files in threads, with a bound on what is in memory at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Condition
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# More would not be faster: what Python does they do in turn.
THREADS = 8
AT_ONCE = 4096  # items that wait for a thread


def each(
    function: Callable[[Item], Result], items: Sequence[Item], together: int = 1
) -> Iterator[Result]:
    """`function` of each item, in order, worked on in threads; a thread takes so many `together`.

    >>> list(each(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, len(items), AT_ONCE):
            last = min(first + AT_ONCE, len(items))
            parts = [items[at : min(at + together, last)] for at in range(first, last, together)]
            for results in pool.map(partial(_each_of, function), parts):
                yield from results


def _each_of(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


class Room:
    """Room for so many of something at once; whoever needs more than is free waits for it.

    What needs more than there is at all has the room for itself.

    >>> room = Room(10)
    >>> with room.of(7), room.of(3):
    ...     room.free
    0
    """

    def __init__(self, most: int):
        self.most = self.free = most
        self._change = Condition()

    @contextmanager
    def of(self, number: int) -> Iterator[None]:
        number = min(number, self.most)
        with self._change:
            self._change.wait_for(lambda: self.free >= number)
            self.free -= number
        try:
            yield
        finally:
            with self._change:
                self.free += number
                self._change.notify_all()
