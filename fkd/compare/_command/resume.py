"""The options of a run that goes on: those it began with, and what differs in those given now."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fkd.compare._command.parser import numbers, parser, read
from fkd.compare._store.folder import run_in

# The options on which no result depends: they may be others when a run goes on. Wherever images
# lie, that they are the same is seen by their content.
FREE = ("checkpoint_minutes", "data_ranks", "root")


def in_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in JSON's own types, as a file gives them back."""
    return json.loads(json.dumps(values))


def resumed(folder: Path, arguments: Sequence[str] | None) -> dict[str, Any]:
    """The options of the run in a folder, as the parser read them.

    Raises ValueError where there is no run to go on with, and where an option that is given beside
    --resume differs from the run's.
    """
    then = kept_options("--resume", folder)
    only_given = parser()
    for action in only_given._actions:
        action.default = argparse.SUPPRESS
    now = in_json(read(only_given, arguments))
    del now["resume"]
    differing = differences(then, then | now)
    if differing:
        raise ValueError(
            f"--resume: {'; '.join(differing)}: leave out what differs, or start a run of its own"
        )
    return then | now


def kept_options(where: str, folder: Path) -> dict[str, Any]:
    """The options in a folder's run.json; raises ValueError, which begins with `where`, for any
    other folder."""
    if not folder.is_dir():
        raise ValueError(f"{where}: there is no folder {folder}; give the folder of a run")
    entry = run_in(folder, where)
    if entry is None:
        raise ValueError(
            f"{where}: {folder} holds no run, for it has no run.json; give the folder of a run"
        )
    then = entry["options"]
    wrong = _wrong(then)
    if wrong:
        raise ValueError(
            f"{where}: {folder / 'run.json'} does not hold this version's options "
            f"({'; '.join(wrong)}); go on with what began it"
        )
    above = _run_above(folder)
    if above is not None and above["options"] == then:
        raise ValueError(
            f"{where}: {folder} is a part of the run in {folder.parent}; give that folder"
        )
    return then


def _run_above(folder: Path) -> dict[str, Any] | None:
    """What the run.json of the folder above says, where it is a run's."""
    try:
        return run_in(folder.absolute().parent)
    except ValueError:
        return None


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two runs' options, in words; nothing where one may go on as the other.

    >>> differences({"epochs": 10, "seeds": "8"}, {"epochs": 20, "seeds": "8"})
    ['the run has --epochs 10, and now --epochs 20 is asked for']
    """
    return [
        f"the run has {_told(name, then[name])}, and now {_told(name, now[name])} is asked for"
        for name in then
        if name not in FREE and then[name] != now[name]
    ]


def _told(name: str, value: Any) -> str:
    """An option as it is written: `--epochs 10`, or `no --lr`."""
    flag = f"--{name.replace('_', '-')}"
    if value is None or value is False or value == []:
        return f"no {flag}"
    if value is True:
        return flag
    if isinstance(value, list):
        comma = not isinstance(value[0], str)
        return f"{flag} {(',' if comma else ' ').join(map(str, value))}"
    return f"{flag} {value}"


def _wrong(then: Any) -> list[str]:
    """What makes a mapping no options of this version's parser: each name, and why."""
    if then is None:
        return ["it was begun from Python"]
    if not isinstance(then, dict):
        return [f"they are {then!r:.40}"]
    actions = {action.dest: action for action in parser()._actions}
    del actions["help"], actions["resume"]
    wrong = [f"{name} is missing" for name in actions if name not in then]
    wrong += [f"{name} is not known" for name in then if name not in actions]
    wrong += [
        f"{name} is {then[name]!r:.40}"
        for name, action in actions.items()
        if name in then and not _is_of(action, then[name])
    ]
    return wrong


def _is_of(action: argparse.Action, value: Any) -> bool:
    """Whether an option may have this value, in JSON's own types."""
    if value is None:
        return action.default is None
    if action.nargs == "+":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if action.type is numbers:
        return isinstance(value, list) and all(_is_number(item) for item in value)
    if action.const is True:
        return isinstance(value, bool)
    if action.type is float:
        return _is_number(value)
    if action.type is int:
        return _is_number(value) and isinstance(value, int)
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
