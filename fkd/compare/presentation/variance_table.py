"""What varies, as a table and in sentences."""

from rich import box
from rich.table import Table

from fkd.compare._counted import counted
from fkd.compare._over_runs import OverRuns
from fkd.compare._sentence import joined, listed
from fkd.compare.presentation import _rich
from fkd.compare.presentation._caption import splits, state, where_and_when
from fkd.compare.presentation.table import failures
from fkd.compare.variance import POINTS, SHARED, Variance, deviation
from fkd.statistics import Component

SEEDS = 8  # of the comparison whose intervals are told of
TITLES = {"order": "order of batches", "teacher": "teacher"}
DRAWN = {
    "init": "the draw of initial weights",
    "order": "the order of batches",
    "dropout": "dropout",
    "teacher": "the teacher",
}


def table(record: OverRuns, style: box.Box = box.SIMPLE_HEAD) -> Table:
    """A row for each source in each method's accuracy, and in each difference from the baseline:
    the deviation in points and its interval, the variance in points squared and its interval."""
    numbers = "deviation", "95 % interval", "variance", "95 % interval"
    rows = _rich.empty(style, ["of", "source"], numbers)
    for what, parts in record.components.items():
        for source, component in parts.items():
            rows.add_row(_rich.cell(what, style), source, *_cells(component))
    return rows


def _cells(part: Component) -> list[str]:
    variance, low, high = (POINTS**2 * x for x in (part.variance, part.low, part.high))
    least, most = deviation(part.low), deviation(part.high)
    return [
        f"{deviation(part.variance):.2f}",
        f"[{least:.2f}, {most:.2f}]",
        f"{variance:.3f}",
        f"[{low:.3f}, {high:.3f}]",
    ]


def concluded(variance: Variance) -> list[str]:
    """What may be concluded, in sentences: which source is seen to vary which difference, and what
    one level of a source hides."""
    if not variance.compared and not set(SHARED) & set(variance.factorial.sources):
        return [f"No difference from {listed([variance.baseline])} is known."]
    return [*([which_vary(variance)] if variance.compared else []), *sentences(variance)]


def which_vary(variance: Variance) -> str:
    """Which source has a variance above zero in which method's difference from the baseline, with
    its deviation and the bounds of that."""
    differences, clauses = variance.of_differences, []
    for source in variance.factorial.sources:
        found = [
            f"{listed([name])} by a deviation of {_within(each[source])}"
            for name, each in differences.items()
            if each[source].low > 0
        ]
        what = DRAWN[source]
        clauses.append(
            f"{what} varies {joined(found)}" if found else f"{what} is not seen to vary any"
        )
    return f"In the difference from {listed([variance.baseline])}, {'; '.join(clauses)}."


def _within(part: Component) -> str:
    """The deviation: `0.26 points (0.11 to 1.05)`."""
    low, high = deviation(part.low), deviation(part.high)
    return f"{deviation(part.variance):.2f} points ({low:.2f} to {high:.2f})"


def sentences(variance: Variance) -> list[str]:
    """What a comparison misses whose seeds share a source that was varied, in sentences."""
    return [sentence(variance, source) for source in SHARED if source in variance.factorial.sources]


def sentence(variance: Variance, source: str) -> str:
    """Whether the paired intervals of seeds that share one level of a source are too narrow."""
    title, base = TITLES[source], variance.baseline
    if not variance.compared:
        return f"No difference from {base} is known, and so not what one {title} hides in it."
    parts = {name: each[source] for name, each in variance.of_differences.items()}
    seen = [name for name, part in parts.items() if part.low > 0]
    if seen:
        told = (
            f"One {title} for all seeds makes the paired intervals too narrow: its variance in the "
            f"difference from {base} is above zero for {', '.join(seen)}."
        )
    else:
        told = (
            f"One {title} for all seeds is not seen to make the paired intervals too narrow: in no "
            f"difference from {base} can its variance be told from zero."
        )
    widths = []
    for name in parts:
        width = variance.width(name, source, SEEDS)
        if width is not None:
            widths.append(f"{name} {width.factor:.2f} ({width.low:.2f} to {width.high:.2f})")
    if not widths:
        return f"{told} How much wider they would have to be is not known."
    return (
        f"{told} Intervals over {SEEDS} seeds that share one would have to be so many times as "
        f"wide to hold for others as well: {', '.join(widths)}."
    )


def caption(variance: Variance) -> str:
    """What the table's figures are, and where and when they were measured."""
    data, plan, config = variance.data, variance.factorial, variance.config
    members = len(plan.seeds) * len(plan.teacher_seeds(0))
    return (
        f"{state(variance)}{data.name}: {splits(data)}; "
        f"{counted(plan.levels, 'level')} of {', '.join(plan.sources)}, "
        f"{counted(members, 'student')} of each method, "
        f"{counted(config['epochs'], 'epoch')}, batch {config['batch_size']}, "
        f"{config.get('precision', 'fp32')}. Test accuracy after the last epoch: the deviation in "
        "points and the variance in points squared that each source brings, of a random effects "
        "model without interactions, which are in the rest; unbiased, so that a source without "
        "effect is below zero half of the time, and its deviation is told as 0. "
        f"{where_and_when(variance.environment, variance.device)}"
    )


def markdown(variance: Variance) -> str:
    """The content of variance.md: the rows, who failed, the sentences, the caption."""
    rows = _rich.lines_of(table(variance, box.MARKDOWN))
    items = [f"- {line}" for line in [*failures(variance.failed), *concluded(variance)]]
    return _rich.markdown([rows, items, [caption(variance)]])
