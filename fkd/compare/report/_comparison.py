"""A comparison as a part of the page."""

from fkd.compare import conclusions
from fkd.compare.presentation._caption import lacking
from fkd.compare.presentation._steps import steps
from fkd.compare.report import _pictures, _question, _tables
from fkd.compare.report._part import Part, Pictures, Section, drawn
from fkd.compare.results import Results


def part(key: str, name: str, results: Results) -> Part:
    """What the page shows of a comparison: all of it by method."""
    return Part(
        results,
        key=key,
        name=name,
        title=_question.title(results),
        lacking=lacking(results),
        question=_question.question(results),
        conclusion=[conclusions.sentence(results)],
        sections=[*_accuracy(key, results), *_epochs(key, results), *_sweep(key, results)],
        settings=_tables.settings(results.config, results.baseline, results.parameters),
        environment=_tables.environment(
            results.device,
            results.environment,
            results.seconds,
            results.resumed,
            steps(results),
        ),
        unfinished=_tables.unfinished(results),
        two_stages=results.pilot is not None,
    )


def _accuracy(key: str, results: Results) -> list[Section]:
    pictures = Pictures(drawn(f"{key}-accuracy", _pictures.of_accuracy(results)))
    sections = [Section("accuracy", "Accuracy", [_tables.accuracy(results), pictures])]
    variances, others = _tables.variances(results), _tables.others(results)
    if variances:
        sections.append(
            Section("variances", f"Seeds or {results.data.unit}", [variances], deeper=1)
        )
    if others:
        sections.append(Section("others", "Agreement, calibration and loss", others))
    return sections


def _epochs(key: str, results: Results) -> list[Section]:
    pictures = drawn(f"{key}-epochs", _pictures.of_epochs(results))
    table = _tables.epochs(results)
    if not pictures and table is None:
        return []
    parts = [Pictures(pictures), *([] if table is None else [table])]
    return [Section("epochs", "Over the epochs", parts)]


def _sweep(key: str, results: Results) -> list[Section]:
    table = _tables.sweeps(results)
    if table is None:
        return []
    pictures = Pictures(drawn(f"{key}-sweep", _pictures.of_sweeps(results)), wide=True)
    return [Section("sweep", "The sweep", [table, pictures])]
