"""Grids of hyperparameters: laid out as members, chosen from, and told."""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fkd.compare._counted import counted
from fkd.compare.results import SettingResults, SweepResults
from fkd.ensemble import Seed

Setting = dict[str, float]  # a value by the name of each hyperparameter that is swept


def settings(swept: Mapping[str, Sequence[float]], names: Collection[str]) -> list[Setting]:
    """Every setting of those swept hyperparameters that are among `names`; of none, one: {}.

    >>> settings({"lr": [1.0, 2.0], "kd.weight": [0.5]}, ["lr"])
    [{'lr': 1.0}, {'lr': 2.0}]
    """
    axes = {name: values for name, values in swept.items() if name in names}
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def members(
    grid: Sequence[Setting], seeds: Sequence[Seed]
) -> tuple[list[Seed], dict[str, list[float]]]:
    """The seeds and hyperparameters of all members: every seed of the first setting, and so on.

    >>> members([{"lr": 1.0}, {"lr": 2.0}], [7, 9])
    ([7, 9, 7, 9], {'lr': [1.0, 1.0, 2.0, 2.0]})
    """
    hyper = {name: [setting[name] for setting in grid for _ in seeds] for name in grid[0]}
    return list(seeds) * len(grid), hyper


def choose(
    grid: Sequence[Setting],
    accuracy: Sequence[float],
    finite: Sequence[bool],
    examples: int,
) -> SweepResults:
    """The best setting of all, from each member's accuracy on a validation split of `examples`.

    The best is the one whose seeds together have the most examples right, and the first of those
    that are equal. A setting with a member that is not finite, or whose accuracy is no number, is
    never chosen. Raises FloatingPointError where every setting has one.
    """
    by_setting = np.array(accuracy, dtype=float).reshape(len(grid), -1)
    fine = np.array(finite).reshape(by_setting.shape) & np.isfinite(by_setting)
    # Whole numbers, for sums of rounded shares are not equal where they should be.
    right = np.rint(np.where(fine, by_setting, 0) * examples).sum(1)
    totals = np.where(fine.all(1), right, -1)
    chosen = int(totals.argmax())
    if totals[chosen] < 0:
        raise FloatingPointError(
            f"each of {counted(len(grid), 'setting')} has a seed that is not finite; sweep a lower "
            "learning rate or lower weights"
        )
    rows = [
        SettingResults(
            setting,
            [float(value) if good else None for value, good in zip(*columns, strict=True)],
        )
        for setting, *columns in zip(grid, by_setting, fine, strict=True)
    ]
    return SweepResults(rows, chosen)


def with_tests(choice: SweepResults, accuracy: Sequence[float | None]) -> SweepResults:
    """The choice with each member's accuracy on the test split, which it was made without."""
    rows = np.array(accuracy, dtype=object).reshape(len(choice.settings), -1).tolist()
    tested = [
        replace(setting, test_accuracy=row)
        for setting, row in zip(choice.settings, rows, strict=True)
    ]
    return SweepResults(tested, choice.chosen)


def members_of(choice: SweepResults) -> slice:
    """The chosen setting's members among all."""
    seeds = len(choice.best.validation_accuracy)
    return slice(choice.chosen * seeds, (choice.chosen + 1) * seeds)


def describe(setting: Setting) -> str:
    """A setting in words.

    >>> describe({"lr": 0.001, "kd.temperature": 4.0})
    'lr 0.001, kd.temperature 4'
    """
    return ", ".join(f"{name} {value:g}" for name, value in setting.items())


def tell(name: str, choice: SweepResults) -> list[str]:
    """A method's choice in a line, and a warning for each range that it stands at the edge of."""
    accuracy = 100 * mean(choice.best)
    diverged = sum(setting.diverged for setting in choice.settings)
    settings = counted(len(choice.settings), "setting")
    lines = [
        f"{name}: {describe(choice.best.hyper)}: validation {accuracy:.2f} %, the best of "
        f"{settings}{f', {diverged} diverged' if diverged else ''}"
    ]
    for swept, values in choice.axes.items():
        chosen = choice.best.hyper[swept]
        if len(values) > 2 and chosen in (values[0], values[-1]):
            lines.append(
                f"{name}: {swept} {chosen:g} is at the edge of the swept {values[0]:g} to "
                f"{values[-1]:g}; a wider range may hold a better one"
            )
    return lines


def mean(setting: SettingResults) -> float:
    """The mean validation accuracy over seeds; nan where one diverged."""
    if setting.diverged:
        return math.nan
    with np.errstate(over="ignore"):
        return float(np.mean(np.array(setting.validation_accuracy, dtype=float)))
