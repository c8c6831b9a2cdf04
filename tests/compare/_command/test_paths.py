"""Paths of every odd kind: each is a clear refusal, or what was meant."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from fkd.compare._command.paths import file_to_read, folder_to_make, folder_to_read

KINDS = [file_to_read, folder_to_read, folder_to_make]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """A current folder with one of each, and a home beside it."""
    (tmp_path / "home").mkdir()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (here / "file").write_text("mine", encoding="utf-8")
    (here / "folder").mkdir()
    os.mkfifo(here / "pipe")
    for name, target in (("to-file", "file"), ("to-folder", "folder"), ("nowhere", "gone")):
        (here / name).symlink_to(target)
    for name, target in (("round", "about"), ("about", "round")):
        (here / name).symlink_to(target)
    return here


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names nothing; give a path"),
        (" \t", "names nothing; give a path"),
        ("a\0b", "a path holds no NUL"),
        (os.fsdecode(b"caf\xe9"), "must be text in UTF-8, but it is 'caf"),
        ("~nobody-has-this-name/x", "names no path"),
        ("x" * 300, "cannot be reached: File name too long"),
        ("x/" * 3000, "cannot be reached: File name too long"),
        ("round", "names no path: Symlink loop|cannot be reached: Too many levels"),
    ],
)
def test_what_names_no_path_is_refused(kind, text, message):
    with pytest.raises(ValueError, match=f"^--flag: .*({message})"):
        kind("--flag", text)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (file_to_read, "gone", "there is no file gone; give its path"),
        (file_to_read, "nowhere", "there is no file nowhere; the link leads nowhere"),
        (file_to_read, "folder", "folder must be a file, but it is a folder"),
        (file_to_read, "to-folder", "must be a file, but it is a folder"),
        (file_to_read, ".", "must be a file, but it is a folder"),
        (file_to_read, "pipe", "must be a file, but it is a pipe or a device"),
        (file_to_read, "/dev/null", "must be a file, but it is a pipe or a device"),
        (file_to_read, "file/x", "there is no file file/x"),
        (folder_to_read, "file", "must be a folder, but it is a file"),
        (folder_to_read, "to-file", "must be a folder, but it is a file"),
        (folder_to_read, "nowhere", "must be a folder, but it is a link that leads nowhere"),
        (folder_to_read, "pipe", "must be a folder, but it is a pipe or a device"),
        (folder_to_make, ".", "which is no run's own; give a folder in it"),
        (folder_to_make, "..", "which is no run's own; give a folder in it"),
        (folder_to_make, "folder/..", "which is no run's own; give a folder in it"),
        (folder_to_make, "/", "which is no run's own; give a folder in it"),
        (folder_to_make, "~", "which is no run's own; give a folder in it"),
        (folder_to_make, "file", "file cannot be made, for it is a file"),
        (folder_to_make, "file/", "cannot be made, for it is a file"),
        (folder_to_make, "to-file", "cannot be made, for it is a file"),
        (folder_to_make, "nowhere", "cannot be made, for it is a link that leads nowhere"),
        (folder_to_make, "pipe", "cannot be made, for it is a pipe or a device"),
        (folder_to_make, "file/x", "file/x cannot be made, for .*/file is a file"),
        (folder_to_make, "/proc/x/y", "cannot be made, for /proc may not be written"),
    ],
)
def test_what_is_of_another_kind_is_refused_by_name(kind, text, message):
    if text == "/proc/x/y" and os.access("/proc", os.W_OK):
        pytest.skip("the user may do anything")
    with pytest.raises(ValueError, match=f"^--flag: .*{message}"):
        kind("--flag", text)


@pytest.mark.parametrize(
    ("kind", "text", "path"),
    [
        (file_to_read, "file", "file"),
        (file_to_read, "to-file", "to-file"),
        (file_to_read, "folder/../file", "folder/../file"),
        (folder_to_read, ".", "."),
        (folder_to_read, "..", ".."),
        (folder_to_read, "to-folder/", "to-folder"),
        (folder_to_read, "gone", "gone"),  # where downloads are to be kept
        (folder_to_make, "new", "new"),
        (folder_to_make, "new/of/new/", "new/of/new"),
        (folder_to_make, "folder", "folder"),
        (folder_to_make, "to-folder/new", "to-folder/new"),
        (folder_to_make, " a name with spaces and ★ ", " a name with spaces and ★ "),
        (folder_to_make, "~/new", "../home/new"),
        (folder_to_read, "~", "../home"),
    ],
)
def test_what_is_meant_is_taken_and_nothing_is_made(kind, text, path, place):
    before = sorted(place.rglob("*"))
    assert kind("--flag", text).absolute().samefile(path) if Path(path).exists() else True
    assert os.path.normpath(kind("--flag", text)) in (
        os.path.normpath(path),
        os.path.normpath(place / path),
    )
    assert sorted(place.rglob("*")) == before


def test_the_home_of_another_user_is_known():
    user = pwd.getpwuid(0)
    assert folder_to_read("--flag", f"~{user.pw_name}") == Path(user.pw_dir)


@pytest.mark.parametrize(
    ("kind", "inner"), [(file_to_read, "file"), (folder_to_read, ""), (folder_to_make, "new")]
)
def test_what_may_not_be_used_is_refused(kind: Callable[..., Path], inner, place, monkeypatch):
    # a superuser may do anything, so the system's answer is given here
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    (place / "folder" / "file").touch()
    with pytest.raises(ValueError, match=r"may not be (read|written)"):
        kind("--flag", f"folder/{inner}")


def test_a_current_folder_that_is_gone_is_told(tmp_path, monkeypatch):
    (tmp_path / "left").mkdir()
    monkeypatch.chdir(tmp_path / "left")
    (tmp_path / "left").rmdir()
    with pytest.raises(ValueError, match="--flag: the current folder is gone"):
        folder_to_make("--flag", "new")
    monkeypatch.chdir(tmp_path)
