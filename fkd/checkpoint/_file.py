"""The file: safetensors, with what it is about and a checksum of every tensor in its header."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, TensorSpec, safe_open, serialize_file
from torch import Tensor

import fkd
from fkd.checkpoint._checksum import checksum
from fkd.checkpoint._whole import whole

FORMAT = "1"
OURS = ("fkd.about", "fkd.checksum", "fkd.format", "fkd.tensors", "fkd.versions")
RESERVED = "__metadata__"  # by safetensors, in a file's header
DTYPES = (  # that safetensors holds
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.uint16,
    torch.int16,
    torch.uint32,
    torch.int32,
    torch.uint64,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
    torch.float8_e8m0fnu,
)


def write(path: str | Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any] = {}) -> None:
    """Write the tensors to `path`, which holds the old file or the new one at every moment.

    `about` is what else there is to say, in JSON's types: a tuple comes back as a list, a key as a
    string. Every tensor is written at its own size, views and tied weights too, and comes back bit
    for bit. The header holds the format's version, those of fkd and torch, and a SHA-256 over every
    tensor (its name, dtype, shape and bytes) and over itself, which `read` verifies.
    `safetensors.torch.load_file` reads the file too. The tensors must not change while they are
    written: a file that holds two moments is refused when it is read.

    Raises ValueError for what is no dense tensor on a device, for dtypes that safetensors does not
    hold (complex128, quantized), for names that are no text or reserved, and for an `about` that is
    not JSON; OSError where the disk is full or cannot be written.

    >>> import tempfile
    >>> from fkd import checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/x.safetensors", {"a": torch.ones(2)}, {"step": 3})
    ...     checkpoint.read(f"{folder}/x.safetensors"), checkpoint.about(f"{folder}/x.safetensors")
    ({'a': tensor([1., 1.])}, {'step': 3})
    """
    _check_tensors(tensors)
    dense = {name: _plain(x) for name, x in tensors.items()}
    metadata = {
        "format": "pt",  # by which others know whose tensors these are
        "fkd.format": FORMAT,
        "fkd.versions": json.dumps({"fkd": fkd.__version__, "torch": torch.__version__}),
        "fkd.about": _json(about),
        "fkd.tensors": json.dumps({name: checksum(name, x).hex() for name, x in dense.items()}),
    }
    metadata["fkd.checksum"] = _over(metadata)
    specs = {
        name: TensorSpec(
            dtype=str(x.dtype).removeprefix("torch."),
            shape=x.shape,
            data_ptr=x.data_ptr(),
            data_len=x.nbytes,
        )
        for name, x in dense.items()
    }
    with whole(path) as temporary:
        try:
            serialize_file(specs, temporary, metadata=metadata)
        except SafetensorError as error:
            raise _refused(error, path) from error


class File:
    """The tensors of a safetensors file by name, each read and verified when it is asked for.

    `about` is what the file says about itself. Raises ValueError for a file that is damaged, and
    for one of a newer format.
    """

    def __init__(self, path: str | Path):
        self._where = f"checkpoint {path}"
        try:
            self._file = safe_open(path, framework="pt", backend="pread")
            metadata = self._file.metadata() or {}
            self._names = dict.fromkeys(self._file.keys())
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{self._where}: it is damaged, or no safetensors file ({error}); write it anew, "
                "or take a copy"
            ) from error
        self.about: dict[str, Any] = {}
        self._checksums: dict[str, str] = {}
        if any(key.startswith("fkd.") for key in metadata):
            self._check(metadata)
            self.about = json.loads(metadata["fkd.about"])
            self._checksums = json.loads(metadata["fkd.tensors"])
            if self._checksums.keys() != self._names.keys():
                raise self._damaged("its header")

    def _check(self, metadata: Mapping[str, str]) -> None:
        version = metadata.get("fkd.format")
        if version is not None and version != FORMAT:
            raise ValueError(
                f"{self._where}: it is of format {version}, and this fkd, {fkd.__version__}, reads "
                f"format {FORMAT}; take the fkd that wrote it, or a newer one"
            )
        if not set(OURS) <= metadata.keys() or metadata["fkd.checksum"] != _over(metadata):
            raise self._damaged("its header")

    def _damaged(self, what: str) -> ValueError:
        return ValueError(
            f"{self._where}: {what} is damaged, for its checksum is another; write it "
            "anew, or take a copy"
        )

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        try:
            x = self._file.get_tensor(name)
        except Exception as error:  # torch raises anything for dtypes that it knows by halves
            raise ValueError(f"{self._where}: {name} cannot be read ({error})") from error
        if self._checksums and checksum(name, x).hex() != self._checksums[name]:
            raise self._damaged(name)
        return x

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def keys(self) -> Iterator[str]:
        return iter(self._names)


def _check_tensors(tensors: Mapping[str, Tensor]) -> None:
    wrong = []
    for name, x in tensors.items():
        if not isinstance(name, str):
            wrong.append(f"{name!r} must be a name, but it is a {type(name).__name__}")
        elif name == RESERVED:
            wrong.append(f"{name} must be another name, for safetensors has one use for it")
        elif not _is_text(name):
            wrong.append(f"{name!r} must be a name that UTF-8 can hold")
        elif not isinstance(x, Tensor):
            wrong.append(f"{name} must be a tensor, but it is a {type(x).__name__}; leave it out")
        elif type(x.detach()) is not Tensor:
            wrong.append(f"{name} must be a plain tensor, but it is a {type(x).__name__}")
        elif x.layout != torch.strided or x.is_quantized or x.device.type == "meta":
            wrong.append(
                f"{name} must be a dense tensor, but it is {x.layout} of {x.dtype} on {x.device}"
            )
        elif x.dtype not in DTYPES:
            wrong.append(f"{name} must have a dtype that safetensors holds, but it is {x.dtype}")
    if wrong:
        raise ValueError("checkpoint: these cannot be written:\n  " + "\n  ".join(wrong))


def _is_text(name: str) -> bool:
    return name.encode(errors="ignore").decode() == name


def _plain(x: Tensor) -> Tensor:
    """The tensor's numbers in order, in the memory that a pointer can reach."""
    return x.detach().resolve_conj().resolve_neg().cpu().contiguous()


def _json(about: Mapping[str, Any]) -> str:
    reason = f"it is a {type(about).__name__}"
    if isinstance(about, Mapping):
        try:
            text = json.dumps(dict(about))
            if json.dumps(json.loads(text)) == text:
                return text
            reason = "two of its keys are one as strings"
        except (TypeError, ValueError, RecursionError) as error:
            reason = str(error)
    raise ValueError(f"checkpoint: about must be a dict in JSON's types, but {reason}")


def _over(metadata: Mapping[str, str]) -> str:
    """The checksum of a header's entries, but for the checksum itself."""
    entries = sorted(item for item in metadata.items() if item[0] != "fkd.checksum")
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _refused(error: SafetensorError, path: str | Path) -> Exception:
    """What safetensors says of a file that it cannot write: the system's error, or too many names
    for its header."""
    number = re.search(r"os error (\d+)", str(error))
    if number:
        return OSError(int(number[1]), os.strerror(int(number[1])), str(path))
    return ValueError(
        f"checkpoint {path}: safetensors cannot write it ({error}); a header, of names and about, "
        "takes 100 MB, so write several files"
    )
