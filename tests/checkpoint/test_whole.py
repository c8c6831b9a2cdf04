"""A file is the old one or the new one, whatever happens to its writer, and nothing else stays."""

import errno
import os
import resource
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from benchmarks._forked import forked
from fkd.checkpoint import remove_left_overs, whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put(path: Path, text: str) -> None:
    with whole(path) as temporary:
        temporary.write_text(text)


def write_half(path: Path, told: Connection) -> None:
    with whole(path) as temporary:
        temporary.write_text("half")
        told.send("writing")
        time.sleep(60)


@contextmanager
def writing(path: Path) -> Iterator[ForkServerProcess]:
    """Another process in the middle of writing `path`."""
    here, there = forked().Pipe(duplex=False)
    process = forked().Process(target=write_half, args=(path, there))
    process.start()
    try:
        assert here.poll(60) and here.recv() == "writing"
        yield process
    finally:
        process.kill()
        process.join()


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        mount = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("mount is not installed")
    if mount.returncode:
        pytest.skip(f"this user may not mount: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_file_comes_to_its_place_alone(tmp_path):
    put(tmp_path / "x", "one")
    put(tmp_path / "x", "two")
    assert (tmp_path / "x").read_text() == "two" and names(tmp_path) == ["x"]


class Order:
    """In which order a writer flushes what and renames it: `flushed` takes the place of os.fsync,
    and `replaced` that of os.replace, which are both done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.events: list[tuple[str, int, int]] = []
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self.flushed)
        monkeypatch.setattr(os, "replace", self.replaced)

    def flushed(self, handle: int) -> None:
        status = os.fstat(handle)
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        self.events.append(("flushed", status.st_ino, size))
        self._fsync(handle)

    def replaced(self, source: Path, target: Path) -> None:
        self.events.append(("replaced", source.stat().st_ino, source.stat().st_size))
        self._replace(source, target)


def test_its_bytes_are_on_the_disk_before_its_name_and_its_name_before_going_on(
    tmp_path, monkeypatch
):
    """A name that comes to the disk before the bytes is an empty file after a power cut."""
    put(tmp_path / "x", "old")
    order = Order(monkeypatch)
    put(tmp_path / "x", "newer")
    file, folder = (tmp_path / "x").stat().st_ino, tmp_path.stat().st_ino
    assert order.events == [("flushed", file, 5), ("replaced", file, 5), ("flushed", folder, 0)]


@pytest.mark.parametrize(("number", "stays"), [(errno.EINVAL, "new"), (errno.EIO, "old")])
def test_a_flush_that_fails_leaves_the_old_file_and_one_that_is_not_known_does_not_matter(
    number, stays, tmp_path, monkeypatch
):
    put(tmp_path / "x", "old")

    def fsync(_: int) -> None:
        raise OSError(number, "of the disk")

    monkeypatch.setattr(os, "fsync", fsync)
    with nullcontext() if stays == "new" else pytest.raises(OSError, match="of the disk"):
        put(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == stays and names(tmp_path) == ["x"]


def test_no_handle_stays_open(tmp_path):
    """A run writes thousands of files, and a process may hold a thousand handles."""
    with writing(tmp_path / "y"):  # another, whose folder is tried and left alone
        before = len(os.listdir("/dev/fd"))
        put(tmp_path / "x", "new")
        (tmp_path / ".x.01234567.fkd-partial").mkdir()
        put(tmp_path / "x", "newer")
        remove_left_overs(tmp_path)
        with pytest.raises(KeyError), whole(tmp_path / "x"):
            raise KeyError
        assert len(os.listdir("/dev/fd")) == before


def test_until_the_end_the_old_file_stands(tmp_path):
    put(tmp_path / "x", "old")
    with whole(tmp_path / "x") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "x").read_text() == "old"
    assert (tmp_path / "x").read_text() == "new"


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt(), SystemExit()])
def test_what_interrupts_the_writer_leaves_the_old_file_alone(error, tmp_path):
    put(tmp_path / "x", "old")
    with pytest.raises(type(error)), whole(tmp_path / "x") as temporary:
        temporary.write_text("half")
        raise error
    assert (tmp_path / "x").read_text() == "old" and names(tmp_path) == ["x"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_the_umask(mask, mode, tmp_path):
    with umask(mask):
        put(tmp_path / "x", "new")
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o755])
def test_a_replaced_file_keeps_its_permissions(mode, tmp_path):
    put(tmp_path / "x", "old")
    (tmp_path / "x").chmod(mode)
    with whole(tmp_path / "x") as temporary:
        temporary.write_text("new")
        assert stat.S_IMODE(temporary.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


def test_a_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "target").write_text("old")
    (tmp_path / "x").symlink_to("elsewhere/target")
    (tmp_path / "new").symlink_to("elsewhere/none yet")
    put(tmp_path / "x", "new")
    put(tmp_path / "new", "newer")
    assert (tmp_path / "x").is_symlink() and (tmp_path / "new").is_symlink()
    assert (tmp_path / "elsewhere" / "target").read_text() == "new"
    assert (tmp_path / "elsewhere" / "none yet").read_text() == "newer"
    assert names(tmp_path) == ["elsewhere", "new", "x"]
    assert names(tmp_path / "elsewhere") == ["none yet", "target"]


def test_what_is_no_file_is_never_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("folder", "pipe", "loop"):
        with pytest.raises(ValueError, match="must be a file or a new name"):
            put(tmp_path / name, "new")
    assert names(tmp_path) == ["folder", "loop", "pipe"]


@pytest.mark.parametrize("wrote", [[], ["x", "x.data"], ["y"]])
def test_a_writer_of_other_files_than_one_is_refused(wrote, tmp_path):
    left = pytest.raises(ValueError, match="must be written as one file, but its writer left")
    with left, whole(tmp_path / "x") as temporary:
        for name in wrote:
            (temporary.parent / name).write_text("")
    assert names(tmp_path) == []


def test_names_of_every_kind(tmp_path):
    for name in ("ü" * 127, "a\nb", "*.[a]", os.fsdecode(b"\xff"), "x.fkd-partial", "-"):
        put(tmp_path / name, name.encode(errors="replace").decode())
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()


def test_a_folder_that_is_none_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("none", "file"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            put(tmp_path / folder / "x", "new")
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file_alone(tmp_path):
    with mounted(tmp_path / "disk", "size=64k"):
        put(tmp_path / "disk" / "x", "old")
        for _ in range(3):
            with pytest.raises(OSError) as error:
                put(tmp_path / "disk" / "x", "n" * 100_000)
            assert error.value.errno == errno.ENOSPC
            assert (tmp_path / "disk" / "x").read_text() == "old"
            assert names(tmp_path / "disk") == ["x"]


def test_a_limit_on_files_leaves_the_old_file_alone(tmp_path):
    put(tmp_path / "x", "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError) as error:
            put(tmp_path / "x", "n" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.errno == errno.EFBIG
    assert (tmp_path / "x").read_text() == "old" and names(tmp_path) == ["x"]


def test_a_disk_that_is_only_read_is_an_error_of_the_system(tmp_path):
    with mounted(tmp_path / "disk", "size=64k"):
        put(tmp_path / "disk" / "x", "old")
        remount = ["mount", "-o", "remount,ro", str(tmp_path / "disk")]
        subprocess.run(remount, check=True)
        with pytest.raises(OSError) as error:
            put(tmp_path / "disk" / "x", "new")
        assert error.value.errno == errno.EROFS
        assert (tmp_path / "disk" / "x").read_text() == "old"


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path):
    put(tmp_path / "x", "old")
    with writing(tmp_path / "x") as process:
        process.kill()
        process.join()
    assert (tmp_path / "x").read_text() == "old"
    assert len(names(tmp_path)) == 2 and names(tmp_path)[0].endswith(".fkd-partial")
    put(tmp_path / "y", "another")  # a file of another name is none of its business
    assert len(names(tmp_path)) == 3
    put(tmp_path / "x", "new")
    assert names(tmp_path) == ["x", "y"] and (tmp_path / "x").read_text() == "new"


def test_a_living_writer_is_left_alone(tmp_path):
    with writing(tmp_path / "x"):
        put(tmp_path / "x", "new")
        left = [name for name in names(tmp_path) if name != "x"]
        assert len(left) == 1
        assert (tmp_path / left[0] / "x").read_text() == "half"
    put(tmp_path / "x", "newer")
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("owner", ["a sweeper", "no one"])
def test_where_nothing_can_be_locked_nothing_is_taken_for_a_left_over(owner, tmp_path, monkeypatch):
    """A file system without locks; or another writer that is just looking at the new folder."""
    (tmp_path / ".x.01234567.fkd-partial").mkdir()
    answers = iter([OSError(errno.ENOLCK, "no locks")] * 2)
    if owner == "a sweeper":
        answers = iter([BlockingIOError(), BlockingIOError(), OSError(errno.ENOLCK, "no locks")])

    def flock(*_: object) -> None:
        raise next(answers)

    monkeypatch.setattr("fcntl.flock", flock)
    put(tmp_path / "x", "new")
    left = [name for name in names(tmp_path) if name != "x"]
    assert ".x.01234567.fkd-partial" in left and (tmp_path / "x").read_text() == "new"
    assert len(left) == (2 if owner == "a sweeper" else 1)  # which that writer removes


def test_what_killed_writers_of_any_file_left_is_removed(tmp_path):
    for name in (".x.01234567.fkd-partial", "..ranks.y.89abcdef.fkd-partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("ha")
    (tmp_path / "x").write_text("mine")
    (tmp_path / ".x.fkd-partial").mkdir()
    with whole(tmp_path / "z") as temporary:  # a writer that lives
        temporary.write_text("whole")
        remove_left_overs(tmp_path)
    assert sorted(names(tmp_path)) == [".x.fkd-partial", "x", "z"]


def test_what_only_looks_like_a_left_over_stays(tmp_path):
    mine = [".x.fkd-partial", ".x.0123456.fkd-partial", ".y.01234567.fkd-partial", "x.01234567"]
    for name in mine:
        (tmp_path / name).mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "precious").write_text("mine")
    (tmp_path / ".x.89abcdef.fkd-partial").symlink_to("kept")
    (tmp_path / ".x.01234567.fkd-partial").write_text("a file")
    before = names(tmp_path)
    put(tmp_path / "x", "new")
    assert names(tmp_path) == sorted([*before, "x"])
    assert (tmp_path / "kept" / "precious").read_text() == "mine"


def test_of_many_writers_at_once_one_has_the_last_word(tmp_path):
    texts = [str(k) * 50_000 for k in range(8)]
    failed = []

    def write(text: str) -> None:
        try:
            for _ in range(20):
                put(tmp_path / "x", text)
                assert (tmp_path / "x").read_text() in texts
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert (tmp_path / "x").read_text() in texts and names(tmp_path) == ["x"]
