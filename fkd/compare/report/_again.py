"""How a run is made again: its command, from what its results say was asked."""

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from fkd.compare._command.options import COMPILE
from fkd.compare._command.parser import numbers, parser
from fkd.compare._command.resume import in_json
from fkd.compare.recipes import OPTIMIZERS, RECIPES

WRITTEN = ("methods", "seeds", "epochs")  # always, whatever the defaults are one day
FREE = ("help", "resume", "output", "device", "checkpoint_minutes", "data_ranks")
PATHS = ("root", "teacher")  # told by their last name: where they lie is the machine's own


def command(config: Mapping[str, Any]) -> str | None:
    """The command line that asks for the same, or None where a run was begun from Python.

    >>> command({"dataset": "digits", "methods": ["ce"], "seeds": [0, 1], "epochs": 3})
    'python -m fkd.compare --methods ce --seeds 2 --epochs 3'
    """
    if "dataset" not in config:
        return None
    recipe = config.get("recipe")
    whole = parser(recipe if recipe in RECIPES else None)
    words = ["python", "-m", "fkd.compare"]
    for action in whole._actions:
        name = action.dest
        if name in FREE or name not in config or action.option_strings[0] == "--no-compile":
            continue
        value = _as_written(name, config[name])
        default = in_json({name: whole.get_default(name)})[name]
        if value is None or (value == default and name not in WRITTEN):
            continue
        words.append(action.option_strings[0])
        if action.nargs == "+":
            words += [str(item) for item in value]
        elif action.type is numbers:
            words.append(",".join(f"{number!r}" for number in value))
        elif action.const is not True:
            words.append(str(value))
    return shlex.join(words)


def cut(config: Mapping[str, Any]) -> list[str]:
    """The options of the command whose paths are to be given whole."""
    return [f"--{name}" for name in PATHS if name in config and _last(config[name]) != config[name]]


def shown(name: str, value: Any) -> str:
    """A setting's value in words.

    >>> shown("seeds", [0, 1]), shown("sweep", {"lr": [0.1, 0.2]}), shown("lr", None)
    ('0, 1', 'lr 0.1, 0.2', '–')
    """
    if value is None or value in ([], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{key} {shown(name, inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(shown(name, inner) for inner in value)
    return str(_last(value) if name in PATHS else value)


def _as_written(name: str, value: Any) -> Any:
    """A value as the parser reads it; None where this version has no word for it."""
    if name == "vary":
        return ",".join(value) or None
    if name == "seeds":
        if any(isinstance(seed, list) for seed in value):  # the levels of what varies say which
            return None
        counted = value == list(range(len(value)))
        return f"{len(value)}" if counted else ",".join(map(str, value)) + "," * (len(value) == 1)
    if name in ("set", "sweep", "layer", "teacher_layer"):
        return [f"{key}={_commas(inner)}" for key, inner in value.items()]
    if name == "compile":
        words = {meant: word for word, meant in COMPILE.items()} | {True: "yes", False: "no"}
        return words.get(value)
    if name == "optimizer":
        return value.lower() if value and value.lower() in OPTIMIZERS else None
    return _last(value) if name in PATHS else value


def _commas(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _last(path: Any) -> Any:
    """A path within the current folder as it is, and the last name of any other."""
    if not isinstance(path, str) or not (path.startswith("~") or PurePath(path).is_absolute()):
        return path
    return PurePath(path).name or path
