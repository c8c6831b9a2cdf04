"""Kills: of every kind, and at the call that they name."""

import random
import signal

import pytest

from benchmarks.crashes import kills
from benchmarks.crashes.kills import CALLS, SIGNALS, Armed, Kill, drawn


def test_kills_of_every_kind_are_drawn():
    draws = random.Random(0)
    every = [drawn(draws, 2.0) for _ in range(2000)]
    assert {kill.signal for kill in every} == set(SIGNALS)
    assert {kill.call for kill in every} == {None, *CALLS}
    assert {kill.when for kill in every if kill.call == "serialize_file"} == {
        "before",
        "in",
        "after",
    }
    for kill in every:
        assert (kill.delay is None) != (kill.call is None)
        assert kill.delay is None or 0 <= kill.delay <= 2
        assert kill.call is None or 1 <= kill.number <= CALLS[kill.call][1]
        assert kill.second is None or kill.signal != "SIGKILL"
    assert {f"{name} twice" for name in SIGNALS[1:]} < {str(kill) for kill in every}


def test_codes_are_those_of_shells():
    assert Kill("SIGTERM").codes == (-15, 143)
    assert Kill("SIGINT").codes == (-2, 130) and Kill("SIGHUP").codes == (-1, 129)


@pytest.mark.parametrize("when, expected", [("before", ["kill", 2]), ("after", [2, "kill"])])
def test_the_signal_comes_at_the_call_that_is_named(when, expected, monkeypatch):
    told = []
    monkeypatch.setattr(kills.os, "kill", lambda process, number: told.append("kill"))
    armed = Armed(told.append, Kill("SIGKILL", call="fsync", number=2, when=when))
    armed(1)
    assert told == [1]
    armed(2)
    assert told[1:] == expected
    armed(3)
    assert told[3:] == [3]


def test_a_kill_in_the_writing_leaves_half_a_file(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(kills.os, "kill", lambda process, number: sent.append(number))
    path = tmp_path / "file"
    kill = Kill("SIGKILL", call="serialize_file", number=1, when="in")
    armed = Armed(lambda specs, path: path.write_bytes(bytes(10)), kill)
    armed({}, path)
    assert path.stat().st_size == 5 and sent == [signal.SIGKILL]
