"""The benchmark beside DDP: the sides do the same work, and what it measured is written."""

import json

import pytest

from benchmarks.ddp import command
from benchmarks.ddp.loops import Side
from benchmarks.speed import timed
from benchmarks.speed.timed import Timing


def measured(sides, make, peak, *, rounds, seconds):
    """As `timed.alternate`, at once: a student's step takes 8 ms, and half of it in fkd."""
    ms = {side: side.members * (4.0 if side.loop == "fkd" else 8.0) for side in sides}
    return {side: Timing(1.0, 1, [ms[side]] * rounds, 100.0) for side in sides}, {}


def test_a_whole_run_without_its_processes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(timed, "alternate", measured)
    monkeypatch.setattr(command, "losses", lambda side, steps: [0.5] * side.members)
    out = tmp_path / "out"
    assert command.main(["--members", "4", "--rounds", "2", "--output", str(out)]) == 0
    whole = json.loads((out / "ddp.json").read_text())
    assert [row["side"] for row in whole["sides"]] == [
        "DDP, 2 ranks",
        "the tutorial's loop",
        "fkd, 2 member ranks x 1 data ranks",
        "fkd, 1 member ranks x 2 data ranks",
        "fkd, 1 member ranks x 1 data ranks",
        "DDP, 2 ranks, live teacher",
    ]
    assert [row["ms"] for row in whole["sides"]] == [8.0, 8.0, 4.0, 4.0, 4.0, 8.0]
    assert [row["of_ddp"] for row in whole["sides"]] == [1.0, 1.0, 0.5, 0.5, 0.5, 1.0]
    assert whole["largest_difference_in_loss"]["DDP, 2 ranks"] == 0.0
    assert whole["environment"]["torch"] and whole["setting"]["members"] == 4
    assert "of DDP" in capsys.readouterr().out


def test_a_side_that_does_other_work_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(timed, "alternate", measured)
    monkeypatch.setattr(command, "losses", lambda side, steps: [0.5 + 0.1 * (side.data_ranks > 1)])
    assert command.main(["--output", str(tmp_path / "out")]) == 2
    assert "2 data ranks: after 10 steps its losses must be" in capsys.readouterr().err


def test_a_ratio_is_of_a_students_step_in_the_same_round():
    base, live = Side("tutorial", 2, members=4), Side("tutorial", 2, members=1, live=True)
    timings = {base: Timing(1.0, 1, [10.0, 20.0, 40.0], 1.0)}
    timings[live] = Timing(1.0, 1, [20.0, 80.0, 80.0], 1.0)
    first, second = command.rows(timings, base)
    assert (first["ms"], first["of_ddp"], second["ms"]) == (5.0, 1.0, 80.0)
    assert second["of_ddp"] == pytest.approx(8.0)  # of 2, 4 and 2 students' steps over four
    assert command.rows({live: timings[live]}, base)[0]["of_ddp"] is None


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--members", "1"], "--members: members must be a whole number of at least 2"),
        (["--batch-size", "5"], "must be a multiple of 2"),
        (["--rounds", "0"], "--rounds: rounds must be"),
        (["--seconds", "0"], "--seconds: seconds must be above zero"),
    ],
)
def test_what_makes_no_sense_is_refused(flags, reason, capsys):
    assert command.main(flags) == 2
    assert reason in " ".join(capsys.readouterr().err.split())
