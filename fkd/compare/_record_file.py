"""The files of a record: its JSON, which is read back, and its table in Markdown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fkd import checkpoint

Record = TypeVar("Record")


def write(path: Path, content: dict[str, Any] | str) -> None:
    """Write a file in UTF-8, whole or not at all: a text as it is, and a structure, in which every
    number is finite, as JSON.

    Raises OSError where the folder cannot be written.
    """
    if not isinstance(content, str):
        content = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with checkpoint.whole(path) as temporary:
        # Names that are no text, of files that the system gave, are told by their bytes.
        temporary.write_text(content, encoding="utf-8", errors="backslashreplace")


def read(where: str, path: Path, what: str, of_json: Callable[[dict[str, Any]], Record]) -> Record:
    """The record that a file of JSON holds.

    Raises ValueError, which begins with `where`, where there is no file, and for one that does not
    hold `what`, as `the results of a comparison`.
    """
    try:
        return of_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ValueError(f"{where}: there is no file {path}; give a folder with {what}") from error
    except OSError as error:
        raise ValueError(f"{where}: {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{where}: {path} must hold {what}, but {type(error).__name__}: {error}"
        ) from error
