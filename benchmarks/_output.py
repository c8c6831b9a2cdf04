"""Where a benchmark writes."""

from datetime import datetime
from pathlib import Path

from fkd.compare import environment


def new_folder(output: str | None, name: str) -> Path:
    """Make a folder that did not exist: what `--output` names, or one by name and date in runs/.

    Raises ValueError where it cannot be made.
    """
    path = output or f"runs/{name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        return environment.new_folder(path)
    except OSError as error:
        raise ValueError(f"--output: {path} cannot be made: {error}") from error
