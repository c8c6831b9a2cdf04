"""A run's folder: one process at a time writes there, and only a run's folder is taken."""

import errno
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from benchmarks._forked import forked
from fkd import checkpoint
from fkd.compare._store.folder import RunFolder, run_in

IDENTITY = {"config": {"epochs": 2, "seeds": (3, 5)}}
REST = b'"options": null, "identity": {}, "environment": {}'  # of a run.json


def hold(path: Path, told: Connection) -> None:
    folder = RunFolder(path, IDENTITY)
    told.send(folder.notes)
    time.sleep(600)


@pytest.fixture
def other(tmp_path):
    """Another process, which holds the folder until it ends."""
    here, there = forked().Pipe(duplex=False)
    process = forked().Process(target=hold, args=(tmp_path / "run", there))
    process.start()
    assert here.poll(60) and here.recv() == []
    yield process
    process.kill()
    process.join()


@pytest.mark.slow
def test_a_second_process_is_refused_while_the_first_lives(other, tmp_path):
    told = (tmp_path / "run" / "run.json").read_bytes()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^folder: another process is writing to .*; wait"):
            RunFolder(tmp_path / "run", IDENTITY)
    assert (tmp_path / "run" / "run.json").read_bytes() == told
    other.kill()
    other.join()
    RunFolder(tmp_path / "run", IDENTITY).close()
    assert (tmp_path / "run" / "run.json").read_bytes() == told


def test_a_new_folder_is_made_and_taken_again(tmp_path):
    path = tmp_path / "runs" / "new"
    folder = RunFolder(path, IDENTITY, {"seeds": "3,5"})
    assert folder.notes == [] and folder.results() is None and folder.saved() == []
    folder.close()
    entry = run_in(path)
    assert entry is not None and entry["options"] == {"seeds": "3,5"}
    assert entry["identity"] == {"config": {"epochs": 2, "seeds": [3, 5]}}
    again = RunFolder(path, IDENTITY)
    assert again.notes == []
    again.close()


def test_another_run_is_refused_and_leaves_the_folder_free(tmp_path):
    RunFolder(tmp_path / "run", IDENTITY).close()
    told = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(ValueError, match=r"is another: config\.epochs was 2, and is 3; ask for"):
        RunFolder(tmp_path / "run", {"config": {"epochs": 3, "seeds": (3, 5)}})
    assert (tmp_path / "run" / "run.json").read_bytes() == told
    RunFolder(tmp_path / "run", IDENTITY).close()


def test_a_folder_of_anything_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"^folder: .* is not empty and holds no run"):
        RunFolder(tmp_path, IDENTITY)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match=r"^folder: .*thesis\.tex cannot be written"):
        RunFolder(tmp_path / "thesis.tex", IDENTITY)


def test_a_full_disk_is_told_before_any_work(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "whole", full)
    with pytest.raises(ValueError, match=r"^folder: .*run cannot be written: .*No space left"):
        RunFolder(tmp_path / "run", IDENTITY)
    monkeypatch.undo()
    RunFolder(tmp_path / "run", IDENTITY).close()  # the lock was let go of


def test_code_of_the_users_own_that_changed_is_told(tmp_path):
    one = IDENTITY | {"code": {"mine": 64 * "a", "same": 64 * "b"}}
    RunFolder(tmp_path, one).close()
    again = RunFolder(tmp_path, one | {"code": {"mine": 64 * "c", "same": 64 * "b"}})
    again.close()
    [told] = again.notes
    assert told.startswith("The code of mine has changed since the run began")


def test_what_a_kill_left_of_the_beginning_is_no_run(tmp_path):
    (tmp_path / ".run.json.0123abcd.fkd-partial").mkdir()
    (tmp_path / ".run.json.0123abcd.fkd-partial" / "run.json").write_text('{"form')
    (tmp_path / ".lock").touch()
    RunFolder(tmp_path, IDENTITY).close()
    assert run_in(tmp_path) is not None
    assert not list(tmp_path.glob(".run.json.*"))  # the next writer has removed it


@pytest.mark.parametrize(
    "text, told",
    [
        (b"", "JSONDecodeError"),
        (b'{"format": 4, "opti', "JSONDecodeError"),
        (b"\xff\xfe\x00", "UnicodeDecodeError"),
        (b"[]", "TypeError"),
        (b"[" * 100_000, "RecursionError"),
        (b"{}", "KeyError: 'format'"),
        (b'{"format": 4, "options": {}}', "KeyError: 'identity'"),
        (b'{"format": 3, %s}' % REST, "has format 3, and this version of fkd reads 4"),
        (b'{"format": "x", %s}' % REST, "has format 'x', and this version"),
    ],
)
def test_a_run_json_that_is_none_is_refused(text, told, tmp_path):
    (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(ValueError, match=rf"^folder: .*run\.json .*{told}"):
        RunFolder(tmp_path, IDENTITY)
    assert (tmp_path / "run.json").read_bytes() == text


def test_another_machine_is_told(tmp_path):
    RunFolder(tmp_path, IDENTITY).close()
    text = (tmp_path / "run.json").read_text()
    for name in ("python", "torch"):
        text = text.replace(f'"{name}": "', f'"{name}": "1.')
    (tmp_path / "run.json").write_text(text)
    again = RunFolder(tmp_path, IDENTITY)
    first, second = again.notes
    assert "It began with python 1.3." in first and "It began with torch 1." in second
    again.close()
