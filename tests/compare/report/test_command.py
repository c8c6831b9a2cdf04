"""`python -m fkd.compare report`: where it writes, what it refuses, its exit codes."""

import os
from pathlib import Path

import pytest
from compare.comparison_records import method, record

from fkd.compare import command
from fkd.compare._command.console import consoles
from fkd.compare.report import _file
from fkd.compare.report.command import write_all
from fkd.compare.results import Results


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """Two folders of results, of the same last name, and the current folder beside them."""
    for name in ("a", "b"):
        folder = tmp_path / name / "run"
        folder.mkdir(parents=True)
        record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.6])}).write(folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    told = "<!DOCTYPE html>\n" + _file.MARK + '1">\n'
    monkeypatch.setattr(_file, "page", lambda runs: told + " ".join(runs))
    return tmp_path


def test_one_run_has_its_report_beside_it(runs, capsys):
    assert command.main(["report", str(runs / "a" / "run")]) == 0
    assert (runs / "a" / "run" / "report.html").read_text().endswith("run")
    assert "Written to" in capsys.readouterr().out and not os.listdir()


def test_several_have_one_here_by_names_that_differ(runs):
    assert command.main(["report", "../a/run", "../b/run"]) == 0
    assert Path("report.html").read_text().endswith("a/run b/run")
    assert command.main(["report", "../b/run", "../a/run"]) == 0  # in the place of the first
    assert Path("report.html").read_text().endswith("b/run a/run")
    assert command.main(["report", "../a/run", "--output", "mine.html"]) == 0
    assert Path("mine.html").exists()


def test_what_makes_no_sense_is_refused(runs, capsys):
    Path("mine.html").write_text("mine")
    refused = {
        "../a": "there is no file",
        "../a/run --output mine.html": "was not written by fkd",
        "../a/run --output gone/mine.html": "--output: there is no folder gone",
        "../a/run ../a/../a/run": "RUN: each is to be named once",
        "../a/run --output=--": "--output: it takes a value",
    }
    for line, why in refused.items():
        assert command.main(["report", *line.split()]) == 2, line
        assert why in capsys.readouterr().err
    assert Path("mine.html").read_text() == "mine" and os.listdir() == ["mine.html"]
    for line in ([], ["--nope", "x"]):
        with pytest.raises(SystemExit) as stopped:
            command.main(["report", *line])
        assert stopped.value.code == 2


def test_a_disk_that_is_full_is_told(runs, monkeypatch, capsys):
    def full(path: Path, text: str, **options: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert command.main(["report", "../a/run"]) == 1
    told = capsys.readouterr().err
    assert "cannot be written" in told and "--output gives another place" in told


def test_a_drawing_that_is_stopped_says_what_is_kept(tmp_path, monkeypatch, capsys):
    def stopped(record: Results, folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Results, "draw", stopped)
    measured = record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.6])})
    (tmp_path / "my run").mkdir()
    assert write_all(measured, tmp_path / "my run", consoles()[1]) == 130
    assert Results.read(tmp_path / "my run").methods.keys() == {"ce", "kd"}
    told = capsys.readouterr().err
    assert "stopped before all was drawn" in told and f"--resume '{tmp_path / 'my run'}'" in told


def test_a_picture_that_cannot_be_written_keeps_no_other_file(tmp_path, monkeypatch, capsys):
    def full(record: Results, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Results, "draw", full)
    measured = record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.6])})
    assert write_all(measured, tmp_path, consoles()[1]) == 1
    names = ["report.html", "results.json", "table.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    told = " ".join(capsys.readouterr().err.split())
    assert "the pictures cannot be written: [Errno 28]" in told and "--resume" in told


def test_each_help_tells_of_the_other(capsys):
    for line in (["--help"], ["report", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            command.main(line)
        assert stopped.value.code == 0
    told = capsys.readouterr().out
    assert "python -m fkd.compare report runs/first runs/second" in told
    assert "`python -m fkd.compare --help` tells of comparisons" in told
