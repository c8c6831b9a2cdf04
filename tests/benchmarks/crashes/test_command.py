"""Crashes: runs are killed, gone on with, and end equal; what differs is found and told."""

import json
import random
from collections import Counter

import pytest

from benchmarks.crashes import command
from benchmarks.crashes.attempts import BEFORE, Attempt, Small
from benchmarks.crashes.command import Tally, killed, main, whole
from benchmarks.crashes.endings import Ending
from benchmarks.crashes.kills import Kill


@pytest.mark.slow
def test_a_whole_run_shrunk(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["--kills", "4", "--lines", "1", "--output", str(out)]) == 0
    entry = json.loads((out / "crash.json").read_text())
    assert entry["kills"] == 5 and entry["all_equal"] and entry["differing"] == []
    for counts in ("killed_by", "killed_in", "exit_codes"):
        assert sum(entry[counts].values()) == 5
    assert entry["runs_of"]["the command line, on digits"] >= 1
    assert sum(entry["gone_on"].values()) >= 5 - entry["runs"]
    assert "all equal bit for bit" in capsys.readouterr().out


SAME, ANOTHER = Ending({"accuracy": 0.5}, {}), Ending({"accuracy": 0.25}, {})


class Scripted:
    """A run whose attempts are as they are told."""

    kind = "scripted"

    def __init__(self, folder, attempts):
        self.folder, self.attempts = folder, iter(attempts)
        self.kills = []

    def drawn(self, draws):
        return Kill("SIGTERM", delay=0.0)

    def attempt(self, kill, minutes):
        self.kills.append(kill)
        return next(self.attempts)


def test_a_run_is_killed_until_it_ends_and_what_it_went_on_with_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "ending", lambda folder: SAME)
    inside = "the teacher is trained; kd at epoch 2, step 1 of 6"
    run = Scripted(
        tmp_path / "run-0",
        [
            Attempt(-15, BEFORE, "", 1.0),
            Attempt(143, "a method's training", "", 1.0),
            Attempt(143, "a method's training", inside, 1.0),
            Attempt(0, "", inside, 1.0),
        ],
    )
    tally = Tally()
    assert sum(killed(run, 3, SAME, random.Random(0), tally)) == 3
    assert [kill is None for kill in run.kills] == [False, False, False, True]
    assert tally.kills == Counter({"SIGTERM": 3}) and tally.differing == []
    assert tally.went_on == Counter({"from inside a training": 2, "from the beginning": 1})
    assert tally.codes == Counter({"143": 2, "-15": 1}) and tally.runs == Counter(scripted=1)
    run = Scripted(tmp_path / "run-1", [Attempt(0, "", "", 1.0)])
    assert sum(killed(run, 3, ANOTHER, random.Random(0), tally)) == 0
    assert tally.differing == ["run-1, scripted: results.accuracy is 0.5, and not 0.25"]


@pytest.mark.parametrize(
    "attempt, told",
    [
        (Attempt(1, BEFORE, "", 1.0, "ValueError: folder"), "ValueError: folder"),
        (Attempt(-9, BEFORE, "", 1.0), "it ended with -9"),
        (Attempt(130, BEFORE, "", 1.0), "it ended with 130"),
    ],
)
def test_an_end_that_is_not_of_the_signal_is_told(attempt, told, tmp_path):
    tally = Tally()
    run = Scripted(tmp_path / "run-0", [attempt])
    assert sum(killed(run, 3, SAME, random.Random(0), tally)) == 0
    assert len(tally.differing) == 1 and told in tally.differing[0]


def test_a_run_that_fails_on_its_own_is_no_measure(tmp_path):
    run = Scripted(tmp_path / "run-0", [Attempt(1, BEFORE, "", 1.0, "out of order")])
    with pytest.raises(RuntimeError, match="a run that is not killed fails: out of order"):
        whole(run)


@pytest.mark.slow
def test_a_run_of_other_seeds_is_found_to_differ(tmp_path):
    # Two kinds of one network: all that differs are numbers.
    expected, seconds = whole(Small("an order for all seeds", tmp_path / "whole"))
    tally = Tally()
    other = Small("a teacher that is trained", tmp_path / "other", seconds)
    list(killed(other, 0, expected, random.Random(0), tally))
    assert any("has other numbers" in line or "results." in line for line in tally.differing)


def test_what_makes_no_sense_is_refused(tmp_path, capsys):
    assert main(["--kills", "0"]) == 2
    assert main(["--lines", "-1"]) == 2
    assert capsys.readouterr().err.count("crash: --") == 2
