"""Paths that a user gives: refused where they name nothing that can be read, or made."""

import os
from pathlib import Path


def path_of(where: str, text: str) -> Path:
    """The path that a text names, with `~` and `~user` as home folders; it need not exist.

    Raises ValueError, which begins with `where`, for a text that names no path: an empty one, one
    with a NUL or of another encoding than UTF-8, `~user` of nobody, and one that is too long, may
    not be reached, or goes through links in a circle.
    """
    if not text.strip():
        raise ValueError(f"{where}: {text!r} names nothing; give a path, or leave it out")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: a path must be text in UTF-8, but it is {text!r}; rename it, or give a link"
        ) from error
    if "\0" in text:
        raise ValueError(f"{where}: a path holds no NUL, but it is {text!r}")
    try:
        path = Path(text).expanduser()
        path.resolve()
    except RuntimeError as error:
        raise ValueError(f"{where}: {text} names no path: {error}") from error
    except FileNotFoundError as error:
        raise ValueError(f"{where}: the current folder is gone; start in another") from error
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it may be made
    except OSError as error:
        raise ValueError(f"{where}: {text} cannot be reached: {error.strerror}") from error
    return path


def file_to_read(where: str, text: str) -> Path:
    """The file of that name; raises ValueError where there is none that may be read."""
    path = path_of(where, text)
    if not path.exists():
        raise ValueError(f"{where}: there is no file {text}; {_leads_nowhere(path)}give its path")
    if not path.is_file():
        raise ValueError(f"{where}: {text} must be a file, but it is {kind(path)}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{where}: {text} may not be read; change its permissions")
    return path


def folder_to_read(where: str, text: str) -> Path:
    """The folder of that name, which need not exist; raises ValueError where it cannot be read."""
    path = path_of(where, text)
    if os.path.lexists(path) and not path.is_dir():
        raise ValueError(f"{where}: {text} must be a folder, but it is {kind(path)}")
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
        raise ValueError(f"{where}: {text} may not be read; change its permissions")
    return path


def folder_to_make(where: str, text: str) -> Path:
    """The path of a folder that is made later, or is one already; nothing is made here.

    Raises ValueError where it cannot be made, and for the current folder, one above it and the
    user's home, which are no run's own.
    """
    path = path_of(where, text)
    whole = path.resolve()
    if whole in (Path.cwd(), *Path.cwd().parents, Path.home().resolve()):
        raise ValueError(f"{where}: {text} is {whole}, which is no run's own; give a folder in it")
    if path.is_dir():
        return path
    if os.path.lexists(path):
        raise ValueError(
            f"{where}: {text} cannot be made, for it is {kind(path)}; give another name"
        )
    above = next(parent for parent in whole.parents if parent.exists())
    if not above.is_dir():
        raise ValueError(f"{where}: {text} cannot be made, for {above} is {kind(above)}")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(
            f"{where}: {text} cannot be made, for {above} may not be written; give another folder"
        )
    return path


def kind(path: Path) -> str:
    """What a path leads to, in words."""
    if not path.exists():
        return "a link that leads nowhere"
    if path.is_dir():
        return "a folder"
    return "a file" if path.is_file() else "a pipe or a device"


def _leads_nowhere(path: Path) -> str:
    return "the link leads nowhere; " if path.is_symlink() else ""
