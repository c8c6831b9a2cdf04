"""Laws of what a loss refuses, with ValueError and the names of the arguments."""

import inspect

import torch
from hypothesis import strategies as st

from fkd.testing._case import Case, Loss, draw, require, rows
from fkd.testing._transforms import unremarkable
from fkd.testing.strategies import Arguments


def _names(loss: Loss) -> list[str]:
    return list(inspect.signature(loss).parameters)


def _refuses(loss: Loss, arguments: Arguments, names: list[str], **hyper: float) -> None:
    try:
        loss(*arguments, **hyper)
    except ValueError as error:
        missing = [name for name in names if name not in str(error)]
        require(not missing, f"the message must name {' and '.join(names)}, but it is: {error}")
    else:
        raise AssertionError(f"{' and '.join(names) or 'the batch'} must raise ValueError")


def shapes_that_differ_are_refused(loss: Loss, case: Case, data: st.DataObject) -> None:
    """A target of another batch raises ValueError with the names of student and target."""
    names = _names(loss)
    bound, arguments = draw(loss, case, data)
    target = arguments[case.sides]
    longer = torch.cat([target, target])
    others = arguments[case.sides + 1 :]
    _refuses(bound, (*arguments[: case.sides], longer, *others), [names[0], names[case.sides]])


def whole_numbers_are_refused_as_student(loss: Loss, case: Case, data: st.DataObject) -> None:
    """A student of whole numbers raises ValueError with its name."""
    bound, (student, *others) = draw(loss, case, data)
    _refuses(bound, (student.long(), *others), _names(loss)[:1])


def a_batch_of_one_is_refused(loss: Loss, case: Case, data: st.DataObject) -> None:
    """A batch of one, which has no relations, raises ValueError."""
    loss, arguments = draw(loss, case, data)
    _refuses(loss, rows(case, arguments, [0]), [])


def temperatures_not_above_zero_are_refused(loss: Loss, case: Case, data: st.DataObject) -> None:
    """A temperature of zero, below zero, or not finite raises ValueError with its name."""
    arguments = unremarkable(case, data)
    for value in (0, 0.0, -1.0, float("nan"), float("inf")):
        _refuses(loss, arguments, ["temperature"], temperature=value)
