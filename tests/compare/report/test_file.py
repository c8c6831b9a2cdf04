"""A report's file: fkd's own is replaced, and nothing else is touched."""

import os

import pytest
from compare.comparison_records import method, record

from fkd.compare import report
from fkd.compare.report import _file

RUNS = {"one": record({"ce": method([0.4])})}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A page that is made in no time, but for its head."""
    monkeypatch.setattr(_file, "page", lambda runs: f'<!DOCTYPE html>\n{_file.MARK}1">\n{runs}')


def test_a_real_page_bears_the_mark(monkeypatch, tmp_path):
    monkeypatch.undo()
    report.write(tmp_path / "report.html", RUNS)
    _file.check_own(tmp_path / "report.html")


def test_a_report_is_replaced(tmp_path):
    path = tmp_path / "report.html"
    report.write(path, RUNS)
    report.write(path, RUNS | {"two": RUNS["one"]})
    assert "two" in path.read_text(encoding="utf-8") and os.listdir(tmp_path) == ["report.html"]


@pytest.mark.parametrize("text", ["", "mine", f"<p>{_file.GENERATOR}</p>"])
def test_any_other_file_stays(tmp_path, text):
    path = tmp_path / "report.html"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"write: .* was not written by fkd, so it stays as it is"):
        report.write(path, RUNS)
    assert path.read_text() == text


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"write: .* is no file"):
        report.write(tmp_path, RUNS)
    with pytest.raises(OSError):
        report.write(tmp_path / "gone" / "report.html", RUNS)
    assert not os.listdir(tmp_path)
