"""The modules of the user's own that a run takes its methods, networks and data from, and what
their code was: a digest counts a function by its name, and says nothing of what it does."""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

from torch import nn

import fkd
from fkd.compare._setup.reading import module_of
from fkd.compare._setup.task import Task

# Whose versions are told, or are nobody's own.
INSTALLED = [
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
    Path(fkd.__file__).parent,
]


def own_code(task: Task) -> dict[str, str]:
    """The SHA-256 of what each of those modules does, whatever its comments, by its name."""
    train, test = task.data.train, task.data.test
    read = [getattr(one, part, None) for one in (train, test) for part in ("augment", "transform")]
    networks = [module_of(task.teacher.build), module_of(task.student.build)]
    builds = [task.teacher.build, task.student.build]
    names = set(_modules([task.methods, task.recipe.schedules, read, networks, builds], depth=8))
    code = {name: _code(name) for name in sorted(names)}
    return {name: text for name, text in code.items() if text is not None}


def _modules(value: Any, depth: int) -> Iterator[str]:
    """The names of the modules that functions and classes among the parts of a value are from."""
    if depth == 0:  # of what holds itself
        return
    parts: list[Any] = []
    if isinstance(value, FunctionType | type):
        yield value.__module__
    elif isinstance(value, nn.Module):
        yield from {type(part).__module__ for part in value.modules()}
    elif isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, list | tuple):
        parts = list(value)
    elif isinstance(value, partial):
        parts = [value.func, value.args, value.keywords]
    elif isinstance(value, MethodType):
        parts = [value.__self__]
    elif callable(value) or is_dataclass(value):
        yield type(value).__module__
        if is_dataclass(value):
            parts = [getattr(value, field.name) for field in fields(value)]
    for part in parts:
        yield from _modules(part, depth - 1)


def _code(name: str) -> str | None:
    """What a module of the user's own does; None of any other, and where it cannot be read."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or any(Path(file).is_relative_to(folder) for folder in INSTALLED):
        return None
    try:
        # Of a tree's own form each Python has another.
        text = ast.unparse(ast.parse(Path(file).read_bytes()))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
