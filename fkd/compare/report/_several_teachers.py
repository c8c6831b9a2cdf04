"""What several teachers told, as a part of the page."""

from fkd.compare._counted import counted
from fkd.compare._sentence import line
from fkd.compare.presentation import teachers_figures, teachers_table
from fkd.compare.presentation._numbers import number
from fkd.compare.report import _question, _tables
from fkd.compare.report._factorial import of_parts
from fkd.compare.report._part import Part, Picture, Pictures, Section, drawn
from fkd.compare.report._pictures import WIDTH
from fkd.compare.report._table import Column, Row, Table
from fkd.compare.teachers import Teachers


def part(key: str, name: str, record: Teachers) -> Part:
    """What the page shows of several teachers: the methods over all, each teacher, what varies."""
    return Part(
        record,
        key=key,
        name=name,
        title=record.summary,
        lacking="; ".join(record.lacking),
        question=[_which(record), _students(record)],
        conclusion=[teachers_table.sentence(record)],
        sections=[_methods(key, record), _teachers(record), *_components(record)],
        settings=_tables.settings(record.config, record.baseline, {}),
        environment=_tables.environment(
            record.device, record.environment, {"total": record.seconds}
        ),
    )


def _which(record: Teachers) -> str:
    which = _question.which(list(record.accuracy), record.baseline, record.data.name)
    return f"{which} What of that holds with teachers like these, and not with these alone?"


def _students(record: Teachers) -> str:
    accuracy = record.teacher_accuracy
    teachers = counted(len(record.teacher_seeds), "teacher")
    return (
        f"{counted(len(record.seeds), 'student')} of each method "
        f"({_question.model(record.config, 'student')}) learned from each of "
        f"{teachers} ({_question.model(record.config, 'teacher')}, "
        f"{number(min(accuracy))} to {number(max(accuracy))} % right on the test set) "
        f"{_question.tested(record)}. Each teacher was trained from a seed of its own; the "
        "students have the same seeds with each."
    )


def _methods(key: str, record: Teachers) -> Section:
    rows = [Row(name, cells) for name, cells in teachers_table.of_methods(record).items()]
    columns = [
        Column("accuracy %", ("accuracy",)),
        Column(f"− {line(record.baseline)}, points", ("paired",)),
        Column("95 %, these teachers", ("these",)),
        Column("95 %, teachers like these", ("like",)),
    ]
    caption = "Test accuracy after the last epoch, over all teachers and seeds"
    parts: list[Table | Pictures] = [Table(caption, Column("method"), columns, rows)]
    if record.compared:
        title = f"Difference from {line(record.baseline)} by teacher"
        picture = Picture(teachers_figures.draw(record, WIDTH), title, f"{teachers_figures.TEXT}.")
        parts.append(Pictures(drawn(key, [picture])))
    return Section("accuracy", "Accuracy", parts)


def _teachers(record: Teachers) -> Section:
    columns = [Column("its accuracy %"), *(Column(f"{name} %") for name in record.accuracy)]
    rows = [Row(seed, cells) for seed, cells in teachers_table.of_teachers(record).items()]
    caption = "Each teacher, and the mean test accuracy of its students"
    table = Table(caption, Column("teacher's seed"), columns, rows)
    return Section("teachers", "Teachers", [table])


def _components(record: Teachers) -> list[Section]:
    if not record.finite:
        return []
    caption = "Deviation that teacher, seed and the rest bring, in points, and its 95 % interval"
    return [Section("components", "What varies", [of_parts(caption, record.components)])]
