"""Laws of the public losses, as hypothesis properties over one table.

To add a loss, add its row to `tests/cases/`: the laws that the row claims apply by themselves, and
a test fails while the row is missing. `python tests/test_laws.py` prints the table.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from cases import feature, relation, response
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from laws import Case
from strategies import Arguments
from torch import Tensor

from fkd import losses

CASES: dict[str, Case] = response.CASES | feature.CASES | relation.CASES
HALF = [torch.float16, torch.bfloat16]
LAWS = ("divergence", "shift", "scale", "rotation", "symmetric", "smooth", "relation", "per_class")


def law(holds: Callable[[Case], Any] = lambda case: True) -> Callable:
    """A property of every loss whose row `holds`: the test is given its name and `data` to draw."""

    def decorate(test: Callable) -> Callable:
        names = [name for name in CASES if holds(CASES[name])]
        return pytest.mark.parametrize("name", names)(given(data=st.data())(test))

    return decorate


def draw(name: str, data: Any) -> tuple[Callable[..., Tensor], Arguments]:
    """A loss with its keywords filled in, and its positional arguments."""
    case = CASES[name]
    hyper = {key: data.draw(values, key) for key, values in case.hyper.items()}
    arguments = data.draw(case.inputs, "arguments")
    return (lambda *given: getattr(losses, name)(*given, **hyper)), arguments


def cast(arguments: Arguments, dtype: torch.dtype) -> Arguments:
    """The arguments with numbers in `dtype`, and labels as they are."""
    return tuple(x.to(dtype) if x.is_floating_point() else x for x in arguments)


def equal(name: str, arguments: Arguments) -> Arguments:
    """The arguments with the student in the target's place."""
    sides = CASES[name].sides
    students = arguments[:sides]
    return (*students, *(x.clone() for x in students), *arguments[2 * sides :])


def reorder(name: str, arguments: Arguments, order: list[int]) -> Arguments:
    """The arguments with their batch axis in another order."""
    batched = len(arguments) - CASES[name].unbatched
    return (*(x[order] for x in arguments[:batched]), *arguments[batched:])


def test_every_public_loss_has_a_row():
    assert sorted(CASES) == sorted(losses.__all__)


@law()
def test_one_finite_value_each_in_the_students_dtype(name, data):
    loss, arguments = draw(name, data)
    for dtype in (*HALF, torch.float32, torch.float64):
        value = loss(*cast(arguments, dtype))
        assert value.shape == (arguments[0].shape[1 if CASES[name].per_class else 0],)
        assert value.dtype == dtype
        assert value.isfinite().all()


@law()
def test_lower_precision_stays_near_float64(name, data):
    loss, arguments = draw(name, data)
    for dtype in (*HALF, torch.float32):
        rounded = cast(arguments, dtype)  # so that only the loss's own rounding is measured
        exact = loss(*cast(rounded, torch.float64))
        tolerance = 8 * torch.finfo(dtype).eps
        torch.testing.assert_close(loss(*rounded).double(), exact, rtol=tolerance, atol=1e-3)


@law(lambda case: not case.per_class)
def test_a_permuted_batch_gives_the_permuted_values(name, data):
    loss, arguments = draw(name, data)
    order = data.draw(st.permutations(range(len(arguments[0]))))
    torch.testing.assert_close(loss(*reorder(name, arguments, order)), loss(*arguments)[order])


@law(lambda case: case.per_class)
def test_a_permuted_batch_changes_nothing(name, data):
    loss, arguments = draw(name, data)
    order = data.draw(st.permutations(range(len(arguments[0]))))
    torch.testing.assert_close(loss(*reorder(name, arguments, order)), loss(*arguments))


@law()
def test_vmap_equals_a_loop(name, data):
    loss, (student, *others) = draw(name, data)
    students = torch.stack([student, student + 1, student * 2])
    looped = torch.stack([loss(each, *others) for each in students])
    shared = torch.func.vmap(loss, in_dims=(0, *[None] * len(others)))(students, *others)
    own = torch.func.vmap(loss)(students, *(torch.stack([x] * 3) for x in others))
    torch.testing.assert_close(shared, looped)
    torch.testing.assert_close(own, looped)


