"""The command line's `--teachers`: refused where it makes no sense, stopped and gone on with."""

from pathlib import Path

import numpy as np
import pytest
from compare._several.refused_and_stopped import refused, stopped, tiny

from fkd.compare import Results, Teachers, command

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.plain
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--teachers 1", "--teachers: teachers must lie in [2, "),
        ("--teachers 2 --seeds 3,", "--seeds: --teachers tells what teachers change from what"),
        ("--teachers 2 --teacher {}", "--teachers: these are trained here, but --teacher gives"),
        ("--teachers 2 --vary init", "--teachers: --vary has the source teacher for that"),
        ("--teachers 2 --sweep lr=1,2", "--teachers: --sweep would choose another setting with"),
        ("--teachers 2 --resolution 1", "--teachers: --resolution would take other seeds with"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(arguments, message, teacher, capsys):
    refused(arguments, message, teacher, capsys)


@pytest.mark.slow
@pytest.mark.plain
def test_several_teachers_that_a_signal_stops_go_on(images, monkeypatch, capsys):
    arguments = tiny(images, "--teachers", "2", "--seeds", "2")
    assert command.main([*arguments, "--output", "whole"]) == 0
    whole = Teachers.read("whole")
    assert whole.accuracy["kd"].shape == (2, 2) and whole.teacher_seeds == [42, 43]
    assert {path.name for path in Path("whole").iterdir()} == {
        *(".lock", "run.json", "teacher-42", "teacher-43"),
        *("teachers.json", "teachers.md", "teachers.png", "report.html"),
    }
    # The baseline's students ask no teacher, so with the same seeds they are the same.
    np.testing.assert_array_equal(*whole.accuracy["ce"])
    for k, seed in enumerate((42, 43)):
        one = Results.read(f"whole/teacher-{seed}")
        assert one.teacher is not None and one.teacher.accuracy == whole.teacher_accuracy[k]
        assert one.methods["kd"].last("test_accuracy") == whole.accuracy["kd"][k].tolist()
    assert "with teachers like these two" in " ".join(capsys.readouterr().out.split())
    stopped(arguments, monkeypatch, capsys)
    part = Teachers.read("out")
    assert list(part.accuracy) == ["ce"] and part.waiting == ["kd"]
    text = Path("out/teachers.md").read_text()
    assert "INCOMPLETE: kd is not trained yet with all teachers" in text
    assert command.main(["--resume", "out"]) == 0
    again = Teachers.read("out")
    assert again.whole
    for name in ("ce", "kd"):
        np.testing.assert_array_equal(again.accuracy[name], whole.accuracy[name])
    assert command.main([*arguments, "--output", "out", "--teachers", "3"]) == 2
    assert "the run has --teachers 2, and now --teachers 3" in capsys.readouterr().err
