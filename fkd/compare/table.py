"""Results as a table: for a terminal, and as Markdown with what its figures are."""

import math
import os
import textwrap
from functools import partial
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fkd.compare import conclusions, sweep
from fkd.compare.conclusions import Difference
from fkd.compare.results import Results
from fkd.statistics import Interval

WIDEST = 10_000  # characters of a row, which is never cut
BEST = (
    "The best epoch is each seed's own on the test set, told for what choosing it there would add: "
    "no conclusion rests on it."
)


def table(results: Results, style: box.Box = box.SIMPLE_HEAD, wide: bool = False) -> Table:
    """A row a method: accuracy, how it differs from the baseline, agreement, seconds. Of one that
    failed, it says how.

    With `wide`, also the accuracy at each seed's best epoch, how far that is above the last one's,
    and the accuracy of the running averages of weights, where they were kept.
    """
    # Without padding, four methods fit a terminal of 80 columns.
    rows = Table(box=style, padding=0 if style is box.SIMPLE_HEAD else (0, 1))
    differences = conclusions.differences(results)
    rows.add_column("method", no_wrap=True)
    against = f"− {_name(results.baseline, style)}"
    columns = ["accuracy %", "95 % interval", against, "95 % interval", "p", "agree", "s"]
    averages = wide and any(results.average(name) for name in results.methods)
    if wide:
        columns += ["best epoch %", "best − last"]
    if averages:
        columns.append("average %")
    for column in columns:
        rows.add_column(Text(column), justify="right", no_wrap=True)
    for name in results.methods:
        cells = _cells(results, name, differences.get(name))
        if wide:
            best = results.best(name).mean
            above = best - results.accuracy(name).mean
            cells += [_percent(best), _percent(above, sign=True)]
        if averages:
            average = results.average(name)
            cells.append(_percent(average.mean if average else None))
        rows.add_row(_name(name, style), *cells)
    for name, failure in results.failed.items():
        rows.add_row(_name(name, style), failure.word)
    return rows


def _cells(results: Results, name: str, difference: Difference | None) -> list[str]:
    accuracy = results.accuracy(name)
    spread = "" if accuracy.deviation is None else f" ± {_percent(accuracy.deviation)}"
    middle, bounds, p = "", "", ""
    if difference:
        middle = _percent(difference.mean, sign=True)
        bounds, p = _range(difference, sign=True), _p(difference.p)
    seconds = results.methods[name].seconds
    return [
        _percent(accuracy.mean) + spread,
        _range(accuracy),
        middle,
        bounds,
        p,
        _percent(results.agreement(name).mean),
        f"{seconds['first_step'] + seconds['steps']:.1f}",
    ]


def _name(name: str, style: box.Box) -> Text:
    """A name in one line, whose brackets are no markup and whose bars part no columns."""
    line = " ".join(name.split())
    return Text(line.replace("|", "\\|") if style is box.MARKDOWN else line)


def show(console: Console, rows: Table) -> None:
    """Print a table whole: past the edge of a narrow terminal rather than with figures cut."""
    needed = console.measure(rows, options=console.options.update(max_width=WIDEST)).maximum
    Console(file=console.file, width=max(needed, console.width)).print(rows)


def markdown(results: Results) -> str:
    """The content of table.md: the rows, who failed and why, what a sweep chose, the caption."""
    with open(os.devnull, "w", encoding="utf-8", errors="replace") as nowhere:
        console = Console(record=True, width=WIDEST, file=nowhere)
        console.print(table(results, box.MARKDOWN, wide=True), markup=False)
        rows = [line.strip() for line in console.export_text().splitlines() if line.strip()]
    items = [f"- {line}" for line in [*failures(results), *choices(results)]]
    lines = [*rows, "", *items, *([""] if items else []), f"{caption(results)} {BEST}"]
    return "\n".join(lines) + "\n"


def failures(results: Results) -> list[str]:
    """Who failed and why, in lines; the whole reason stands in results.json."""
    short = partial(textwrap.shorten, width=300, placeholder=" …")
    return [
        f"{_name(name, box.SQUARE)} failed: {short(failure.reason)}"
        for name, failure in results.failed.items()
    ]


def choices(results: Results) -> list[str]:
    """What a sweep chose for each method that it swept, in lines."""
    swept = {name: method.sweep for name, method in results.methods.items() if method.sweep}
    return [line for name, choice in swept.items() for line in sweep.tell(name, choice)]


