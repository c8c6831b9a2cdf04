"""An ensemble's tree in a file by its members, so that each can be read alone."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_structure, tree_unflatten

from fkd import _check
from fkd.checkpoint._file import File, write
from fkd.checkpoint._read import opened
from fkd.checkpoint._tree import flat, misfit, refuse


def save_members(
    path: str | Path,
    tree: Any,
    about: Mapping[str, Any] = {},
    name: str = "",
    *,
    first: int = 0,
) -> None:
    """Write a stacked tree to `path`, as `write` does, under the names that `by_member` gives."""
    write(path, by_member(tree, name, first=first), about)


def load_members(
    path: str | Path | Sequence[str | Path],
    like: Any,
    members: Sequence[int] | None = None,
    name: str = "",
) -> Any:
    """The members in a file, or in the files of several processes, as one stacked tree, as
    `of_members` gives it; of safetensors files no other member is read.

    Raises what `of_members` and `read` raise, and ValueError where two files hold one tensor.
    """
    return _stacked(f"checkpoint {path}", opened(path), like, members, name)


def by_member(tree: Any, name: str = "", *, first: int = 0) -> dict[str, Tensor]:
    """Every row of every leaf of a stacked tree by its name: views, written when they are saved.

    A name is the member's number and the way to the leaf, `0003.params.student.fc.weight`, behind
    `name` where it is given: `kd.0003.params.student.fc.weight`. Members are numbered from `first`
    on, which is where those of one process of several begin.

    Raises ValueError for leaves that have not one member axis, for a `first` below zero, and where
    two leaves have one name.

    >>> import torch
    >>> list(by_member({"w": torch.ones(2, 3)}, "kd", first=4))
    ['kd.0004.w', 'kd.0005.w']
    """
    _check.count("by_member", least=0, first=first)
    leaves = flat(tree)
    count = _count("by_member", leaves)
    return {
        _key(name, first + k, way): leaf[k] for k in range(count) for way, leaf in leaves.items()
    }


def members(path: str | Path | Sequence[str | Path], name: str = "") -> list[int]:
    """The numbers of the members in a file, or in the files of several processes, in rising order;
    of safetensors files the headers alone are read.

    Raises what `read` raises, and ValueError for a tensor that is no member's.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_members(f"{folder}/x.safetensors", {"w": torch.ones(2, 3)}, first=4)
    ...     members(f"{folder}/x.safetensors")
    [4, 5]
    """
    held, wrong = _held(opened(path), name)
    refuse(f"checkpoint {path}", wrong)
    return sorted(held)


def only_members(
    path: str | Path | Sequence[str | Path], members: Sequence[int], name: str = ""
) -> dict[str, Tensor]:
    """The tensors of some members in a file, or in the files of several processes, by their names
    there, for `of_members`; of safetensors files no other is read.

    Raises what `read` raises, and ValueError for a member that no file holds, and where two files
    hold one tensor.
    """
    tensors, where = opened(path), f"checkpoint {path}"
    _check.whole(where, **{f"members[{n}]": k for n, k in enumerate(members)})
    held, wrong = _held(tensors, name)
    refuse(where, wrong + [f"member {k} is missing" for k in members if k not in held])
    keys = [_key(name, k, way) for k in members for way in held[k]]
    return {key: tensors[key] for key in keys}


def of_members(
    tensors: Mapping[str, Tensor], like: Any, members: Sequence[int] | None = None, name: str = ""
) -> Any:
    """The stacked tree whose rows `tensors` holds under the names of `by_member`, freshly stacked.

    `like` is a stacked tree of the structure, the rows' shapes, the dtypes and the devices. With
    `members` None the members are as many as in `like`, and all of them; otherwise they are those
    of these numbers, in this order, and others are left aside. So are tensors under other names
    than `name`. A row of another dtype is taken as `load` takes a leaf.

    Raises ValueError that names every member and every leaf that is missing, not wanted, or of
    another shape or dtype.

    >>> import torch
    >>> tree = {"w": torch.tensor([1, 2, 3])}
    >>> of_members(by_member(tree), like=tree, members=[2, 0])
    {'w': tensor([3, 1])}
    """
    return _stacked("of_members", tensors, like, members, name)


def _stacked(
    where: str,
    tensors: File | Mapping[str, Tensor],
    like: Any,
    members: Sequence[int] | None,
    name: str,
) -> Any:
    expected = flat(like)
    count = _count(where, expected)
    held, wrong = _held(tensors, name)
    if members is None:
        members = range(count)
        wrong += [f"member {k} is not wanted" for k in sorted(held) if k >= count]
    _check.whole(where, **{f"members[{n}]": k for n, k in enumerate(members)})
    wrong += [f"member {k} is missing" for k in dict.fromkeys(members) if k not in held]
    present = {k: held[k] for k in members if k in held}
    whose: defaultdict[str, set[int]] = defaultdict(set)  # the members that a line is about
    for k, ways in present.items():
        for way in sorted(expected.keys() ^ ways):
            whose[f"{way} is missing" if way in expected else f"{way} is not wanted"].add(k)
    stacked = {way: x.new_empty(len(members), *x.shape[1:]) for way, x in expected.items()}
    for way, rows in stacked.items():
        for n, k in enumerate(members):
            if way in present.get(k, ()):
                row = tensors[_key(name, k, way)]
                if unfit := misfit(way, row, rows[n]):
                    whose[unfit].add(k)
                else:
                    rows[n] = row.to(rows.dtype)
    for line, ks in whose.items():
        some = f" (members {', '.join(map(str, sorted(ks)))})"
        wrong.append(line if ks == present.keys() else line + some)
    refuse(where, wrong)
    return tree_unflatten(list(stacked.values()), tree_structure(like))


def _held(tensors: File | Mapping[str, Tensor], name: str) -> tuple[dict[int, set[str]], list[str]]:
    """The ways to the leaves of each member under a name, and the lines of what is none."""
    prefix = f"{name}." if name else ""
    held: dict[int, set[str]] = {}
    wrong = []
    for key in tensors:
        if key.startswith(prefix):
            parts = re.fullmatch(r"(\d{4}|[1-9]\d{4,})(?:\.(.+))?", key[len(prefix) :], re.DOTALL)
            if parts:
                held.setdefault(int(parts[1]), set()).add(parts[2] or "")
            else:
                wrong.append(f"{key} is not wanted")
    return held, wrong


def _key(name: str, member: int, way: str) -> str:
    return ".".join(part for part in (name, f"{member:04d}", way) if part)


def _count(where: str, leaves: Mapping[str, Tensor]) -> int:
    """How many members the leaves hold, each on its first axis."""
    if not leaves:
        raise ValueError(f"{where}: the tree must hold a leaf, but it holds none")
    sizes = {way: len(leaf) if leaf.ndim else None for way, leaf in leaves.items()}
    first = next(iter(sizes.values()))
    for way, size in sizes.items():
        if size is None or size != first:
            raise ValueError(
                f"{where}: the first axis of every leaf must be the members', but {way} is "
                f"{tuple(leaves[way].shape)} and {next(iter(leaves))} "
                f"{tuple(next(iter(leaves.values())).shape)}"
            )
    return first or 0
