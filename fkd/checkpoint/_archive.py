"""A `state_dict` that torch has written, of which nothing but tensors is unpickled."""

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def archive(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a file of torch's by name, on the CPU, each with memory of its own.

    An archive, as torch writes since version 1.6, holds a CRC-32 of each entry, which is verified;
    a bare pickle, as it wrote before, holds none, so damage to it can go unseen.

    Raises ValueError for an archive that is damaged, or takes more than its file, and for what is
    not a dict of dense tensors.
    """
    where = f"checkpoint {path}"
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        _check_zip(path, where)
    try:
        flat = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler raises anything on bytes that are no pickle
        raise ValueError(
            f"{where}: it cannot be read as a dict of tensors, as torch.save writes a module's "
            f"state_dict ({_reason(error)})"
        ) from error
    if not _is_state(flat):
        raise ValueError(
            f"{where}: it must hold a dict of tensors by name; save `module.state_dict()`, not the "
            f"module or a training script's whole state{_within(flat)}"
        )
    size = Path(path).stat().st_size
    for name, x in flat.items():
        if x.layout != torch.strided or x.is_quantized or x.device.type != "cpu":
            raise ValueError(
                f"{where}: {name} must be a dense tensor, but it is {x.layout} of {x.dtype} on "
                f"{x.device}"
            )
        if x.nbytes > size:
            raise ValueError(
                f"{where}: {name} is {x.nbytes:,} bytes, more than its file of {size:,}"
            )
    return _apart(flat)


def _reason(error: Exception) -> str:
    """Why a file cannot be unpickled; of one that holds other objects, of which class one is."""
    stranger = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
    if stranger:
        return (
            f"it holds a {stranger[1]}, and unpickling one may run anything; where it was written, "
            "load it and save its tensors alone"
        )
    return str(error).strip().split("\n")[0] or type(error).__name__


def _is_state(value: Any) -> bool:
    """Whether a value is a dict of tensors by name."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(x, Tensor) for name, x in value.items()
    )


def _within(value: Any) -> str:
    """Under which keys a training script's state holds a state_dict, and how to write that alone;
    "" where it holds none."""
    parts = value.items() if isinstance(value, dict) else ()
    keys = [key for key, part in parts if part and _is_state(part)]
    if not keys:
        return ""
    return (
        f"; it holds one under {' and '.join(map(repr, keys))}: write that alone, as by "
        f"torch.save(torch.load(path)[{keys[0]!r}], other_path)"
    )


def _check_zip(path: str | Path, where: str) -> None:
    """Raise where an entry is compressed, larger than the file, or not what its CRC-32 says."""
    try:
        with zipfile.ZipFile(path) as file:
            fault = _bomb(file, Path(path).stat().st_size) or _damage(file)
    except Exception as error:  # an archive whose directory is damaged raises anything
        fault = f"it is a damaged archive ({error}); take a copy"
    if fault:
        raise ValueError(f"{where}: {fault}")


def _bomb(file: zipfile.ZipFile, size: int) -> str:
    entries = file.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        return (
            "it is a compressed archive, and torch.save compresses nothing; give the file that "
            "torch.save wrote"
        )
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size:
        return f"it unpacks to {unpacked:,} bytes, more than its own {size:,}"
    return ""


def _damage(file: zipfile.ZipFile) -> str:
    if not any(entry.CRC for entry in file.infolist()):
        return ""  # torch.serialization.set_crc32_options(False) leaves them out
    damaged = file.testzip()
    return f"{damaged} in it is damaged by its CRC-32; take a copy" if damaged else ""


def _apart(flat: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, those that share their memory or use a part of it copied."""
    apart, memory = {}, set()
    for name, x in flat.items():
        storage = x.untyped_storage()
        shared = storage.data_ptr() in memory or storage.nbytes() != x.nbytes
        memory.add(storage.data_ptr())
        x = x.detach()
        apart[name] = x.clone(memory_format=torch.contiguous_format) if shared else x
    return apart
