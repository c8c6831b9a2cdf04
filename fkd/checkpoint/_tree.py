"""A tree of tensors to a file and back, a leaf by the way to it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import (
    GetAttrKey,
    MappingKey,
    SequenceKey,
    tree_flatten_with_path,
    tree_structure,
    tree_unflatten,
)

from fkd.checkpoint._file import write
from fkd.checkpoint._read import opened


def save(path: str | Path, tree: Any, about: Mapping[str, Any] = {}) -> None:
    """Write a tree's leaves to `path`, as `write` does, each by the way to it
    (`params.student.fc.weight`).

    Raises what `write` raises, and ValueError where two leaves have one name.
    """
    write(path, flat(tree), about)


def load(path: str | Path, like: Any) -> Any:
    """The tree in a file, in the structure, dtypes and devices of `like`, with memory of its own.

    A leaf of another dtype is taken where both are floating point, both complex, or both whole
    numbers, and every one of its values is the same in the dtype of `like`: float32 goes into
    float64, float64 into float32 where nothing is rounded.

    Raises ValueError that names every leaf that is missing, not wanted, or of another shape or
    dtype, or the prefix that all of them have in the file and not in `like`, and what `read`
    raises.
    """
    tensors, expected = opened(path), flat(like)
    refuse_prefix(f"checkpoint {path}", tensors, expected)
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [f"{name} is not wanted" for name in tensors if name not in expected]
    leaves = {name: tensors[name] for name in expected if name in tensors}
    unfit = [misfit(name, x, expected[name]) for name, x in leaves.items()]
    refuse(f"checkpoint {path}", wrong + [line for line in unfit if line])
    placed = [_placed(leaves[name], leaf) for name, leaf in expected.items()]
    return tree_unflatten(placed, tree_structure(like))


def flat(tree: Any) -> dict[str, Tensor]:
    """A tree's leaves by the way to each; raises ValueError where two ways are one name."""
    leaves, _ = tree_flatten_with_path(tree)
    for where, leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"checkpoint: a tree holds tensors, but its {name_of(where)} is a "
                f"{type(leaf).__name__}"
            )
    names = [name_of(where) for where, _ in leaves]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"checkpoint: two leaves have the name {twice[0]!r}; give a key of one of them "
            "another name"
        )
    return dict(zip(names, (leaf for _, leaf in leaves), strict=True))


def name_of(way: Sequence[Any]) -> str:
    """The way to a leaf, as `params.student.fc.weight`."""
    parts = {MappingKey: "key", GetAttrKey: "name", SequenceKey: "idx"}
    return ".".join(str(getattr(part, parts[type(part)])) for part in way)


def misfit(name: str, x: Tensor, like: Tensor) -> str:
    """What is wrong with a tensor where one like another is wanted; "" where it fits."""
    if x.shape != like.shape:
        return f"{name} must be {tuple(like.shape)}, but is {tuple(x.shape)}"
    if x.dtype != like.dtype and not _is_same_in(x, like.dtype):
        return f"{name} must be {like.dtype}, and its values in {x.dtype} are not the same there"
    return ""


def _is_same_in(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether every value of a tensor is the same in another dtype of its kind."""
    if _kind(x.dtype) != _kind(dtype):
        return False
    cast = x.to(dtype)
    if x.is_complex():
        x, cast = torch.view_as_real(x), torch.view_as_real(cast)
    if x.is_floating_point():
        one, other = x.double(), cast.double()
        return bool(((one == other) | (one.isnan() & other.isnan())).all())
    return np.array_equal(cast.cpu().numpy(), x.cpu().numpy())  # which compares across signs


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "bool"
    return "complex" if dtype.is_complex else "real" if dtype.is_floating_point else "whole"


def _placed(x: Tensor, leaf: Tensor) -> Tensor:
    """A tensor with the dtype, the device and the strides of a leaf."""
    x = x.to(leaf.device, leaf.dtype)
    return x if x.stride() == leaf.stride() else torch.empty_like(leaf).copy_(x)


def refuse_prefix(where: str, names: Iterable[str], expected: Iterable[str]) -> None:
    """Raise where all names that are expected are there behind one prefix, and none by itself."""
    if prefix := _prefix(names, expected):
        raise ValueError(
            f"{where}: it holds all that is wanted with {prefix!r} before each name, as of a "
            "module within another; give these alone and without it: "
            f"{{name.removeprefix({prefix!r}): x for name, x in state.items() "
            f"if name.startswith({prefix!r})}}"
        )


def _prefix(names: Iterable[str], expected: Iterable[str]) -> str:
    """What stands before every expected name, of which none is there by itself; "" where nothing
    does."""
    names, expected = set(names), list(expected)
    if not expected or names & set(expected):
        return ""
    longest = max(expected, key=len)
    prefixes = (name.removesuffix(longest) for name in names if name.endswith(f".{longest}"))
    return next((p for p in prefixes if all(p + name in names for name in expected)), "")


def refuse(where: str, wrong: Sequence[str]) -> None:
    """Raise a ValueError of these lines where there are any."""
    if wrong:
        raise ValueError(f"{where}: its tensors do not fit:\n  " + "\n  ".join(wrong))
