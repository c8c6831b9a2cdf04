"""What makes a run the same run: what was asked, of which networks, on which data."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fkd._digest import digest
from fkd.compare._setup.task import Task
from fkd.compare._store.described import described
from fkd.compare._store.own_code import own_code
from fkd.data import Source

# On the first three no result depends, but for rounding on the third. Code may do the same after a
# change, so that a run goes on, and is told.
FREE = ("config.output", "config.root", "config.data_ranks", "code")
# What differs is told in these words where the two values say nothing to a person.
WORDS = {
    "data.train": "the training examples",
    "data.test": "the test examples",
    "data.validation": "the validation examples",
    "teacher": "the teacher's parameters",
}


def identity(
    task: Task, config: Mapping[str, Any], teacher: Mapping[str, Tensor] | None
) -> dict[str, Any]:
    """All that the results of a run depend on, but for the machine and the versions.

    `config` is what was asked in numbers and words, `teacher` the state_dict that was given. Of a
    function that stands in a module its name counts, and of one without a name of its own, as a
    schedule that is a lambda, its code.
    """
    sources = {"train": task.data.train, "test": task.data.test, "validation": task.validation}
    optimizer = task.recipe.optimizer
    return {
        "config": dict(config),
        "methods": {name: described(method) for name, method in task.methods.items()},
        "optimizer": described(optimizer),
        "schedules": {name: described(one) for name, one in task.recipe.schedules.items()},
        "networks": {
            "teacher": described(task.teacher.model),
            "student": described(task.student.model),
        },
        "data": {name: source.digest() for name, source in sources.items() if source is not None},
        "read": {name: _reading(source) for name, source in sources.items() if source is not None},
        "teacher": None if teacher is None else digest(dict(teacher)).hex(),
        "code": own_code(task),
    }


def differences(then: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two identities, in words; nothing where they are one.

    >>> differences({"config": {"epochs": 10}}, {"config": {"epochs": 20}})
    ['config.epochs was 10, and is 20']
    """
    if name in FREE or then == now:
        return []
    if isinstance(then, dict) and isinstance(now, dict):
        prefix = f"{name}." if name else ""
        return [
            line
            for key in dict.fromkeys([*then, *now])
            for line in differences(then.get(key), now.get(key), f"{prefix}{key}")
        ]
    if name in WORDS:
        return [f"{WORDS[name]} are others"]
    if _is_digest(then) or _is_digest(now):
        return [f"{name} is another"]
    return [f"{name} was {then!r:.100}, and is {now!r:.100}"]


def _reading(source: Source) -> dict[str, Any]:
    """What is done to a source's examples when they are read, which its digest leaves out."""
    done = {name: getattr(source, name, None) for name in ("augment", "transform", "mix")}
    return {name: described(function) for name, function in done.items()}


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64
