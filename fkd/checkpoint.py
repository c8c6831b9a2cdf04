"""A tree of tensors to a file and back, whole or not at all.

The file is what `torch.save` makes of one flat dict, a leaf's path to its tensor, so a plain
state_dict is such a file too.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import (
    GetAttrKey,
    MappingKey,
    SequenceKey,
    tree_flatten_with_path,
    tree_unflatten,
)


def save(path: str | Path, tree: Any) -> None:
    """Write the tree's leaves to `path`, which holds the old file or the new one at every moment.

    Raises OSError where the folder cannot be written.
    """
    leaves, _ = tree_flatten_with_path(tree)
    flat = {_name(where): leaf.detach().contiguous().cpu() for where, leaf in leaves}
    with whole(path) as temporary, open(temporary, "wb") as file:
        torch.save(flat, file)


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """An empty file beside `path` to write, which takes its place at the end, flushed to the disk.

    Where the writing raises, `path` stays as it was, and nothing is left beside it.
    """
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a file by name, on the CPU; nothing but tensors is unpickled.

    Raises ValueError where there is no file, or one that is not a dict of tensors.
    """
    try:
        flat = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"checkpoint {path}: there is no such file") from error
    except Exception as error:  # an unpickler raises anything on bytes that are no pickle
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"checkpoint {path}: it cannot be read as a dict of tensors, as torch.save writes a "
            f"module's state_dict ({reason or type(error).__name__})"
        ) from error
    if not isinstance(flat, dict) or not all(isinstance(leaf, Tensor) for leaf in flat.values()):
        raise ValueError(
            f"checkpoint {path}: it must hold a dict of tensors by name; save "
            "`module.state_dict()`, not the module or a training script's whole state"
        )
    return flat


def load(path: str | Path, like: Any) -> Any:
    """The tree in a file, in the structure, dtypes and devices of `like`.

    Raises ValueError that names every leaf that is missing, not wanted, or of another shape.
    """
    flat = read(path)
    leaves, spec = tree_flatten_with_path(like)
    expected = {_name(where): leaf for where, leaf in leaves}
    wrong = [f"{name} is missing" for name in expected if name not in flat]
    wrong += [f"{name} is not wanted" for name in flat if name not in expected]
    wrong += [
        f"{name} must be {tuple(leaf.shape)}, but is {tuple(flat[name].shape)}"
        for name, leaf in expected.items()
        if name in flat and flat[name].shape != leaf.shape
    ]
    if wrong:
        raise ValueError(f"checkpoint {path}: its tensors do not fit:\n  " + "\n  ".join(wrong))
    tensors = [flat[name].to(leaf.device, leaf.dtype) for name, leaf in expected.items()]
    return tree_unflatten(tensors, spec)


def _name(path: tuple[Any, ...]) -> str:
    """The way to a leaf, as `params.student.fc.weight`."""
    parts = {MappingKey: "key", GetAttrKey: "name", SequenceKey: "idx"}
    return ".".join(str(getattr(part, parts[type(part)])) for part in path)