@law(lambda case: case.hyper)
def test_hyperparameters_may_be_leaves_with_a_member_axis(name, data):
    _, arguments = draw(name, data)
    hyper = {key: data.draw(values) for key, values in CASES[name].hyper.items()}
    leaves = {
        key: torch.tensor([value, value], dtype=torch.float64) for key, value in hyper.items()
    }
    both = torch.func.vmap(lambda h: getattr(losses, name)(*arguments, **h))(leaves)
    torch.testing.assert_close(both[1], getattr(losses, name)(*arguments, **hyper))


@law()
def test_inputs_are_untouched(name, data):
    loss, arguments = draw(name, data)
    before = [x.clone() for x in arguments]
    torch.func.grad(lambda s: loss(s, *arguments[1:]).sum())(arguments[0])
    assert all(torch.equal(x, y) for x, y in zip(arguments, before, strict=True))


@law(lambda case: case.smooth)
def test_the_gradient_is_that_of_the_value_on_both_sides(name, data):
    loss, arguments = draw(name, data)
    # a row near zero or a row near another may stand at a kink, where no finite difference holds
    batched = arguments[: len(arguments) - CASES[name].unbatched]
    rows = [x.flatten(1) for x in batched if x.is_floating_point()]
    assume(all(row.norm(dim=-1).min() > 0.5 for row in rows))
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in arguments]
    assert torch.autograd.gradcheck(loss, inputs, atol=1e-4, rtol=1e-3)
    if CASES[name].smooth > 1:
        assert torch.autograd.gradgradcheck(loss, inputs, atol=1e-3, rtol=1e-2)


@law(lambda case: case.low is not None or case.high is not None)
def test_values_keep_to_their_bounds(name, data):
    loss, arguments = draw(name, data)
    value, case = loss(*arguments), CASES[name]
    assert case.low is None or (value >= case.low - 1e-9).all()
    assert case.high is None or (value <= case.high + 1e-9).all()


@law(lambda case: case.divergence)
def test_a_divergence_is_zero_with_a_zero_gradient_at_equality(name, data):
    loss, arguments = draw(name, data)
    student, *others = equal(name, arguments)
    assume(all(row.abs().amax() > 0 for row in student))  # a row of zeros has no direction
    gradient, value = torch.func.grad_and_value(lambda s: loss(s, *others).sum())(student)
    torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-9, rtol=0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


@law(lambda case: case.shift)
def test_a_shift_of_the_logits_changes_nothing(name, data):
    loss, (student, target, *others) = draw(name, data)
    one, two = (data.draw(st.integers(-50, 50)) for _ in range(2))
    shifted = target + two if target.is_floating_point() else target
    expected = loss(student, target, *others)
    torch.testing.assert_close(loss(student + one, shifted, *others), expected)


@law(lambda case: case.scale)
def test_a_positive_scale_of_the_features_changes_nothing(name, data):
    loss, (student, teacher, *others) = draw(name, data)
    factor = data.draw(st.integers(1, 50))
    expected = loss(student, teacher, *others)
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)
    close(loss(student * factor, teacher, *others), expected)
    close(loss(student, teacher * factor, *others), expected)


@law(lambda case: case.rotation)
def test_a_rotation_of_the_embeddings_changes_nothing(name, data):
    loss, (student, teacher, *others) = draw(name, data)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))

    def rotate(x: Tensor) -> Tensor:
        width = x.shape[1]
        square = torch.randn(width, width, generator=generator, dtype=torch.float64)
        return x @ torch.linalg.qr(square).Q

    expected = loss(student, teacher, *others)
    rotated = loss(rotate(student), rotate(teacher), *others)
    torch.testing.assert_close(rotated, expected, rtol=1e-5, atol=1e-6)


