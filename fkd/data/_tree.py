"""What lies in a folder of classes: its images, what is passed over, and what is refused."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

# torchvision's, and GIF's
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
FEW = 10  # names that a message tells
LONG = 300  # signs of a path that it tells

Place = tuple[int, int]  # of a folder, by whatever path it is reached: its device and number there


class Entry(NamedTuple):
    """One thing in a folder; `reason` says why it is refused."""

    path: str
    kind: Literal["folder", "image", "skipped", "refused"]
    reason: str = ""


@dataclass(frozen=True)
class Tree:
    """The images of each class, in the order of torchvision's `ImageFolder`: by class, folder and
    name. `skipped` are hidden files and folders, files that are no images by their names, and files
    beside the classes' folders; `refused` is what cannot be read, with the reason."""

    classes: tuple[str, ...]
    files: list[str]
    labels: list[int]
    skipped: list[str]
    refused: list[str]


def tree(folder: Path, root: Path) -> Tree:
    """What lies in `folder`/<class>/, however deep, where `folder` is a part of `root`.

    Links are followed. A folder that links lead to twice, as a link to an ancestor does, is
    refused: its images would come twice, or be of two classes. So are links to nothing, pipes,
    sockets and devices, folders that cannot be read, and classes whose names are not in UTF-8.
    """
    places = {_place(os.stat(one)): str(one) for one in (root, folder)}
    entries = list(_entries(str(folder), places))
    classes = [one.path for one in entries if one.kind == "folder"]
    outside = [one.path for one in entries if one.kind in ("skipped", "image")]
    refused = [one for one in entries if one.kind == "refused"]
    refused += [Entry(path, "refused", "its name is not in UTF-8") for path in _odd(classes)]
    files, labels = [], []
    for label, path in enumerate(classes):
        below = sorted(_below(path, places), key=_order)
        images = [one.path for one in below if one.kind == "image"]
        files += images
        labels += [label] * len(images)
        outside += [one.path for one in below if one.kind == "skipped"]
        refused += [one for one in below if one.kind == "refused"]
    names = tuple(os.path.basename(path) for path in classes)
    reasons = [f"{shown(one.path)}: {one.reason}" for one in refused]
    return Tree(names, files, labels, outside, reasons)


def check_folder(what: str, path: Path, remedy: str) -> None:
    """Raise ValueError unless there is a folder that can be read."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()
            return
        reason = _kind(status.st_mode)
    except OSError as error:
        reason = _why(str(path), error)
    raise ValueError(f"folder: {what} must be a folder, but {shown(path)} is {reason}; {remedy}")


def listed(lines: Sequence[str], between: str = ", ") -> str:
    """The first of them, and how many more there are."""
    more = [f"and {len(lines) - FEW} more"] if len(lines) > FEW else []
    return between.join([*lines[:FEW], *more])


def check_readable(reasons: Sequence[str]) -> None:
    """Raise ValueError where there are reasons, each with a file's name, why one cannot be read."""
    if reasons:
        raise ValueError(
            f"root: {len(reasons)} images or folders cannot be read; mend or remove them:\n  "
            + listed(reasons, "\n  ")
        )


def shown(path: str | Path) -> str:
    """A path as it can be printed, whatever signs are in it; of a very long one the end."""
    text = repr(os.fspath(path))[1:-1]
    return text if len(text) <= LONG else f"...{text[-LONG:]}"


def _below(folder: str, places: dict[Place, str]) -> Iterator[Entry]:
    """Whatever lies below a folder and is none."""
    waiting = [folder]
    while waiting:
        for entry in _entries(waiting.pop(), places):
            if entry.kind == "folder":
                waiting.append(entry.path)
            else:
                yield entry


def _entries(folder: str, places: dict[Place, str]) -> Iterator[Entry]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield Entry(folder, "refused", _why(folder, error))
        return
    for name in names:
        yield _entry(os.path.join(folder, name), name, places)


def _entry(path: str, name: str, places: dict[Place, str]) -> Entry:
    if name.startswith("."):
        return Entry(path, "skipped")
    try:
        status = os.stat(path)
    except OSError as error:
        return Entry(path, "refused", _why(path, error))
    if stat.S_ISREG(status.st_mode):
        return Entry(path, "image" if name.lower().endswith(EXTENSIONS) else "skipped")
    if not stat.S_ISDIR(status.st_mode):
        return Entry(path, "refused", _kind(status.st_mode))
    first = places.setdefault(_place(status), path)
    if first != path:
        return Entry(path, "refused", f"it leads to {shown(first)} once more")
    return Entry(path, "folder")


def _place(status: os.stat_result) -> Place:
    return status.st_dev, status.st_ino


def _order(entry: Entry) -> tuple[str, str]:
    return os.path.split(entry.path)


def _odd(paths: Iterable[str]) -> Iterator[str]:
    """Those of which the name is not in UTF-8."""
    for path in paths:
        try:
            os.path.basename(path).encode()
        except UnicodeEncodeError:
            yield path


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "a file", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _why(path: str, error: OSError) -> str:
    """What a path is that cannot be read."""
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself, or on through too many"
    if error.errno == errno.ENAMETOOLONG:
        return f"a name of {len(os.path.basename(path))} signs in a path of {len(path)}: too long"
    if isinstance(error, PermissionError):
        return "not to be read, for you have no permission"
    if not isinstance(error, FileNotFoundError):
        return f"not to be read: {error.strerror}"
    try:
        return f"a link to {shown(os.readlink(path))}, which is not there"
    except OSError:
        return "not there"
