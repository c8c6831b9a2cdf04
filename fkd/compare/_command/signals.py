"""Signals that end a run: the first when its step is finished and saved, a second at once."""

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

# By Ctrl-C, by a scheduler or a shutdown, by a terminal that is closed.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
STDOUT = 1
SHOWN = b"\x1b[?25h\r\n"  # a terminal's words for a cursor that is seen, on a new line


class Stop:
    """As long as it is entered, `signal` is the first of those signals that came, or None.

    A second one ends the process there and then, with the exit code that the first would have had
    in the end: 128 and its number. A signal that was ignored before, as under nohup, stays so.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def code(self) -> int:
        """The exit code, by the convention of shells: 130, 143 or 129."""
        assert self.signal is not None
        return 128 + self.signal

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            _leave_terminal()
            os._exit(self.code)
        self.signal = signal.Signals(number)


def _leave_terminal() -> None:
    """Show the cursor, which a bar hides, and leave the bar's line."""
    if os.isatty(STDOUT):
        with suppress(OSError):  # a terminal that hung up
            os.write(STDOUT, SHOWN)