@law(lambda case: case.symmetric)
def test_student_and_target_may_change_places(name, data):
    loss, (student, teacher, *others) = draw(name, data)
    torch.testing.assert_close(loss(teacher, student, *others), loss(student, teacher, *others))


@law()
def test_extreme_and_empty_rows_stay_finite(name, data):
    loss, arguments = draw(name, data)
    large = tuple(x * 10_000 if x.is_floating_point() else x for x in arguments)
    zero = (torch.zeros_like(arguments[0]), *arguments[1:])
    for given_ in (cast(large, torch.float32), zero):
        cases = [given_, equal(name, given_)] if given_[1].is_floating_point() else [given_]
        for student, *others in cases:
            both = torch.func.grad_and_value(lambda s, o=others: loss(s, *o).sum())(student)
            assert all(part.isfinite().all() for part in both)


@pytest.mark.plain
@law()
def test_mismatched_shapes_are_refused_with_both_names(name, data):
    loss, arguments = draw(name, data)
    sides = CASES[name].sides
    students, (target, *others) = arguments[:sides], arguments[sides:]
    other = "teacher" if target.is_floating_point() else "labels"
    with pytest.raises(ValueError, match=rf"(?s)student.*\(.*{other}.*\("):
        loss(*students, torch.cat([target, target]), *others)


@pytest.mark.plain
@law()
def test_whole_numbers_are_refused_as_student(name, data):
    loss, (student, *others) = draw(name, data)
    with pytest.raises(ValueError, match=r"student.* must be floating-point"):
        loss(student.long(), *others)


@pytest.mark.plain
@law(lambda case: case.relation)
def test_a_batch_of_one_has_no_relations_and_is_refused(name, data):
    loss, arguments = draw(name, data)
    with pytest.raises(ValueError, match="at least two examples"):
        loss(*reorder(name, arguments, [0]))


@pytest.mark.parametrize("value", [0, 0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", [n for n, case in CASES.items() if "temperature" in case.hyper])
def test_a_temperature_that_is_not_above_zero_is_refused(name, value):
    arguments = _example(name)
    with pytest.raises(ValueError, match=rf"{name}: temperature must be above zero"):
        getattr(losses, name)(*arguments, temperature=value)


@law()
def test_bfloat16_autocast_runs(name, data):
    loss, arguments = draw(name, data)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(*cast(arguments, torch.float32)).isfinite().all()


def _example(name: str) -> Arguments:
    """Arguments of fixed, unremarkable values."""
    torch.manual_seed(0)
    found: list[Arguments] = []

    @settings(max_examples=1, database=None)
    @given(CASES[name].inputs)
    def first(arguments: Arguments) -> None:
        found.append(arguments)

    first()
    batched = len(found[0]) - CASES[name].unbatched
    drawn = (torch.randn_like(x) if x.is_floating_point() else x for x in found[0][:batched])
    return (*drawn, *found[0][batched:])


@pytest.mark.plain
@pytest.mark.parametrize("name", CASES)
def test_compiled_in_one_graph_equals_eager(name):
    arguments = _example(name)
    loss = torch.func.grad_and_value(lambda *given_: getattr(losses, name)(*given_).sum())
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(loss, fullgraph=True)(*arguments), loss(*arguments))


def table() -> str:
    """The table of laws by losses."""
    rows = [f"{'loss':32}{'range':>14}  " + "  ".join(LAWS)]
    for name in sorted(CASES):
        case = CASES[name]
        bounds = f"[{case.low}, {case.high}]"
        marks = (str(int(getattr(case, key)) or "").rjust(len(key)) for key in LAWS)
        rows.append(f"{name:32}{bounds:>14}  " + "  ".join(marks))
    return "\n".join(rows)


def test_the_table_of_laws_lists_every_loss(capsys):
    printed = table()
    assert all(f"\n{name} " in printed for name in losses.__all__)


if __name__ == "__main__":
    print(table())
