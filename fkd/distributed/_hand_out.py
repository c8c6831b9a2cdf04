"""A network's tensors from one rank to all, each to the ranks that keep a part of it."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fkd import _check
from fkd.checkpoint._file import File
from fkd.checkpoint._read import opened
from fkd.checkpoint._tree import misfit

Weights = Mapping[str, Tensor] | str | Path
"""A state_dict, or a file that `fkd.checkpoint.read` reads."""


@torch.no_grad()
def hand_out(
    module: nn.Module,
    weights: Weights | None,
    aliases: Mapping[str, Sequence[str]],
    kept: Collection[str],
    talk: dist.ProcessGroup,
    shards: dist.ProcessGroup,
) -> None:
    """Write the first rank's weights into a module whose parameters lie in parts on all ranks.

    `aliases` holds all names of a parameter by its first. Buffers of `kept` have values, which hold
    where no state_dict has them. Tensors go one by one, so no rank has more than one of them whole.
    Where one is wrong, all ranks raise the same ValueError.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    names = {name: aliases.get(name, [name]) for name in tensors}
    held: File | Mapping[str, Tensor] = {}
    fault = ""
    first = dist.get_rank(talk) == 0
    if first:
        try:
            held = _held(weights)
            fault = _misnamed(held, names, _transient(module) & set(kept))
        except ValueError as error:
            fault = str(error)
    _refuse(_told(talk, fault))
    for name, x in tensors.items():
        whole, fault = None, ""
        if first:
            try:
                whole, fault = _taken(held, names[name], x)
            except ValueError as error:
                fault = str(error)
        is_given, fault = _told(talk, [whole is not None, fault])
        _refuse(fault)
        if is_given:
            _deal(x, whole, shards)


def as_bytes(x: Tensor) -> Tensor:
    """A contiguous tensor's memory as a row of bytes, which every backend carries."""
    return x.contiguous().view(-1).view(torch.uint8)


def _held(weights: Weights | None) -> File | Mapping[str, Tensor]:
    if isinstance(weights, str | Path):
        return opened(weights)
    _check.mapping("sharded_teacher", weights=weights)
    assert weights is not None
    for name, x in weights.items():
        _check.tensor("sharded_teacher", **{name: x})
    return weights


def _transient(module: nn.Module) -> set[str]:
    """The names of the buffers that are in no state_dict."""
    return {
        f"{path}.{name}".lstrip(".")
        for path, part in module.named_modules()
        for name in part._non_persistent_buffers_set
    }


def _misnamed(held: Any, names: Mapping[str, Sequence[str]], optional: Collection[str]) -> str:
    """What is wrong with the names, or ""."""
    known = {alias for own in names.values() for alias in own}
    lines = [f"{name} is not wanted" for name in held if name not in known]
    for name, own in names.items():
        if name not in optional and not any(alias in held for alias in own):
            lines.append(f"{name} is missing")
    if not lines:
        return ""
    return "sharded_teacher: weights do not fit the network:\n  " + "\n  ".join(lines)


def _taken(held: Any, names: Sequence[str], x: Tensor) -> tuple[Tensor | None, str]:
    """The tensor that is held under one of these names or several, and what is wrong with it."""
    whole = None
    for name in names:
        if name not in held:
            continue
        other = held[name]
        if unfit := misfit(name, other, x):
            return None, f"sharded_teacher: weights do not fit the network:\n  {unfit}"
        if whole is not None and not torch.equal(whole, other):
            return None, (
                f"sharded_teacher: weights give {' and '.join(names)} different values, but they "
                "are one parameter of the network; leave all but one of them out"
            )
        whole = other
    return whole, ""


def _deal(x: Tensor, whole: Tensor | None, shards: dist.ProcessGroup) -> None:
    """Write rank 0's `whole` into `x`: all of it on each rank, or of a DTensor each one's rows."""
    from torch.distributed.tensor import DTensor  # late, for it takes a second

    own = x.to_local() if isinstance(x, DTensor) else x
    if whole is not None:
        whole = whole.to(own.device, own.dtype)
    if not isinstance(x, DTensor):
        row = as_bytes(own if whole is None else whole)
        dist.broadcast(row, group_src=0, group=shards)
        own.copy_(row.view(own.dtype).view(own.shape))
    elif whole is not None:
        parts = whole.chunk(
            dist.get_world_size(shards)
        )  # as Shard(0) deals rows: the last ranks may have none
        own.copy_(parts[0])
        for other, part in enumerate(parts[1:], start=1):
            if part.numel():
                dist.send(as_bytes(part), group_dst=other, group=shards)
    elif own.numel():
        row = torch.empty(own.nbytes, dtype=torch.uint8, device=own.device)
        dist.recv(row, group_src=0, group=shards)
        own.copy_(row.view(own.dtype).view(own.shape))


def _told(talk: dist.ProcessGroup, word: Any) -> Any:
    """The first rank's word, of JSON's types, on all ranks."""
    text = torch.frombuffer(bytearray(json.dumps(word).encode()), dtype=torch.uint8)
    length = torch.tensor(len(text))
    dist.broadcast(length, group_src=0, group=talk)
    if dist.get_rank(talk):
        text = torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(text, group_src=0, group=talk)
    return json.loads(text.numpy().tobytes())


def _refuse(fault: str) -> None:
    if fault:
        raise ValueError(fault)
