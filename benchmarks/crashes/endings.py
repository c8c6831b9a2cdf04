"""What a run ended with, and how it differs from what another did."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fkd import checkpoint
from fkd.compare import Results


@dataclass(frozen=True)
class Ending:
    """All that was measured but for what a clock has a part in, and every tensor that was kept."""

    measured: dict[str, Any]
    tensors: dict[str, Tensor]


def ending(folder: Path) -> Ending:
    """What a run in a folder has ended with; raises ValueError for files that are damaged."""
    measured = Results.read(folder).to_json()
    for name in ("environment", "seconds", "resumed"):
        del measured[name]
    measured["config"].pop("output", None)
    for method in measured["methods"].values():
        del method["seconds"]
    tensors = {
        f"{file.name}.{name}": x
        for file in sorted(folder.glob("*.safetensors"))
        for name, x in checkpoint.read(file).items()
    }
    return Ending(measured, tensors)


def differences(expected: Ending, given: Ending) -> list[str]:
    """In words, where two endings are not the same bit for bit; nothing where they are."""
    found = _differing(expected.measured, given.measured, "results")
    for name in dict.fromkeys([*expected.tensors, *given.tensors]):
        one, other = expected.tensors.get(name), given.tensors.get(name)
        if one is None or other is None:
            found.append(f"{name} is only in {'the killed run' if one is None else 'the whole'}")
        elif one.dtype != other.dtype or one.shape != other.shape or not _same_bits(one, other):
            found.append(f"{name} has other numbers")
    return found


def _same_bits(one: Tensor, other: Tensor) -> bool:
    flat = [x.contiguous().flatten().view(torch.uint8) for x in (one, other)]
    return torch.equal(*flat)


def _differing(one: Any, other: Any, name: str) -> list[str]:
    if one == other:
        return []
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line
            for key in dict.fromkeys([*one, *other])
            for line in _differing(one.get(key), other.get(key), f"{name}.{key}")
        ]
    return [f"{name} is {other!r:.60}, and not {one!r:.60}"]
