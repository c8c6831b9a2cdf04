"""Checkpoints now and then, written beside the training."""

import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from fkd import checkpoint
from fkd.compare._job.standing import Standing
from fkd.compare._store.moment import Moment, remove
from fkd.compare.failure import reason_of
from fkd.model import Tensors


class Saver:
    """Writes where training stands into a folder, this rank's part of it, in a thread of its own.

    The training is held up only while its tensors are copied. What cannot be written stops
    nothing: the moment that was whole before stays, and `error` says why; `written` says whether
    one was since that was last asked. No rank waits for another. All of them save at the same
    steps, so that their parts are those of one moment: the moments of an attempt at a run, `token`,
    are numbered from the one after `last` on. A moment that is whole takes the place of all before
    it, but for those of the numbers that are `spared`.
    """

    def __init__(self, folder: Path, minutes: float, token: str = "00000000", last: int = 0):
        self.folder, self.seconds, self.token, self.last = folder, 60 * minutes, token, last
        self.error: str | None = None
        self.written = False
        self._saved = time.monotonic()
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._part: Path | None = None  # of the last moment

    @property
    def due(self) -> bool:
        """Whether it is time for the next, and the last one is written."""
        written = self._writing is None or self._writing.done()
        return written and time.monotonic() - self._saved >= self.seconds

    def save(self, standing: Standing, spared: Collection[int] = ()) -> None:
        """Copy where training stands, and have it written."""
        self.wait()
        moment = self._next(standing)
        self._saved = time.monotonic()
        if standing.part is not None:
            part, taken = standing.part, standing.taken()
            self._part = moment.path(self.folder, part)
            spared = frozenset(spared)
            self._writing = self._thread.submit(_write, self.folder, moment, part, *taken, spared)

    def save_now(self, standing: Standing, spared: Collection[int] = ()) -> None:
        """Write where training stands before anything else goes on.

        No thread is asked: Python may close a run that nobody holds any more wherever it collects
        garbage, also where a thread is being asked for, which would wait for itself.
        """
        self.wait()
        moment = self._next(standing)
        if standing.part is not None:
            self._part = moment.path(self.folder, standing.part)
            try:
                _write(self.folder, moment, standing.part, *standing.taken(), spared)
                self.error, self.written = None, True
            except (OSError, ValueError) as error:
                self.error = self._why(error)

    def _next(self, standing: Standing) -> Moment:
        self.last += 1
        return Moment(self.last, standing.step, self.token, standing.parts)

    def wait(self) -> None:
        """Until what was copied is on the disk, or cannot be written."""
        if self._writing is not None:
            try:
                self._writing.result()
                self.error, self.written = None, True
            except (OSError, ValueError) as error:  # a full disk, or a dtype that no file holds
                self.error = self._why(error)
            self._writing = None

    def _why(self, error: OSError | ValueError) -> str:
        return reason_of(error).removeprefix(f"checkpoint {self._part}: ")

    def discard(self) -> None:
        """Remove this rank's part of the last moment, for that of another could not be written."""
        if self._part is not None:
            with suppress(OSError):  # as of a disk that takes no more; it never counts
                self._part.unlink(missing_ok=True)

    def remove(self, spared: Collection[int] = ()) -> None:
        """The training that the files were of has ended, on every rank: none is written now."""
        self.wait()
        remove(self.folder, self.last + 1, spared)

    def close(self) -> None:
        self.wait()
        self._thread.shutdown()


def _write(
    folder: Path,
    moment: Moment,
    part: int,
    tensors: Tensors,
    about: Mapping[str, Any],
    spared: Collection[int],
) -> None:
    """Write a part; the last of a moment's parts is what the older moments give way to."""
    checkpoint.write(moment.path(folder, part), tensors, about)
    if moment.is_whole(folder):
        remove(folder, moment.number, spared)
