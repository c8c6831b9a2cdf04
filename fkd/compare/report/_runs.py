"""Several runs side by side: differences by run, and how methods rank over them."""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from fkd.compare import conclusions
from fkd.compare._counted import counted
from fkd.compare._sentence import line
from fkd.compare.presentation._numbers import bounds, number, p_value
from fkd.compare.report._table import Column, Row, Table
from fkd.compare.results import Results
from fkd.statistics import mean_ranks

ROUGH = 10  # tasks, below which a critical difference is


def differences(runs: Mapping[str, Results]) -> Table:
    """Each method's difference from the baseline in accuracy, with a column for each run."""
    told = {name: conclusions.differences(results) for name, results in runs.items()}
    methods = dict.fromkeys(method for one in told.values() for method in one)
    rows = []
    for method in methods:
        cells = []
        for one in told.values():
            found = one.get(method)
            cells.append("" if found is None else _difference(found))
        rows.append(Row(method, cells))
    columns = [
        Column(f"{name}: − {line(results.baseline)}", ("paired", "joint"))
        for name, results in runs.items()
    ]
    caption = "Difference in test accuracy by run, in points, and its interval for all at once"
    return Table(caption, Column("method"), columns, rows)


def _difference(one: conclusions.Difference) -> str:
    mean = number(one.mean, "+")
    return f"{mean} {bounds(one.joint_low, one.joint_high, '+')}"


def ranks(runs: Mapping[str, Results]) -> tuple[Table | None, str]:
    """The methods that all runs have by their ranks over the runs, and what the ranks say; no table
    where there are none."""
    first, *others = runs.values()
    shared = [
        name
        for name in first.methods
        if all(name in results.methods for results in others)
        and all(np.isfinite(results.accuracy(name).mean) for results in runs.values())
    ]
    if len(runs) < 2 or len(shared) < 2:
        return None, (
            "There are no ranks: they need two runs that have two methods in common, or more, and "
            f"of these {len(runs)} all have {len(shared)}."
        )
    scores = np.array([[run.accuracy(name).mean for name in shared] for run in runs.values()])
    result, each = mean_ranks(scores), stats.rankdata(-scores, axis=1)
    order = np.argsort(result.mean, kind="stable")
    rows = [
        Row(shared[k], [f"{result.mean[k]:.2f}", *(f"{rank:g}" for rank in each[:, k])])
        for k in order
    ]
    columns = [Column("mean rank", ("rank",)), *(Column(name) for name in runs)]
    methods = counted(len(shared), "method")
    caption = f"Ranks of the {methods} that all runs have, by mean test accuracy"
    return Table(caption, Column("method"), columns, rows), _say(len(runs), *result[1:])


def _say(runs: int, f: float, p: float, critical: float) -> str:
    told = counted(runs, "run")
    meant = f" With {told} this is rough: it is meant for {ROUGH} and more."
    rough = meant if runs < ROUGH else ""
    f_told = "infinite, for all runs agree" if np.isinf(f) else f"{f:.2f}"
    return (
        f"Over {told}, each taken as one task drawn at random: Friedman's test in Iman and "
        f"Davenport's form has F {f_told}, p {p_value(p)}. Two methods can be told apart at 95 % "
        f"where their mean ranks differ by more than {critical:.2f}, Nemenyi's critical difference."
        f"{rough}"
    )
