"""Laws of what changes nothing: the batch's order and parts, shifts, scales, rotations, places."""

from functools import partial

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from fkd.testing._case import Case, Loss, draw, draw_hyper, rows

_near = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)


def a_permuted_batch_permutes_the_values(loss: Loss, case: Case, data: st.DataObject) -> None:
    """The values of a batch in another order are the values in that order; of classes, the same."""
    loss, arguments = draw(loss, case, data)
    order = data.draw(st.permutations(range(len(arguments[0]))), "order")
    expected = loss(*arguments) if case.per_class else loss(*arguments)[order]
    torch.testing.assert_close(loss(*rows(case, arguments, order)), expected)


def a_split_batch_splits_the_values(loss: Loss, case: Case, data: st.DataObject) -> None:
    """The values of a batch are those of its first part and then those of the rest."""
    loss, arguments = draw(loss, case, data)
    batch = len(arguments[0])
    assume(batch > 1)
    cut = data.draw(st.integers(1, batch - 1), "cut")
    parts = (rows(case, arguments, part) for part in (slice(cut), slice(cut, None)))
    torch.testing.assert_close(torch.cat([loss(*part) for part in parts]), loss(*arguments))


def a_shift_of_the_logits_changes_nothing(loss: Loss, case: Case, data: st.DataObject) -> None:
    """A constant added to all logits, on either side, changes nothing."""
    loss, (student, target, *others) = draw(loss, case, data)
    one, two = (data.draw(st.integers(-50, 50), "shift") for _ in range(2))
    shifted = target + two if target.is_floating_point() else target
    expected = loss(student, target, *others)
    torch.testing.assert_close(loss(student + one, shifted, *others), expected)


def logits_and_temperature_scale_together(loss: Loss, case: Case, data: st.DataObject) -> None:
    """Logits and temperature times a number multiply the value by that number's power."""
    hyper, arguments = draw_hyper(case, data), data.draw(case.inputs, "arguments")
    factor = data.draw(st.sampled_from([0.5, 2.0, 4.0]), "factor")  # by which nothing is rounded
    logits = tuple(x * factor for x in arguments[: 2 * case.sides] if x.is_floating_point())
    scaled = loss(
        *logits,
        *arguments[len(logits) :],
        **hyper | {"temperature": hyper["temperature"] * factor},
    )
    assert case.power is not None  # the law applies to no other
    torch.testing.assert_close(scaled, loss(*arguments, **hyper) * factor**case.power)


def a_scale_of_the_features_changes_nothing(loss: Loss, case: Case, data: st.DataObject) -> None:
    """All features of one side times a positive number change nothing."""
    loss, (student, teacher, *others) = draw(loss, case, data)
    factor = data.draw(st.integers(1, 50), "factor")
    expected = loss(student, teacher, *others)
    _near(loss(student * factor, teacher, *others), expected)
    _near(loss(student, teacher * factor, *others), expected)


def _rotated(x: Tensor, generator: torch.Generator) -> Tensor:
    width = x.shape[1]
    square = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return x @ torch.linalg.qr(square).Q


def a_rotation_of_the_embeddings_changes_nothing(
    loss: Loss, case: Case, data: st.DataObject
) -> None:
    """All examples' embeddings rotated, each side by its own rotation, change nothing."""
    loss, (student, teacher, *others) = draw(loss, case, data)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999), "seed"))
    rotated = loss(_rotated(student, generator), _rotated(teacher, generator), *others)
    _near(rotated, loss(student, teacher, *others))


def student_and_target_may_change_places(loss: Loss, case: Case, data: st.DataObject) -> None:
    """Student and target may change places."""
    loss, (student, teacher, *others) = draw(loss, case, data)
    torch.testing.assert_close(loss(teacher, student, *others), loss(student, teacher, *others))
