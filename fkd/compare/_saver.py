"""Checkpoints now and then, written beside the training."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fkd import checkpoint
from fkd.compare._standing import Standing


class Saver:
    """Writes where training stands to a file, in a thread of its own.

    The training is held up only while its tensors are copied. What cannot be written stops
    nothing: the file stays what it was, and `error` says why.
    """

    def __init__(self, path: Path, minutes: float):
        self.path, self.seconds = path, 60 * minutes
        self.error: Exception | None = None
        self._last = time.monotonic()
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    @property
    def due(self) -> bool:
        """Whether it is time for the next, and the last one is written."""
        written = self._writing is None or self._writing.done()
        return written and time.monotonic() - self._last >= self.seconds

    def save(self, standing: Standing) -> None:
        """Copy where training stands, and have it written."""
        self.wait()
        tensors, about = standing.taken()
        self._last = time.monotonic()
        self._writing = self._thread.submit(checkpoint.write, self.path, tensors, about)

    def save_now(self, standing: Standing) -> None:
        """Write where training stands before anything else goes on.

        No thread is asked: Python may close a run that nobody holds any more wherever it collects
        garbage, also where a thread is being asked for, which would wait for itself.
        """
        self.wait()
        try:
            checkpoint.write(self.path, *standing.taken())
        except (OSError, ValueError) as error:
            self.error = error

    def wait(self) -> None:
        """Until what was copied is on the disk, or cannot be written."""
        if self._writing is not None:
            try:
                self._writing.result()
                self.error = None
            except (OSError, ValueError) as error:  # a full disk, or a dtype that no file holds
                self.error = error
            self._writing = None

    def remove(self) -> None:
        """The training that the file was of has ended."""
        self.wait()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        self.wait()
        self._thread.shutdown()
