"""The command line's `--vary`: refused where it makes no sense, stopped and gone on with."""

from pathlib import Path

import numpy as np
import pytest
from compare._several.refused_and_stopped import refused, stopped, tiny

from fkd.compare import Results, Variance, command

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.plain
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--vary init,lr", "--vary: source 'lr' is not known; choose from init, order, dropout"),
        ("--vary init,init", "--vary: sources must be one or more names, each once, but they"),
        ("--vary=", "--vary: it takes names such as init,order, but got ''"),
        ("--vary init --levels 1", "--vary: levels must be a whole number of at least 2"),
        ("--vary init,order --levels 33", r"--vary: 33 levels of 2 sources are 33^2 = 1,089"),
        ("--levels 4", "--levels: it goes with --vary"),
        ("--vary init --seeds 4", "--seeds: with --vary the levels say which there are"),
        ("--vary init --sweep lr=1,2", "--vary: it is of one setting of each method"),
        ("--vary teacher --teacher {}", "--vary: teachers that vary are trained here"),
        (
            "--vary dropout --student-model resnet8 --methods ce",
            "--vary: no student draws random numbers in its steps",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(arguments, message, teacher, capsys):
    refused(arguments, message, teacher, capsys)


@pytest.mark.slow
def test_a_factorial_of_teachers_that_a_signal_stops_goes_on(images, monkeypatch, capsys):
    arguments = tiny(images, "--vary", "order,teacher", "--levels", "2")
    assert command.main([*arguments, "--output", "whole"]) == 0
    whole = Variance.read("whole")
    assert whole.accuracy["kd"].shape == (2, 2)
    assert {path.name for path in Path("whole").iterdir()} == {
        *(".lock", "run.json", "teacher-42", "teacher-43"),
        *("variance.json", "variance.md", "variance.png", "report.html"),
    }
    assert "order of batches for all seeds" in capsys.readouterr().out
    stopped(arguments, monkeypatch, capsys)
    part = Variance.read("out")
    assert list(part.accuracy) == ["ce"] and part.waiting == ["kd"]
    page = Path("out/report.html").read_text()
    assert "Incomplete: kd is not trained yet with all teachers." in page
    assert command.main(["--resume", "out"]) == 0
    out = capsys.readouterr().out
    assert "teacher-42: the teacher is trained; ce, kd: ended" in " ".join(out.split())
    assert "ce: ended; kd at epoch 1, step" in " ".join(out.split())
    again = Variance.read("out")
    assert again.whole
    for name in ("ce", "kd"):
        np.testing.assert_array_equal(again.accuracy[name], whole.accuracy[name])
        one, other = (Results.read(f"{path}/teacher-43").methods[name] for path in ("out", "whole"))
        assert one.curves == other.curves and one.seeds == other.seeds
    # The same command says what is there; another is refused, and nothing is touched.
    assert command.main([*arguments, "--output", "out"]) == 0
    assert command.main([*arguments, "--output", "out", "--levels", "3"]) == 2
    assert "the run has --levels 2, and now --levels 3" in " ".join(capsys.readouterr().err.split())
    assert Variance.read("out").accuracy.keys() == again.accuracy.keys()
