"""What several teachers told, as tables and in a sentence."""

from rich import box
from rich.table import Table

from fkd.compare._counted import counted
from fkd.compare._sentence import joined, line, listed, points
from fkd.compare.presentation import _rich, variance_table
from fkd.compare.presentation._caption import splits, state, where_and_when
from fkd.compare.presentation._numbers import bounds, number
from fkd.compare.presentation.table import failures
from fkd.compare.teachers import Teachers, differs
from fkd.statistics import Bounds

WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def tables(record: Teachers, style: box.Box = box.SIMPLE_HEAD) -> list[Table]:
    """The methods and their differences, the teachers, and what varies."""
    each = _methods(record, style), _teachers(record, style)
    return [*each, variance_table.table(record, style)]


def _methods(record: Teachers, style: box.Box) -> Table:
    like = f"teachers like these {_count(record)}"
    numbers = "accuracy %", f"− {record.baseline}", "these teachers", like
    rows = _rich.empty(style, ["method"], numbers)
    for name, cells in of_methods(record).items():
        rows.add_row(_rich.cell(name, style), *cells)
    return rows


def _teachers(record: Teachers, style: box.Box) -> Table:
    rows = _rich.empty(style, ["teacher's seed"], ["its accuracy %", *record.accuracy])
    for seed, cells in of_teachers(record).items():
        rows.add_row(seed, *cells)
    return rows


def of_methods(record: Teachers) -> dict[str, list[str]]:
    """Each method's mean accuracy over all teachers and seeds; where it is compared, its difference
    from the baseline, for these teachers and for teachers like these."""
    cells = {}
    for name, values in record.accuracy.items():
        told = ["", "", ""]
        if name in record.compared:
            mean, these, like = record.over(name)
            told = [number(mean, "+"), *(bounds(b.low, b.high, "+") for b in (these, like))]
        cells[name] = [number(float(values.mean())), *told]
    return cells


def of_teachers(record: Teachers) -> dict[str, list[str]]:
    """By each teacher's seed its accuracy, and the mean accuracy of its students by method."""
    cells = {}
    for k, seed in enumerate(record.teacher_seeds):
        means = [number(float(values[k].mean())) for values in record.accuracy.values()]
        cells[str(seed)] = [number(record.teacher_accuracy[k]), *means]
    return cells


def sentence(record: Teachers) -> str:
    """What may be concluded about test accuracy, in words: with teachers like these for all methods
    at once, and else with these alone, at 95 %."""
    base = listed([record.baseline])
    if not record.accuracy:
        return "No method has results with every teacher, so nothing can be concluded."
    if not record.compared:
        return f"No difference from {base} is known with every teacher."
    count = len(record.compared)
    over = [(name, record.over(name, 1 - 0.05 / count)) for name in record.compared]
    over.sort(key=lambda item: -abs(item[1].mean))
    rest = [(name, one) for name, one in over if not differs(one.on_like_these)]
    like, these = (
        f"{base} with {which}" for which in (f"teachers like these {_count(record)}", "these alone")
    )
    joint = " simultaneously" if count > 1 else ""
    told = [
        _clause(name, one.mean, one.on_like_these, like) + joint
        for name, one in over
        if differs(one.on_like_these)
    ]
    if rest:
        told.append(f"{listed([name for name, _ in rest])} cannot be told from {like}")
    told += [
        _clause(name, one.mean, one.on_these, these) + joint
        for name, one in rest
        if differs(one.on_these)
    ]
    unknown = [name for name, one in over if not one.known]
    if unknown:
        seeds, whose = counted(len(record.seeds), "seed"), joined([f"{line(n)}'s" for n in unknown])
        told.append(f"{seeds} with the same means are too few to tell how sure {whose} is")
    return "; ".join(told + record.lacking) + "."


def _clause(name: str, mean: float, within: Bounds, base: str) -> str:
    """`kd is 0.4 points above ce with teachers like these four, between 0.1 and 0.7`."""
    side = "above" if mean > 0 else "below"
    low, high = (points(bound) for bound in sorted((within.low, within.high), key=abs))
    return f"{listed([name])} is {points(mean)} points {side} {base}, between {low} and {high}"


def _count(record: Teachers) -> str:
    """How many teachers there are: up to twelve in words."""
    count = len(record.teacher_seeds)
    return dict(enumerate(WORDS, start=2)).get(count, str(count))


def caption(record: Teachers) -> str:
    """What the tables' figures are, and where and when they were measured."""
    data, config = record.data, record.config
    return (
        f"{state(record)}{data.name}: {splits(data)}; "
        f"{counted(len(record.teacher_seeds), 'teacher')}, and with each the same "
        f"{counted(len(record.seeds), 'seed')} of each method, "
        f"{counted(config['epochs'], 'epoch')}, batch {config['batch_size']}, "
        f"{config.get('precision', 'fp32')}. Test accuracy in % after the last epoch, and its mean "
        f"difference from {record.baseline} in points with 95 % intervals, each of a method by "
        "itself: with these teachers, and with teachers like these, of whom they are draws as the "
        "seeds are of seeds. What varies, by teacher, seed and the rest: the deviation in points "
        "and the variance in points squared; unbiased, so that a source without effect is below "
        "zero half of the time, and its deviation is told as 0. No interval is known where the "
        "seeds' means over all teachers are the same: they are too few to tell. "
        f"{where_and_when(record.environment, record.device)}"
    )


def markdown(record: Teachers) -> str:
    """The content of teachers.md: the sentence, the tables, who failed, the caption."""
    each = [_rich.lines_of(one) for one in tables(record, box.MARKDOWN)]
    failed = [f"- {line}" for line in failures(record.failed)]
    return _rich.markdown([[sentence(record)], *each, failed, [caption(record)]])
