"""What a run asked, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from fkd.compare._counted import counted, singular
from fkd.compare._over_runs import OverRuns
from fkd.compare._sentence import MANY, line, listed
from fkd.compare.presentation._numbers import number
from fkd.compare.results import Results
from fkd.compare.vary import TEACHER


def title(results: Results) -> str:
    """`digits: 4 methods, 8 seeds, 10 epochs`."""
    name, _, rest = results.summary.partition(",")
    return f"{name}: {counted(len(_methods(results)), 'method')},{rest}"


def question(results: Results) -> list[str]:
    """The question and how it was put, in sentences."""
    asked = which(_methods(results), results.baseline, results.data.name)
    return [asked, _students(results), *_stages(results), *_swept(results)]


def _methods(results: Results) -> list[str]:
    """The methods that ended, well or not; where the teacher failed, those that were asked for."""
    return results.waiting if TEACHER in results.failed else [*results.methods, *results.failed]


def which(names: Sequence[str], baseline: str, data: str) -> str:
    """What is asked of methods by name.

    >>> which(["ce", "kd"], "ce", "digits")
    'Is kd above ce on digits, and by how much?'
    >>> which(["ce", *(f"kd{number}" for number in range(13))], "ce", "digits")
    'Which of 13 methods is above ce on digits, and by how much?'
    """
    others = [name for name in names if name != baseline]
    if not others or len(others) == len(names):
        return f"How accurate is {listed(names) or 'a student'} on {line(data)}?"
    who = listed(others) if len(others) <= MANY else f"{len(others)} methods"
    asked = f"Which of {who} is" if len(others) > 1 else f"Is {line(others[0])}"
    return f"{asked} above {line(baseline)} on {line(data)}, and by how much?"


def model(config: Mapping[str, Any], role: str) -> str:
    """The network of a role by its name, as far as that is known: else the role itself."""
    return config.get(f"{role}_model") or role


def tested(record: Results | OverRuns) -> str:
    """`on 898 training images, and were tested on 899 others, of 10 classes, after 10 epochs`."""
    data = record.data
    train = counted(data.train, singular(f"training {data.unit}"))
    epochs = counted(record.config["epochs"], "epoch")
    return (
        f"on {train}, and were tested on {counted(data.test, 'other')}, of "
        f"{counted(data.classes, 'class')}, after {epochs}"
    )


def _students(results: Results) -> str:
    teacher = results.teacher
    accuracy = f", {number(teacher.accuracy)} % right on the test set" if teacher else ""
    if TEACHER in results.failed:
        return (
            f"{counted(results.seeds, 'student')} of each method "
            f"({_network(results, 'student')}) were to learn from one teacher "
            f"({_network(results, 'teacher')}), which was trained here and failed."
        )
    shared = results.config.get("order", "shared") == "shared"
    order = "in the same order" if shared else "in an order of the seed's own"
    return (
        f"{counted(results.seeds, 'student')} of each method "
        f"({_network(results, 'student')}) learned from one teacher "
        f"({_network(results, 'teacher')}{accuracy}) {tested(results)}. Students of one seed began "
        f"with the same weights, whatever the method, and read batches {order}."
    )


def _network(results: Results, role: str) -> str:
    name = results.config.get(f"{role}_model") or results.networks.get(role)
    count = results.parameters.get(role)
    told = [name] if name else []
    if count is not None:
        told.append(counted(count, "parameter"))
    return ", ".join(told) or role


def _stages(results: Results) -> list[str]:
    width, most = results.config.get("resolution"), results.config.get("max_seeds")
    if results.pilot is None:
        return []
    known = "as let every difference be known to"
    asked = "" if width is None else f" {known} ± {counted(width, 'point')}"
    bound = "" if most is None else f", {most} at most"
    first = f"The first {counted(results.pilot, 'seed')} were a pilot"
    return [f"{first}, and so many were added{asked}{bound}."]


def _swept(results: Results) -> list[str]:
    if not results.config.get("sweep"):
        return []
    split = counted(results.data.validation, singular(f"validation {results.data.unit}"))
    return [
        f"The setting of each method was chosen on {split}; the choice never looks at the test set."
    ]