def caption(results: Results) -> str:
    """What the table's figures are, and where and when they were measured."""
    config, where, data = results.config, results.environment, results.data
    hardware = where["gpu"] if results.device == "cuda" else where["processor"]
    state = "" if results.complete else "INCOMPLETE: a method failed or the run was stopped. "
    teacher = results.teacher.accuracy if results.teacher else None
    return (
        f"{state}{data.name}: {data.train:,} training and {data.test:,} test {data.unit}; "
        f"{len(config['seeds'])} seeds, {config['epochs']} epochs, batch {config['batch_size']}, "
        f"{_optimizer(config)}, {config.get('precision', 'fp32')}{_augmented(config)}"
        f"{_set(config)}; "
        f"{_networks(config)}teacher {_percent(teacher)} %{_teacher_epochs(config)}. "
        f"{_how_chosen(results)}"
        "Test accuracy after the last epoch: mean ± deviation "
        f"over seeds, Student's t interval; difference from {results.baseline} paired by seed "
        f"(the same initial weights, {config['order']} order of batches), its interval and the "
        "paired t-test's p, not corrected for the number of methods; agreement with the teacher "
        "in %; training seconds of all students together, with compilation and without evaluation. "
        f"{_compiling(results.seconds)}"
        f"{where['date'][:10]}, {hardware}, {where['cores']} cores, torch {where['torch']}."
    )


def _networks(config: dict[str, Any]) -> str:
    """`student resnet20, teacher resnet56: `, where the command line chose them."""
    if "student_model" not in config:
        return ""
    return f"student {config['student_model']}, teacher {config['teacher_model']}: "


def _teacher_epochs(config: dict[str, Any]) -> str:
    epochs = config.get("teacher_epochs")
    return f" after {epochs} epochs" if epochs and epochs != config["epochs"] else ""


def _augmented(config: dict[str, Any]) -> str:
    names = config.get("augment")
    return f", augmented by {' and '.join(names)}" if names else ""


def _set(config: dict[str, Any]) -> str:
    """The methods' numbers that were set on the command line; an optimizer's is in its words."""
    own = {name: value for name, value in config.get("set", {}).items() if "." in name}
    return "".join(f", {name} {value:g}" for name, value in own.items())


def _optimizer(config: dict[str, Any]) -> str:
    """`Adam 0.001`; results that name no optimizer are from before there was a choice."""
    swept = "lr" in config.get("sweep", {})
    if "training" in config:  # the command line's own words
        rate = f" {config['lr']:g}"
        return config["training"].replace(rate, " at the swept rates" if swept else rate, 1)
    name = config.get("optimizer", "Adam") or ("" if config["lr"] is None else "learning rate")
    if swept:
        return f"{name} at the swept rates"
    if config["lr"] is None:
        return name or "an optimizer of one's own"
    return f"{name} {config['lr']:g}"


def _compiling(seconds: dict[str, float]) -> str:
    """What compilation cost, once a run that compiled is over."""
    if "first_steps" not in seconds or "total" not in seconds:
        return ""
    return (
        f"Of the run's {seconds['total']:.1f} seconds, {seconds['first_steps']:.1f} were the first "
        "steps of its trainings, which compile; what is compiled is kept for the next run. "
    )


def _how_chosen(results: Results) -> str:
    if not results.config.get("sweep"):
        return ""
    counts = ", ".join(
        f"{name} {len(method.sweep.settings) if method.sweep else 1}"
        for name, method in results.methods.items()
    )
    teacher = ""
    if results.teacher and results.teacher.curves:  # it was trained here, at the plain rate
        unswept = _optimizer(results.config | {"sweep": {}})
        teacher = f" and the teacher ({unswept})"
    data = results.data
    split = f"a validation split of {data.validation:,} {data.unit}"
    rest = "the whole training set"
    if results.config.get("validation") is not None:
        split, rest = f"{split}, held out of the training set", "the rest"
    return (
        f"Hyperparameters were chosen by mean accuracy over seeds on {split} "
        f"(settings: {counts}); the students{teacher} were trained on {rest}. "
    )


def _percent(share: float | None, sign: bool = False) -> str:
    if share is None or not math.isfinite(share):
        return "–"
    return f"{100 * share:{'+' if sign else ''}.2f}"


def _range(bounds: Interval | Difference, sign: bool = False) -> str:
    if bounds.low is None:
        return "–"
    return f"[{_percent(bounds.low, sign)}, {_percent(bounds.high, sign)}]"


def _p(p: float | None) -> str:
    if p is None or math.isnan(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
