"""A report as one page of HTML that holds all it shows."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

import fkd
from fkd import _check
from fkd.compare.presentation import figures
from fkd.compare.report import _comparison, _factorial, _notes, _runs, _several_teachers, _svg
from fkd.compare.report._part import Part
from fkd.compare.report._records import Record
from fkd.compare.results import Results
from fkd.compare.teachers import Teachers
from fkd.compare.variance import Variance

GENERATOR = "fkd.compare.report"  # as the page names what wrote it


def page(runs: Mapping[str, Record]) -> str:
    """The report of one run, or of several side by side, by the names that they go by: HTML 5.

    A run is a comparison, or the record of a factorial or of several teachers. The page loads
    nothing from elsewhere and needs no script. Names and words of the runs are escaped. Raises
    ValueError where there are no runs.
    """
    _check.mapping("page", runs=runs)
    if not runs:
        raise ValueError("page: there are no runs; give the results of at least one by its name")
    for name, run in runs.items():
        _check.kind("page", (Results, Variance, Teachers), **{f"runs[{name!r}]": run})
    with matplotlib.rc_context(figures.STYLE | _svg.STYLE), np.errstate(all="ignore"):
        parts = [_part(f"run-{k}", name, run) for k, (name, run) in enumerate(runs.items(), 1)]
        together = _together(runs)
    tables = [table for part in parts for table in part.tables] + together["tables"]
    used = [note for table in tables for note in table.notes]
    several = len(runs) > 1
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=f"{len(runs)} comparisons side by side" if several else parts[0].title,
            runs=parts,
            together=together if several else None,
            notes=_notes.told(used, any(part.two_stages for part in parts)),
            numbers={note: k for k, note in enumerate(dict.fromkeys(used), 1)},
            paints=_svg.PAINTS,
            generator=GENERATOR,
            version=fkd.__version__,
        )
    )


def _part(key: str, name: str, run: Record) -> Part:
    """What the page shows of a run, whose names begin with `key`."""
    if isinstance(run, Variance):
        return _factorial.part(key, name, run)
    if isinstance(run, Teachers):
        return _several_teachers.part(key, name, run)
    return _comparison.part(key, name, run)


def _together(runs: Mapping[str, Record]) -> dict[str, Any]:
    """The comparisons among the runs side by side, where there are two or more."""
    comparisons = {name: run for name, run in runs.items() if isinstance(run, Results)}
    if len(comparisons) < 2:
        return {"tables": [], "ranks": ""}
    ranks, words = _runs.ranks(comparisons)
    return {"tables": [_runs.differences(comparisons), *([ranks] if ranks else [])], "ranks": words}


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("fkd.compare.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_told,
    )


def _told(value: Any) -> Any:
    """A word without what HTML has no sign for."""
    return _svg.readable(value) if type(value) is str else value
