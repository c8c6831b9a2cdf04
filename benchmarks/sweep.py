"""Grids of hyperparameters: read from the command line, laid out as members, chosen from."""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils._pytree import tree_map

from fkd.train import Trained

Setting = dict[str, float]  # a value by the name of each hyperparameter that is swept


def parse(items: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """`["lr=1e-4,1e-3", "kd.weight=0.5"]` as the values of each name."""
    swept: dict[str, tuple[float, ...]] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            values = tuple(float(part) for part in text.split(",") if part.strip())
        except ValueError:
            values = ()
        if not name or not values or not all(map(math.isfinite, values)):
            raise ValueError(f"--sweep: it takes items such as lr=1e-4,3e-4, but got {item!r}")
        if name in swept or len(set(values)) != len(values):
            raise ValueError(f"--sweep: each name and value is to be given once, but got {item!r}")
        swept[name] = values
    return swept


def settings(swept: Mapping[str, Sequence[float]], names: Collection[str]) -> list[Setting]:
    """Every setting of those swept hyperparameters that are among `names`; of none, one: {}."""
    axes = {name: values for name, values in swept.items() if name in names}
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def members(
    grid: Sequence[Setting], seeds: Sequence[int]
) -> tuple[list[int], dict[str, list[float]]]:
    """The seeds and hyperparameters of all members: every seed of the first setting, and so on."""
    hyper = {name: [setting[name] for setting in grid for _ in seeds] for name in grid[0]}
    return list(seeds) * len(grid), hyper


def choose(
    grid: Sequence[Setting], trained: Trained, validation_images: int
) -> tuple[Trained, dict[str, Any]]:
    """The members of the best setting alone, and what results.json says of all settings.

    The best is the one whose seeds together have the most validation images right after the last
    epoch, and the first of those that are equal. A setting with a diverged member is never chosen;
    that member's accuracy is None. Raises FloatingPointError where every setting has one.
    """
    curves = {name: np.array(curve) for name, curve in trained.curves.items()}  # [epochs, members]
    seeds = curves["loss"].shape[1] // len(grid)
    finite = np.isfinite(list(curves.values())).all((0, 1)).reshape(len(grid), seeds)
    right = np.rint(curves["validation_accuracy"][-1] * validation_images).reshape(finite.shape)
    totals = np.where(finite.all(1), right.sum(1), -1)
    chosen = int(totals.argmax())
    if totals[chosen] < 0:
        raise FloatingPointError(
            f"of {len(grid)} settings each has a seed whose loss became infinite or no number; "
            "sweep a lower learning rate or lower weights"
        )
    accuracies = [
        [float(value) if fine else None for value, fine in zip(*row, strict=True)]
        for row in zip(curves["validation_accuracy"][-1].reshape(finite.shape), finite, strict=True)
    ]
    entry = {
        "settings": [
            {"hyper": setting, "validation_accuracy": values}
            for setting, values in zip(grid, accuracies, strict=True)
        ],
        "chosen": chosen,
    }
    own = slice(chosen * seeds, (chosen + 1) * seeds)
    kept = {name: curve[:, own].tolist() for name, curve in curves.items()}
    state = tree_map(lambda leaf: leaf[own], trained.state)
    return trained._replace(state=state, curves=kept), entry


def axes(entry: Mapping[str, Any]) -> dict[str, list[float]]:
    """The values of each hyperparameter of results.json's entry, in rising order."""
    grid = [setting["hyper"] for setting in entry["settings"]]
    return {name: sorted({setting[name] for setting in grid}) for name in grid[0]}


def describe(setting: Setting) -> str:
    """`lr 0.001, kd.temperature 4`."""
    return ", ".join(f"{name} {value:g}" for name, value in setting.items())


def tell(name: str, entry: Mapping[str, Any]) -> list[str]:
    """A method's choice in a line, and a warning for each range that it stands at the edge of."""
    best = entry["settings"][entry["chosen"]]
    accuracy = 100 * float(np.mean(best["validation_accuracy"]))
    diverged = sum(None in setting["validation_accuracy"] for setting in entry["settings"])
    lines = [
        f"{name}: {describe(best['hyper'])}: validation {accuracy:.2f} %, the best of "
        f"{len(entry['settings'])} settings" + (f", {diverged} diverged" if diverged else "")
    ]
    for swept, values in axes(entry).items():
        chosen = best["hyper"][swept]
        if len(values) > 2 and chosen in (values[0], values[-1]):
            lines.append(
                f"{name}: {swept} {chosen:g} is at the edge of the swept {values[0]:g} to "
                f"{values[-1]:g}; a wider range may hold a better one"
            )
    return lines
