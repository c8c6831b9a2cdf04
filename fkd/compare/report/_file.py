"""A report's file: whole or not at all, and never in the place of somebody else's."""

from collections.abc import Mapping
from pathlib import Path

from fkd import checkpoint
from fkd.compare.report._page import GENERATOR, page
from fkd.compare.report._records import Record

HEAD = 1024  # bytes, within which a page names what wrote it
MARK = f'<meta name="generator" content="{GENERATOR} '


def write(path: str | Path, runs: Mapping[str, Record]) -> None:
    """Write `page(runs)` in UTF-8, whole or not at all.

    A report that is there already is replaced. Raises ValueError where there is anything else, as a
    file that fkd did not write, which stays as it is; as `page`; and OSError where the file cannot
    be written.
    """
    path = Path(path)
    check_own(path)
    text = page(runs)
    with checkpoint.whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def check_own(path: Path) -> None:
    """Raise where there is something at a path that is no report of fkd's."""
    if not path.is_file():
        if path.exists():
            raise ValueError(f"write: {path} is no file, so no report can be written; name another")
        return
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise ValueError(f"write: {path} cannot be read: {error.strerror}; name another") from error
    if MARK.encode() not in head:
        raise ValueError(
            f"write: {path} was not written by fkd, so it stays as it is; name another file"
        )
