"""What a thing is, in JSON's types: a digest, or where it has none what is known of its parts.

So a weight that changed is seen beside a loss that is a lambda.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType
from typing import Any

from fkd._digest import digest

Described = str | dict[str, Any]  # whose values are described, too


def described(value: Any) -> Described:
    """The digest of a value, or the parts that it has. Of a lambda, a function within a function
    and an object that can be called these are its name, its code and what it holds; of any other
    thing without a digest the kind alone is known.

    >>> described({"scale": lambda step: 0.5}) == described({"scale": lambda step: 0.9})
    False
    """
    try:
        return digest(value).hex()
    except ValueError:
        return {name: described(part) for name, part in _parts(value).items()} or _kind(value)


def _parts(value: Any) -> dict[str, Any]:
    """The parts of what has no digest, by name; of what may hold itself no more than is told."""
    if isinstance(value, Mapping):
        return {str(key): part for key, part in value.items()}
    if isinstance(value, list | tuple):
        return {str(number): part for number, part in enumerate(value)}
    if isinstance(value, partial):
        return {"function": value.func, "arguments": value.args, "keywords": value.keywords}
    if isinstance(value, FunctionType):
        held = [cell.cell_contents for cell in value.__closure__ or () if _is_full(cell)]
        defaults = (value.__defaults__, value.__kwdefaults__)
        return {
            "name": f"{value.__module__}:{value.__qualname__}",
            "code": _code(value.__code__),
            "holds": tuple(map(_shallow, held)),
            "defaults": _shallow(defaults),
        }
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if callable(value):
        own = getattr(value, "__dict__", {})
        return {"kind": _kind(value)} | {name: _shallow(part) for name, part in own.items()}
    return {}


def _shallow(value: Any) -> str:
    """The digest of a value, or its kind."""
    try:
        return digest(value).hex()
    except ValueError:
        return _kind(value)


def _kind(value: Any) -> str:
    return f"{type(value).__module__}:{type(value).__qualname__}"


def _is_full(cell: Any) -> bool:
    """Whether a function's cell holds anything yet."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _code(code: CodeType) -> str:
    """The SHA-256 of what a function does, wherever it stands in its file."""
    sha = hashlib.sha256(code.co_code)
    for part in (code.co_names, *map(_constant, code.co_consts)):
        sha.update(repr(part).encode("utf-8", "backslashreplace"))
    return sha.hexdigest()


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return _code(value)
    if isinstance(value, frozenset):  # whose order is another in each process
        return repr(sorted(map(repr, value)))
    return repr(value)
