"""A report as one page of HTML that holds all it shows."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import fkd
from fkd import _check
from fkd.compare import conclusions
from fkd.compare.presentation import figures
from fkd.compare.report import _again, _notes, _question, _runs, _svg, _tables
from fkd.compare.report._pictures import pictures
from fkd.compare.report._table import Table
from fkd.compare.results import Results

GENERATOR = "fkd.compare.report"  # as the page names what wrote it


def page(runs: Mapping[str, Results]) -> str:
    """The report of one run, or of several side by side, by the names that they go by: HTML 5.

    It loads nothing from elsewhere and needs no script. Names and words of the runs are escaped.
    Raises ValueError where there are no runs.
    """
    _check.mapping("page", runs=runs)
    if not runs:
        raise ValueError("page: there are no runs; give the results of at least one by its name")
    for name, results in runs.items():
        _check.kind("page", Results, **{f"runs[{name!r}]": results})
    with matplotlib.rc_context(figures.STYLE | _svg.STYLE), np.errstate(all="ignore"):
        parts = [_run(f"run-{k}", name, run) for k, (name, run) in enumerate(runs.items(), 1)]
        together = _together(runs) if len(runs) > 1 else None
    tables = [table for part in parts for table in part["tables"].values() if table]
    tables += [table for part in parts for table in part["others"]]
    tables += [table for table in together["tables"] if table] if together else []
    used = [note for table in tables for note in table.notes]
    two_stages = any(results.pilot is not None for results in runs.values())
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=parts[0]["title"]
            if together is None
            else f"{len(runs)} comparisons side by side",
            runs=parts,
            together=together,
            notes=_notes.told(used, two_stages),
            numbers={note: k for k, note in enumerate(dict.fromkeys(used), 1)},
            paints=_svg.PAINTS,
            generator=GENERATOR,
            version=fkd.__version__,
        )
    )


def _run(key: str, name: str, results: Results) -> dict[str, Any]:
    """What the page shows of a run, whose names begin with `key`."""
    drawn: dict[str, list[tuple[str, str, Markup]]] = {}
    for k, one in enumerate(pictures(results)):
        svg = _svg.inline(one.figure, f"{key}-picture-{k}", one.title)
        drawn.setdefault(one.part, []).append((one.title, one.text, svg))
    tables: dict[str, Table | None] = {
        "accuracy": _tables.accuracy(results),
        "epochs": _tables.epochs(results),
        "sweeps": _tables.sweeps(results),
        "variances": _tables.variances(results),
        "settings": _tables.settings(results),
        "environment": _tables.environment(results),
    }
    return {
        "key": key,
        "name": name,
        "title": _question.title(results),
        "complete": results.complete,
        "question": _question.question(results),
        "sentence": conclusions.sentence(results),
        "tables": tables,
        "others": _tables.others(results),
        "pictures": drawn,
        "failed": results.failed,
        "command": _again.command(results.config),
        "cut": _again.cut(results.config),
        "versions": results.environment,
    }


def _together(runs: Mapping[str, Results]) -> dict[str, Any]:
    ranks, words = _runs.ranks(runs)
    return {"tables": [_runs.differences(runs), ranks], "ranks": words}


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
