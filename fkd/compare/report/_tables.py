"""The tables of a run: accuracy and what else is compared, epochs, sweeps, variances, settings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fkd.compare import conclusions, sweep
from fkd.compare._counted import counted
from fkd.compare._sentence import line
from fkd.compare.conclusions import Difference
from fkd.compare.presentation._caption import adjusted, why_all, why_at_odds
from fkd.compare.presentation._numbers import (
    NATS,
    POINTS,
    Unit,
    bounds,
    number,
    p_value,
    with_spread,
)
from fkd.compare.report._again import shown
from fkd.compare.report._table import EMPTY, Column, Row, Table
from fkd.compare.results import Results
from fkd.statistics import Paired, interval

HARDWARE = {"gpu": "GPU", "cores": "cores of the machine", "threads": "threads of a process"}


def accuracy(results: Results) -> Table:
    """Every method's accuracy and its difference from the baseline, and who failed."""
    told, best = conclusions.differences(results), _best(results, "test_accuracy")
    columns = [
        Column("accuracy %", ("accuracy",)),
        Column("95 % interval", ("own",)),
        *_difference_columns(results, POINTS.name),
        Column(f"on {results.data.unit} like these", ("images",)),
        Column("p", ("p",)),
        Column("adjusted p", ("adjusted",)),
        Column("Holm's p", ("holm",)),
        Column("of averages %", ("average",)),
        Column("seeds"),
        Column("seconds", ("seconds",)),
    ]
    rows = []
    for name, method in results.methods.items():
        mean, average, one = results.accuracy(name), results.average(name), told.get(name)
        seconds = method.seconds["first_step"] + method.seconds["steps"]
        cells = [
            with_spread(mean),
            bounds(mean.low, mean.high),
            *_difference_cells(one, POINTS),
            *_sure(one),
            "" if average is None else number(average.mean),
            "" if results.pilot is None else f"{len(method.seeds)}",
            f"{seconds:.1f}",
        ]
        rows.append(Row(name, cells, name in best))
    empty = [""] * (len(columns) - 1)
    rows += [Row(name, [failure.word, *empty]) for name, failure in results.failed.items()]
    caption = "Test accuracy after the last epoch" + _nobody(results, "test_accuracy")
    foot = why_at_odds(told.values(), results.seeds)
    return Table(caption, _methods(best), columns, rows, foot=foot).trimmed()


def _sure(one: Difference | None) -> list[str]:
    if one is None:
        return [""] * 4
    told = one.images_told
    images = "–" if told is None else bounds(told.low, told.high, "+")
    return [images, p_value(one.p), adjusted(one), p_value(one.holm)]


def others(results: Results) -> list[Table]:
    """The same of agreement, calibration and loss, where they were measured."""
    return [
        _other(results, metric)
        for metric in conclusions.METRICS
        if metric != "test_accuracy"
        and any(metric in method.curves for method in results.methods.values())
    ]


def _other(results: Results, metric: str) -> Table:
    told, best = conclusions.differences(results, metric), _best(results, metric)
    unit = NATS if metric == "test_loss" else POINTS
    name = conclusions.METRICS[metric]
    columns = [
        Column("%" if metric == "teacher_agreement" else unit.name, (metric,)),
        *_difference_columns(results, unit.name),
        Column("adjusted p", ("adjusted",)),
    ]
    rows = []
    for method, one in results.methods.items():
        if metric in one.curves:
            difference = told.get(method)
            cells = [
                with_spread(interval(one.last(metric)), unit),
                *_difference_cells(difference, unit),
                "" if difference is None else adjusted(difference),
            ]
            rows.append(Row(method, cells, method in best))
    caption = f"{name.capitalize()} after the last epoch" + _nobody(results, metric)
    foot = why_at_odds(told.values(), results.seeds)
    return Table(caption, _methods(best), columns, rows, foot=foot).trimmed()


def _methods(best: Sequence[str]) -> Column:
    return Column("method", ("best",) if best else ())


def _best(results: Results, metric: str) -> list[str]:
    """Who is to be marked: nobody where it would be everybody."""
    best = conclusions.best(results, metric)
    return best if len(best) < len(results.methods) else []


def _nobody(results: Results, metric: str) -> str:
    """What a caption adds where it would be everybody."""
    everybody = len(conclusions.best(results, metric)) == len(results.methods) > 1
    if not everybody:
        return ""
    why = why_all(results)
    return f"; no method can be told from the best{f', for {why}' if why else ''}"


def _difference_columns(results: Results, unit: str) -> list[Column]:
    return [
        Column(f"− {line(results.baseline)}, {unit}", ("paired",)),
        Column("95 % interval", ("own",)),
        Column("for all at once", ("joint",)),
    ]


def _difference_cells(one: Difference | None, unit: Unit) -> list[str]:
    if one is None:
        return [""] * 3
    return [
        number(one.mean, "+", unit),
        bounds(one.low, one.high, "+", unit),
        bounds(one.joint_low, one.joint_high, "+", unit),
    ]


def epochs(results: Results) -> Table | None:
    """The best epoch beside the last, and what a choice of it would have made of the difference;
    None where there was no choice."""
    if all(len(m.curves["test_accuracy"]) < 2 for m in results.methods.values()):
        return None
    added = conclusions.epochs(results)
    rows = []
    for name in results.methods:
        last, best, one = results.accuracy(name).mean, results.best(name).mean, added.get(name)
        cells = [number(last), number(best), number(best - last, "+"), *_paired(one)]
        rows.append(Row(name, cells))
    columns = [
        Column("last epoch %"),
        Column("best epoch %", ("epochs",)),
        Column("best − last, points"),
        Column(f"added to − {line(results.baseline)}", ("paired",)),
        Column("95 % interval", ("own",)),
    ]
    caption = "What the choice of the best epoch on the test set would have made of it"
    return Table(caption, Column("method"), columns, rows).trimmed()


