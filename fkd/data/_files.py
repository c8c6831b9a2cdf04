"""What is read of many files: each in turn, or a SHA-256 of every byte or of their ends."""

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from fkd.data._threads import each
from fkd.data._tree import check_readable, shown

Result = TypeVar("Result")

END = 4096  # bytes at either end of a file
PIECE = 2**20  # bytes that are read at once
TOGETHER = 64  # small files that a thread reads one after the other


def of_each(read: Callable[[str], Result], paths: Sequence[str]) -> list[Result]:
    """What `read` says of each file. Where it raises ValueError, which names the file, one for all
    of them is raised."""
    results, reasons = [], []
    for one in each(partial(tried, read), paths, TOGETHER):
        if isinstance(one, ValueError):
            reasons.append(str(one))
        else:
            results.append(one)
    check_readable(reasons)
    return results


def tried(read: Callable[[str], Result], path: str) -> Result | ValueError:
    """What a function says of a file, or why it refuses it."""
    try:
        return read(path)
    except ValueError as error:
        return error.with_traceback(None)


def contents(paths: Sequence[str], whole: bool) -> str:
    """The SHA-256 of each file's size and, if `whole`, its bytes, else of its size and the first
    and last 4,096 bytes, one after the other.

    Raises ValueError that names the files that cannot be read.
    """
    return "".join(of_each(partial(_content, whole), paths))


def _content(whole: bool, path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            sha = hashlib.sha256(f"{size} ".encode())
            if not whole and size > 2 * END:
                sha.update(file.read(END))
                file.seek(-END, os.SEEK_END)
            while piece := file.read(PIECE):
                sha.update(piece)
    except OSError as error:
        raise ValueError(f"{shown(path)}: {error.strerror}") from error
    return sha.hexdigest()
