"""What a thing is, tensors, data, a network or its transform, as one SHA-256 of its content."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fkd.checkpoint import checksum
from fkd.model import Model, state_dict

PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)


def digest(value: Any) -> bytes:
    """The SHA-256 of a value's content, the same in every process.

    Tensors count by dtype, shape and bytes, wherever they lie; dataclasses, mappings, sequences,
    partials and bound methods by their parts; functions and classes by their qualified name. A
    module counts by the classes, `extra_repr` and plain attributes of its parts, and its tensors; a
    `Model` by its module without the tensors, and its dtype. What code does is not looked at.

    Raises ValueError for a lambda, a function within a function, and any other object, for none
    of these has a description that means the same in another process.

    >>> digest({"a": torch.ones(2)}) == digest({"a": torch.ones(2)}) != digest({"a": torch.ones(1)})
    True
    """
    if isinstance(value, PLAIN):
        return _sha(type(value).__name__, repr(value).encode())
    if isinstance(value, Tensor):
        return _sha("tensor", checksum("", value))
    if isinstance(value, Model):
        return _sha("model", _structure(_built(value)), digest(value.dtype))
    if isinstance(value, nn.Module):
        tensors = state_dict(dict(value.named_parameters()), dict(value.named_buffers()))
        return _sha("module", _structure(value), digest(tensors))
    if isinstance(value, Mapping):
        pairs = sorted((digest(key), digest(part)) for key, part in value.items())
        return _sha("mapping", *(part for pair in pairs for part in pair))
    if isinstance(value, list | tuple):
        return _sha("sequence", *map(digest, value))
    if isinstance(value, partial):
        return _sha("partial", *map(digest, (value.func, value.args, value.keywords)))
    if isinstance(value, MethodType):
        return _sha("method", digest(value.__self__), value.__name__.encode())
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return _sha("name", _name(value))
    if is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return _sha("dataclass", _name(type(value)), digest(parts))
    raise ValueError(
        f"digest: a {type(value).__qualname__} has no description that is the same in every "
        "process; put a function of a module, a frozen dataclass or an nn.Module in its place"
    )


def _sha(kind: str, *parts: bytes) -> bytes:
    sha = hashlib.sha256(kind.encode())
    for part in parts:
        sha.update(hashlib.sha256(part).digest())
    return sha.digest()


def _name(thing: Any) -> bytes:
    name = f"{thing.__module__}:{thing.__qualname__}"
    if "<" in name:
        raise ValueError(
            f"digest: {name} has no name that means the same in every process; put a function or a "
            "class of a module in its place"
        )
    return name.encode()


def _built(model: Model) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return model.build()


def _structure(module: nn.Module) -> bytes:
    """The parts of a module without their tensors: what each is, and the plain attributes that its
    author put on it."""
    own = vars(nn.Module())
    parts = []
    for name, part in module.named_modules():
        kind = f"{type(part).__module__}:{type(part).__qualname__}"
        attributes = {key: _plain(v) for key, v in vars(part).items() if key not in own}
        parts.append((name, kind, part.extra_repr(), attributes))
    return digest(parts)


def _plain(value: Any) -> list[Any]:
    """The leaves of an attribute, of which those that are neither numbers nor words count by the
    name of their class."""
    plain = (*PLAIN, Tensor)
    return [v if isinstance(v, plain) else type(v).__qualname__ for v in tree_leaves(value)]
