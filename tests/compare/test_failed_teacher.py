"""A teacher that diverges: nothing is compared, and the folder says so wherever it is read."""

from pathlib import Path

import numpy as np
import pytest
from compare.comparison_records import method, record
from compare.report.read_page import Page
from compare.small_comparisons import small, vectors
from compare.test_teachers import runs

from fkd import optim
from fkd.compare import Results, Teachers, command
from fkd.compare.failure import Failure
from fkd.compare.presentation import figures, table, teachers_table
from fkd.compare.report import page
from fkd.compare.report._records import read

WHY = Failure("diverged", "member 0 (seed 42): the loss became infinite")


def alone() -> Results:
    """A comparison whose teacher diverged."""
    results = record({"ce": method([0.5, 0.75])}, complete=False, teacher=None)
    results.methods = {}
    results.config |= {"methods": ["ce", "kd"], "teacher_seed": 42}
    results.failed = {"teacher": WHY}
    return results


def test_the_folder_tells_it_and_the_run_ends_alike_when_it_is_gone_on_with(tmp_path):
    ended = []
    for _ in range(2):
        with pytest.raises(FloatingPointError) as error:
            small(vectors(), optimizer=optim.adam(1e30), epochs=3, folder=tmp_path)
        ended.append((str(error.value), (tmp_path / "results.json").read_bytes()))
    assert ended[0] == ended[1] and "teacher: member 0 (seed 42): the loss" in ended[0][0]
    results = Results.read(tmp_path)
    assert list(results.failed) == ["teacher"] and not results.complete and not results.methods
    assert results.failed["teacher"].kind == "diverged" and results.waiting == ["ce", "kd"]
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {".lock", "run.json", "results.json", "table.md"}


def test_every_reader_of_it_says_that_the_teacher_failed(tmp_path):
    results = alone()
    told = table.markdown(results)
    assert told.startswith("The teacher failed, so no student was trained, and nothing can be")
    assert "- teacher failed: member 0 (seed 42): the loss" in told
    assert "INCOMPLETE: the teacher failed. mine: " in told
    one = Page(page({"one": results}))
    assert one.headings[0][1] == "mine: 2 methods, 2 seeds, 2 epochs"
    for words in (
        "Is kd above ce on mine, and by how much?",
        "2 students of each method (5 parameters) were to learn from one teacher",
        "Incomplete: the teacher failed.",
        "teacher: diverged",
    ):
        assert words in one.text
    figures.write(tmp_path, results)
    assert (tmp_path / "accuracy.png").exists() and (tmp_path / "curves.png").exists()


def test_several_teachers_are_told_without_the_one_that_failed():
    made = runs({name: np.array([[0.5, 0.6, 0.8]] * 3) for name in ("ce", "kd")})
    made[1] = alone()
    made[1].config = made[0].config | {"teacher_seed": 43}
    told = Teachers.of(made)
    assert told.teacher_seeds == [42, 44] and list(told.accuracy) == ["ce", "kd"]
    assert told.failed == {"teacher": WHY}
    assert told.lacking == ["a teacher failed", "2 of 3 teachers have ended"]
    assert "- teacher failed: member 0" in teachers_table.markdown(told)
    with pytest.raises(ValueError, match=r"two teachers or more .* but 1 of 2 failed: member 0"):
        Teachers.of(made[:2])


@pytest.mark.plain
def test_a_run_of_which_nothing_has_ended_is_told_by_what_its_folder_holds(tmp_path):
    for name in ("run.json", "checkpoint-1.safetensors", ".lock"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError) as error:
        read(tmp_path)
    assert "no method of the run in it has ended" in str(error.value)
    assert "it holds checkpoint-1.safetensors, run.json; go on with the run" in str(error.value)


@pytest.mark.plain
def test_the_command_line_tells_it_once_and_how_to_start_anew(
    images, elsewhere, monkeypatch, capsys
):
    arguments = ["--dataset", "folder", "--root", str(images), "--epochs", "1", "--no-compile"]
    arguments += ["--batch-size", "10", "--seeds", "2", "--methods", "ce", "--lr", "1e30"]
    assert command.main([*arguments, "--teachers", "2", "--output", "out"]) == 3
    printed = capsys.readouterr()
    assert printed.err.count("compare: teacher: member 0 (seed 42): the loss became") == 1
    assert "start anew with another --output than out" in " ".join(printed.err.split())
    place = Path("out", "teacher-42")
    assert command.main(["report", str(place)]) == 0
    assert "the teacher failed" in (place / "report.html").read_text()
