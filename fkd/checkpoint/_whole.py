"""A file that is there whole or not at all."""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = 50  # characters of a file's name in its folder's, which may take 255 bytes


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path to write, which takes the place of `path` at the end, flushed to the disk.

    At every moment `path` is the old file or the new one, even if the power fails. Where the
    writing raises, `path` stays as it was, and nothing is left beside it. Of a symbolic link it is
    the target that is written, and the link stays. A new file has the permissions that the umask
    gives, another those of the file that it replaces. Of several writers at once the last one's
    file stays.

    What is written lies in a folder of its own beside `path`, named `.NAME.RANDOM.fkd-partial`,
    which is locked as long as the writer lives. So the next writer of `path` knows what one that
    was killed has left, and removes it.

    Raises ValueError where `path` is a folder, a pipe or a device, or where the writer leaves
    another number of files than one, and OSError where the disk is full or cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole(Path(folder) / "notes.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     print((Path(folder) / "notes.txt").read_text())
    whole
    """
    path = Path(os.path.realpath(path))
    mode = _mode(path)
    remove_left_overs(path.parent, path.name)
    folder, lock = _own_folder(path)
    try:
        usual = stat.S_IMODE(folder.stat().st_mode)
        _chmod(folder, 0o700)  # a private file stays private while it is written
        temporary = folder / path.name
        yield temporary
        _check_alone(temporary, path)
        _chmod(temporary, usual & 0o666 if mode is None else mode)
        flush(temporary)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    flush(path.parent)


def _check_alone(temporary: Path, path: Path) -> None:
    """Raise where the writer has left other files than the one that it was to write."""
    written = sorted(file.name for file in temporary.parent.iterdir())
    if written != [temporary.name]:
        raise ValueError(
            f"whole: {path} must be written as one file, but its writer left "
            f"{', '.join(written) or 'none'}"
        )


def _mode(path: Path) -> int | None:
    """The permissions of the file that is there; None where there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(
            f"whole: {path} must be a file or a new name, but it is a folder, a pipe, a device or "
            "a link to itself; name another"
        )
    return stat.S_IMODE(status.st_mode)


def _own_folder(path: Path) -> tuple[Path, int | None]:
    """A new folder beside `path`, and the handle that holds its lock."""
    while True:
        folder = path.parent / f".{path.name[:NAME]}.{secrets.token_hex(4)}.fkd-partial"
        folder.mkdir()
        try:
            return folder, _lock(folder)
        except (BlockingIOError, FileNotFoundError):  # another writer took it for a left-over
            continue
        except OSError:  # a file system without locks, on which none is taken for a left-over
            return folder, None


def remove_left_overs(folder: Path, name: str | None = None) -> None:
    """Remove what writers that are no more have left in a folder, of the file of that name or of
    any: their own folders, of which nobody holds the lock."""
    of = ".*" if name is None else re.escape(name[:NAME])
    left = re.compile(rf"\.{of}\.[0-9a-f]{{8}}\.fkd-partial")
    with suppress(PermissionError):  # a folder that may be written and not listed
        for own in folder.iterdir():
            if left.fullmatch(own.name):
                with suppress(OSError):
                    lock = _lock(own)
                    shutil.rmtree(own, ignore_errors=True)
                    os.close(lock)


def _lock(folder: Path) -> int:
    """A handle that holds the folder's lock.

    Raises BlockingIOError where it is another's, FileNotFoundError where the folder is gone, and
    OSError for what is no folder or cannot be locked.
    """
    import fcntl  # which Windows has not: there files can be read alone

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), folder.lstat()):
            raise FileNotFoundError(folder)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _chmod(path: Path, mode: int) -> None:
    with suppress(PermissionError):  # of a file system that has no permissions
        path.chmod(mode)


def flush(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a file system that flushes no folders
            raise
    finally:
        os.close(handle)
