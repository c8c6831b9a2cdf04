"""Signals: the first is noted, a second ends the process, and one that was ignored stays so."""

import os
import signal
import threading

import pytest

from fkd.compare._command import signals
from fkd.compare._command.signals import NAMES, Stop

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}  # by the convention of shells
pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")


@pytest.mark.parametrize("name", NAMES)
def test_the_first_is_noted_and_work_goes_on(name):
    before = signal.getsignal(getattr(signal, name))
    with Stop() as stop:
        assert stop.signal is None
        signal.raise_signal(getattr(signal, name))
        assert stop.signal is not None and stop.signal.name == name
        assert stop.code == CODES[name]
    assert signal.getsignal(getattr(signal, name)) == before
    assert stop.code == CODES[name]


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_a_second_ends_the_process_with_the_code_of_the_first(first, second, monkeypatch):
    codes = []
    monkeypatch.setattr(signals.os, "_exit", codes.append)
    with Stop():
        signal.raise_signal(getattr(signal, first))
        assert codes == []
        signal.raise_signal(getattr(signal, second))
    assert codes == [CODES[first]]


def test_a_second_leaves_a_terminal_with_its_cursor(monkeypatch):
    pty = pytest.importorskip("pty")
    here, terminal = pty.openpty()
    monkeypatch.setattr(signals, "STDOUT", terminal)
    monkeypatch.setattr(signals.os, "_exit", lambda code: None)
    with Stop():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert b"\x1b[?25h" in os.read(here, 100)
    os.close(terminal)
    os.close(here)


def test_what_is_no_terminal_gets_no_word_of_one(monkeypatch, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        monkeypatch.setattr(signals, "STDOUT", log.fileno())
        monkeypatch.setattr(signals.os, "_exit", lambda code: None)
        with Stop():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
    assert (tmp_path / "log").read_bytes() == b""


def test_one_that_was_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.signal is None
            signal.raise_signal(signal.SIGTERM)
            assert stop.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_come_back_after_an_error_too():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError), Stop():
        assert signal.getsignal(signal.SIGTERM) != before
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_another_thread_no_signal_is_taken():
    # Python gives them to the main thread alone.
    told = []

    def work():
        with Stop() as stop:
            told.append(stop.signal)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [None] and signal.getsignal(signal.SIGTERM) == before
