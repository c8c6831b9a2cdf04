"""A stage that fails, hangs or lacks something stops none of the others."""

import os
import time

import pytest

from benchmarks.rehearsal.stage import Stage, run

WRITES = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('written'); print('said')"


def python(name: str, code: str, *arguments: str, seconds: float = 60.0, **options) -> Stage:
    return Stage(name, ("-c", code, *arguments), seconds, **options)


def test_a_stage_that_fails_stops_nothing_and_says_why(tmp_path):
    stages = [
        python("broken", "raise ValueError('no GPU')"),
        python("silent", "raise SystemExit(3)"),
        python("good", WRITES, str(tmp_path / "good")),
    ]
    broken, silent, good = run(stages, tmp_path, 60.0)
    assert (broken.ended, broken.why) == ("failed", "ValueError: no GPU")
    assert (silent.ended, silent.why) == ("failed", "it returned 3")
    assert (good.ended, good.why) == ("done", "")
    assert (tmp_path / "good").read_text() == "written"
    assert (tmp_path / "good.log").read_text() == "said\n"


@pytest.mark.slow
def test_a_stage_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    child = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))"
    parent = (
        "import subprocess, sys, time;"
        f"subprocess.Popen([sys.executable, '-c', {child + '; time.sleep(600)'!r}, sys.argv[1]]);"
        "time.sleep(600)"
    )
    hanging = python("hanging", parent, str(tmp_path / "child"), seconds=3.0)
    good = python("good", WRITES, str(tmp_path / "good"))
    outcomes = list(run([hanging, good], tmp_path, 70.0))
    assert [outcome.ended for outcome in outcomes] == ["out of time", "done"]
    assert outcomes[0].why == "after 3 s"
    with pytest.raises(ProcessLookupError):
        while True:  # what nobody waits for is a process until the system has buried it
            os.kill(int((tmp_path / "child").read_text()), 0)
            time.sleep(0.1)


def test_a_limit_is_a_stages_own_or_what_is_left_of_all(tmp_path):
    stages = [python("short", "pass", seconds=30.0), python("long", "pass", seconds=300.0)]
    short, long = run(stages, tmp_path, 100.0)
    assert short.limit == 30.0
    assert 70.0 < long.limit < 100.0


def test_what_lacks_something_is_left_out(tmp_path):
    (only,) = run([python("a", "raise SystemExit(1)", missing="no images were given")], tmp_path, 9)
    assert (only.ended, only.why) == ("left out", "no images were given")
    assert not (tmp_path / "a.log").exists()


def test_neighbours_that_time_nothing_run_side_by_side(tmp_path):
    meet = (
        "import pathlib, sys, time\n"
        "mine, other = map(pathlib.Path, sys.argv[1:])\n"
        "mine.touch()\n"
        "while not other.exists(): time.sleep(0.05)"
    )
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    stages = [
        python("first", meet, a, b, timed=False),
        python("second", meet, b, a, timed=False),
        python("after", "pass"),
    ]
    outcomes = list(run(stages, tmp_path, 60.0))
    assert {outcome.name: outcome.ended for outcome in outcomes} == dict.fromkeys(
        ["first", "second", "after"], "done"
    )
    assert outcomes[-1].name == "after"


def test_without_time_nothing_is_started(tmp_path):
    (only,) = run([python("a", "pass")], tmp_path, 0.0)
    assert (only.ended, only.why) == ("left out", "no time is left")
    assert not (tmp_path / "a.log").exists()


def test_neighbours_share_the_threads_and_what_is_timed_has_them_all(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    tell = "import os; print(os.environ['OMP_NUM_THREADS'])"
    stages = [
        python("first", tell, timed=False),
        python("second", tell, timed=False),
        python("alone", tell),
    ]
    list(run(stages, tmp_path, 60.0))
    threads = [(tmp_path / f"{stage.name}.log").read_text() for stage in stages]
    assert threads == ["3\n", "3\n", "6\n"]