def sweeps(results: Results) -> Table | None:
    """What a sweep chose for each method, and what the choice was worth; None without a sweep."""
    rows = []
    for name, method in results.methods.items():
        if method.sweep:
            choice = conclusions.setting(results, name)
            best = method.sweep.best
            cells = [sweep.describe(best.hyper), number(sweep.mean(best))]
            cells += [f"{len(method.sweep.settings)}", number(results.accuracy(name).mean)]
            if choice is None:
                cells += ["–"] * 5
            else:
                cells += [number(choice.optimism_of_mean, "+")]
                cells += [*_paired(choice.optimism), *_paired(choice.worth)]
            rows.append(Row(name, cells))
    columns = [
        Column("chosen", ("chosen",)),
        Column("validation %"),
        Column("settings"),
        Column("test %", ("accuracy",)),
        Column("optimism of this choice", ("optimism",)),
        Column("of a seed's choice", ("optimism",)),
        Column("95 % interval", ("own",)),
        Column("worth of a seed's choice", ("worth",)),
        Column("95 % interval", ("own",)),
    ]
    caption = "The setting chosen for each method on validation"
    return Table(caption, Column("method"), columns, rows).trimmed() if rows else None


def _paired(one: Paired | None) -> list[str]:
    if one is None:
        return ["", ""]
    return [number(one.difference, "+"), bounds(one.low, one.high, "+")]


def variances(results: Results) -> Table | None:
    """What of each difference's variance comes from seeds, images and the rest; None where answers
    were not kept."""
    rows = []
    for name, one in conclusions.variances(results).items():
        seeds, answers = one.on_these.degrees + 1, results.methods[name].answers
        assert answers is not None  # of which the variances are
        images = answers.shape[1]
        parts = one.seeds / seeds, one.images / images, one.rest / seeds / images
        cells = [number(one.difference, "+"), *(_deviation(part) for part in parts)]
        rows.append(Row(name, cells))
    columns = [
        Column(f"− {line(results.baseline)}, points", ("paired",)),
        Column("from seeds", ("variance",)),
        Column(f"from test {results.data.unit}", ("variance",)),
        Column("from the rest", ("variance",)),
    ]
    caption = f"How far the difference may lie off by the seeds and by the test {results.data.unit}"
    return Table(caption, Column("method"), columns, rows) if rows else None


def _deviation(variance: float) -> str:
    return number(math.sqrt(variance)) if variance > 0 else "–"


def unfinished(results: Results) -> Table | None:
    """What was measured of methods that failed when new seeds were to join theirs; None where there
    are none."""
    known = results.methods | results.unfinished
    base = known.get(results.baseline)
    rows = []
    for name, one in results.unfinished.items():
        values, told = one.last("test_accuracy"), ["", ""]
        if base is not None and name != results.baseline:
            theirs = dict(zip(base.seeds, base.last("test_accuracy"), strict=True))
            own = zip(one.seeds, values, strict=True)
            gaps = [x - theirs[seed] for seed, x in own if seed in theirs]
            told = _gap(gaps) if gaps else told
        rows.append(Row(name, [f"{len(one.seeds)}", with_spread(interval(values)), *told]))
    columns = [
        Column("seeds"),
        Column("accuracy %", ("accuracy",)),
        Column(f"− {line(results.baseline)}, points", ("paired",)),
        Column("95 % interval", ("alone",)),
    ]
    caption = "What was measured of them before: no conclusion rests on it"
    return Table(caption, Column("method"), columns, rows).trimmed() if rows else None


def _gap(gaps: Sequence[float]) -> list[str]:
    mean, _, low, high = interval(gaps)
    return [number(mean, "+"), bounds(low, high, "+")]


def settings(config: Mapping[str, Any], baseline: str, parameters: Mapping[str, int]) -> Table:
    """All that was asked, option by option."""
    rows = [
        Row(name.replace("_", " "), [shown(name, value)])
        for name, value in config.items()
        if name not in ("output", "device") and shown(name, value) not in EMPTY
    ]
    rows += [Row("baseline", [baseline])]
    for role, count in parameters.items():
        rows.append(Row(f"parameters of the {role}", [f"{count:,}"]))
    return Table("All that was asked", Column("setting"), [Column("value")], rows, True)


def environment(
    device: str,
    told: Mapping[str, Any],
    seconds: Mapping[str, float],
    resumed: int = 0,
    steps: str = "",
) -> Table:
    """Where and when it ran, how its `steps` were taken, and how long."""
    rows = [Row("device", [device])]
    for name, value in told.items():
        if value is not None:
            head = HARDWARE.get(name, name.replace("_", " "))
            rows.append(Row(head, [f"{value:.2f} GiB" if name == "peak_memory" else f"{value}"]))
    if steps:
        rows.append(Row("steps", [steps]))
    for name, spent in seconds.items():
        rows.append(Row(f"seconds: {name.replace('_', ' ')}", [f"{spent:.1f}"]))
    if resumed:
        rows.append(Row("gone on with", [counted(resumed, "time")]))
    return Table("Where and when it ran", Column("of"), [Column("value")], rows, True)
