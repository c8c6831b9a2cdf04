"""Elastic: runs lose a worker or an agent until there were enough; what differs is told."""

import json
import random

import pytest

from benchmarks.crashes.endings import Ending
from benchmarks.elastic_runs import command
from benchmarks.elastic_runs.command import Kind, in_numbers, lossy, main, parse, undisturbed
from benchmarks.elastic_runs.losses import Outcome

SAME, ANOTHER = Ending({"accuracy": 0.5}, {}), Ending({"accuracy": 0.25}, {})
WHOLE = Outcome(False, "", 0, 100, 0, 3.0, 5.0)
LOST = Outcome(True, "the students' training", 1, 110, 7, 0.0, 9.0)
TOO_LATE = Outcome(False, "", 0, 100, 0, 3.0, 5.0)
HUNG = Outcome(True, "the teacher's training", 3, 20, 0, 0.0, 300.0, "it did not end")


class InThisProcess:
    """A pool without processes."""

    def __init__(self, processes, context):
        assert processes == 1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    map = staticmethod(map)


def scripted(monkeypatch, outcomes, end=SAME):
    """Runs that go on as they are told, and end with what the first had, or another end."""
    left = iter(outcomes)
    monkeypatch.setattr(command, "ProcessPoolExecutor", InThisProcess)
    monkeypatch.setattr(command, "run", lambda launch, folder, loss=None: next(left))
    monkeypatch.setattr(
        command, "ending", lambda folder: SAME if folder.name == "one-process" else end
    )


def test_a_loss_that_came_too_late_is_made_again(tmp_path, monkeypatch):
    scripted(monkeypatch, [LOST, TOO_LATE, LOST])
    kinds = {"a worker": Kind(WHOLE)}
    assert len(list(lossy(kinds, 2, tmp_path / "one-process", random.Random(0), 1))) == 2
    entry = in_numbers(kinds["a worker"])
    assert (entry["runs"], entry["equal"], entry["restarts"]) == (2, 2, 2)
    assert entry["steps_taken_twice"] == [7, 7] and entry["median_seconds"] == 9.0


def test_each_run_that_differs_or_fails_is_told_once(tmp_path, monkeypatch):
    scripted(monkeypatch, [LOST, HUNG], end=ANOTHER)
    kinds = {"an agent": Kind(WHOLE)}
    list(lossy(kinds, 2, tmp_path / "one-process", random.Random(0), 1))
    entry = in_numbers(kinds["an agent"])
    assert (entry["runs"], entry["equal"]) == (2, 0)
    assert "results.accuracy is 0.25, and not 0.5" in entry["differing"][0]
    assert entry["differing"][1].endswith("it did not end")


def test_a_run_that_fails_or_differs_on_its_own_is_no_measure(tmp_path, monkeypatch):
    scripted(monkeypatch, [HUNG])
    with pytest.raises(RuntimeError, match="one process: a run that loses nothing: it did not end"):
        undisturbed(tmp_path, ["two workers"])
    scripted(monkeypatch, [WHOLE, WHOLE], end=ANOTHER)
    with pytest.raises(RuntimeError, match="two workers: a run that loses nothing: results"):
        undisturbed(tmp_path, ["two workers"])


def test_a_whole_command_writes_and_tells_what_it_counted(tmp_path, monkeypatch, capsys):
    scripted(monkeypatch, [WHOLE, WHOLE, LOST, LOST])
    out = tmp_path / "out"
    assert (
        main(["--runs", "2", "--losses", "a worker", "--together", "1", "--output", str(out)]) == 0
    )
    entry = json.loads((out / "elastic.json").read_text())
    assert entry["all_equal"] and entry["losses"]["a worker"]["runs"] == 2
    assert "all equal bit for bit" in capsys.readouterr().out


def test_what_makes_no_sense_is_refused(capsys):
    assert main(["--runs", "0"]) == 2
    assert "elastic: --runs" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["--losses", "a network"])
