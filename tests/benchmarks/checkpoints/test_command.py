"""What a checkpoint costs: it is measured, and told by hand-worked numbers."""

import json

import pytest

from benchmarks.checkpoints import measure
from benchmarks.checkpoints.command import entry, main
from benchmarks.checkpoints.measure import Cost, block, students
from fkd import checkpoint
from fkd.compare._store.saver import Saver
from fkd.execution import Plan
from fkd.train import train


def test_a_whole_run_shrunk(tmp_path, capsys):
    flags = "--members 1 2 --batch-size 4 --rounds 2 --seconds 0.05 --no-compile --output"
    out = tmp_path / "out"
    assert main([*flags.split(), str(out)]) == 0
    whole = json.loads((out / "checkpoints.json").read_text())
    one, two = whole["ensembles"]
    assert (one["members"], two["members"]) == (1, 2)
    assert len(one["without"]) == len(one["together"]) == 2
    # Of each member: parameters and two moments in float32, and few numbers beside them.
    assert two["mebibytes"] == pytest.approx(2 * one["mebibytes"], rel=0.05)
    assert [file.name for file in out.iterdir()] == ["checkpoints.json"]
    assert "at most" in capsys.readouterr().out


def test_a_block_takes_its_steps_and_one_checkpoint(tmp_path):
    ensemble, record, source = students(2, batch=4, image=32)
    training = train({"kd": ensemble}, source, epochs=9, plan=Plan(compile="none"))
    saver = Saver(tmp_path, 1.0)
    block(training, record, 3, None)
    assert list(tmp_path.iterdir()) == []
    block(training, record, 3, saver)
    saver.close()
    about = checkpoint.about(*tmp_path.iterdir())
    assert about["epoch"] * measure.BATCHES + about["step"] == 4
    at = next(training)
    assert at.epoch * measure.BATCHES + at.step == 7


def test_figures():
    cost = Cost(8, 1.0, 0.1, 0.5, 2.5, 1.0, 10, [10.0, 12.0, 11.0], [11.0, 15.0, 11.5])
    assert cost.extra == 1.0  # the median of 1, 3 and 0.5
    told = entry(cost, 5.0)
    assert told["per_cent"] == pytest.approx(1 / 3)  # of 300 seconds
    assert told["per_cent_at_most"] == pytest.approx(1.0)


def test_what_makes_no_sense_is_refused(capsys):
    assert main(["--members", "0"]) == 2
    assert main(["--minutes", "0"]) == 2
    assert capsys.readouterr().err.count("checkpoints: --") == 2
