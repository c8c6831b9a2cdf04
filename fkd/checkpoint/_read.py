"""Whatever file holds tensors by name, by what it begins with."""

import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fkd import _check
from fkd.checkpoint._archive import archive
from fkd.checkpoint._file import File


def read(path: str | Path | Sequence[str | Path]) -> dict[str, Tensor]:
    """The tensors in a file by name, or in several, on the CPU, each with memory of its own.

    A file is one of `write`'s, whose checksums are verified, any safetensors file, or a
    `state_dict` that torch has saved, of which nothing but tensors is unpickled. One of torch's
    archives is verified by its CRC-32; the safetensors files of others, and what torch wrote before
    its version 1.6, hold no checksum.

    Raises ValueError where there is no file, or one that is damaged or holds anything else, and
    where two files hold a tensor of one name.
    """
    return dict(opened(path))


def about(path: str | Path) -> dict[str, Any]:
    """What `write` was told that the file is about, from its header alone; {} where it has none.

    Raises ValueError where there is no file, and for a header that is damaged.
    """
    return File(path).about if _is_safetensors(path) else {}


def opened(path: str | Path | Sequence[str | Path]) -> "File | Mapping[str, Tensor]":
    """The tensors of a file by name, or of several; those of safetensors are read when they are
    asked for."""
    if isinstance(path, str | Path):
        return File(path) if _is_safetensors(path) else archive(path)
    _check.sequence("checkpoint", path=path)
    return Together(path)


class Together(Mapping[str, Tensor]):
    """The tensors of several files by name; raises ValueError where two files hold one name."""

    def __init__(self, paths: Sequence[str | Path]):
        self._files: dict[str, File | Mapping[str, Tensor]] = {}
        for path in paths:
            file = opened(path)
            for name in file:
                if name in self._files:
                    raise ValueError(
                        f"checkpoint {path}: it holds {name}, and so does another of these files; "
                        "give the files of one moment, each once"
                    )
                self._files[name] = file

    def __getitem__(self, name: str) -> Tensor:
        return self._files[name][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _is_safetensors(path: str | Path) -> bool:
    """Whether a file is safetensors, and not torch's; raises ValueError where it is neither."""
    try:
        is_file = stat.S_ISREG(Path(path).stat().st_mode)
        first = _first(path) if is_file else b""
    except FileNotFoundError as error:
        raise ValueError(f"checkpoint {path}: there is no such file") from error
    except (OSError, ValueError) as error:  # ValueError of a name that no file can have
        raise ValueError(f"checkpoint {path}: it cannot be read: {error}") from error
    if not is_file:
        raise ValueError(
            f"checkpoint {path}: it must be a file, but it is a folder, a pipe or a device"
        )
    if first[8:] == b"{":  # after the header's length
        return True
    if first.startswith((b"PK", b"\x80")):  # an archive, or a bare pickle as torch once wrote
        return False
    what = "holds something else" if first else "is empty"
    raise ValueError(
        f"checkpoint {path}: it must be a safetensors file or a state_dict of torch's, "
        f"but it {what}"
    )


def _first(path: str | Path) -> bytes:
    """The first bytes of a file: the length of a header, and what it begins with."""
    with open(path, "rb") as file:
        return file.read(9)
