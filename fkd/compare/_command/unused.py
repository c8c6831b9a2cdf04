"""Options that would change nothing beside the others, or that say one thing twice: refused, for
whoever gave one believes that it counts."""

from collections.abc import Mapping
from typing import Any

# What reads and shapes data by name, and is not asked where --data builds its own.
OF_NAMED_DATA = ("dataset", "root", "image_size", "channels", "mean", "std")
# By an option: that without which it changes nothing, and what gives it a meaning.
GOES_WITH = {
    "validation": ("sweep", "--sweep, whose settings are chosen on it"),
    "max_seeds": ("resolution", "--resolution, which trains more seeds"),
    "teacher_member": ("teacher", "--teacher, of whose students it chooses one"),
}
# Options that are a number of the optimizer's, and its name.
NUMBERS = {"lr": "lr", "weight_decay": "weight_decay", "clip_norm": "max_norm", "ema": "ema_decay"}


def check_unused(values: Mapping[str, Any], default: Mapping[str, Any]) -> None:
    """Raise ValueError for an option that was given and changes nothing, or contradicts another.

    `values` are the options as the parser reads them, `default` what they are where nobody gives
    them.
    """
    given = {name for name, value in values.items() if value != default[name]}
    for name in OF_NAMED_DATA:
        if name in given and values["data"] is not None:
            raise ValueError(
                f"{_flag(name)}: it is of a data set by name, but --data {values['data']} builds "
                "its own; leave one of them out"
            )
    if "root" in given and values["dataset"] == "digits":
        raise ValueError(
            f"--root: the digits lie in no folder, and {values['root']} would not be read; add "
            "--dataset folder for images of your own, or leave --root out"
        )
    for name, (other, why) in GOES_WITH.items():
        if name in given and other not in given:
            raise ValueError(f"{_flag(name)}: it goes with {why}; give both or neither")
    if "milestones" in given and values["schedule"] != "steps":
        raise ValueError(
            f"--milestones: they are of --schedule steps, but the schedule is "
            f"{values['schedule']}; give both or neither"
        )
    chosen = {item.partition("=")[0] for item in values["set"]}
    for name, number in NUMBERS.items():
        if name in given and number in chosen:
            raise ValueError(f"--set: {number} is given by {_flag(name)} too; leave one out")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
