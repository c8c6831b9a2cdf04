"""Laws that hold for every public loss, as hypothesis properties over one table.

To add a loss, add a `Case`: the laws apply by themselves, and a test fails while it is missing.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import strategies
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fkd import losses

settings.register_profile(
    "fkd", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fkd")


class Case(NamedTuple):
    """What is true of a loss.

    `divergence`: not negative, and zero with a zero gradient where both sides agree.
    `shift`: unchanged when a constant is added to all logits of an example, on either side.
    `scale`: unchanged when an example's features are multiplied by a positive number.
    `smooth`: differentiable at every finite input, so that gradcheck applies everywhere; where it
    is not, gradcheck is tried only where no row is near zero.
    """

    inputs: st.SearchStrategy[strategies.Pair]
    hyper: dict[str, st.SearchStrategy[float]]
    divergence: bool
    shift: bool
    scale: bool
    smooth: bool


TEMPERATURE = {"temperature": strategies.temperatures()}
CASES = {
    "cosine_distance": Case(strategies.feature_pairs(), {}, True, False, True, False),
    "cross_entropy": Case(
        strategies.labelled_logits(),
        {"label_smoothing": strategies.shares()},
        divergence=False,
        shift=True,
        scale=False,
        smooth=True,
    ),
    "kl_divergence": Case(strategies.logit_pairs(), TEMPERATURE, True, True, False, True),
    "soft_cross_entropy": Case(strategies.logit_pairs(), TEMPERATURE, False, True, False, True),
    "squared_error": Case(strategies.feature_pairs(), {}, True, False, False, True),
}


class Drawn(NamedTuple):
    """A loss with its hyperparameters filled in, and one pair of inputs."""

    case: Case
    loss: Callable[..., Tensor]
    student: Tensor
    target: Tensor
    hyper: dict[str, float]

    def __call__(self, student: Tensor, target: Tensor) -> Tensor:
        return self.loss(student, target, **self.hyper)


@st.composite
def drawn(draw: Any, law: str | None = None) -> Drawn:
    """Any loss for which `law` (a field of `Case`) is true, with inputs."""
    name = draw(st.sampled_from([n for n, c in CASES.items() if law is None or getattr(c, law)]))
    case = CASES[name]
    hyper = {key: draw(values) for key, values in case.hyper.items()}
    student, target = draw(case.inputs)
    return Drawn(case, getattr(losses, name), student, target, hyper)


def test_every_public_loss_has_a_case():
    assert sorted(CASES) == sorted(losses.__all__)


@given(drawn(), st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
def test_one_finite_value_per_example_in_the_students_dtype(d: Drawn, dtype: torch.dtype):
    value = d(d.student.to(dtype), d.target)
    assert value.shape == d.student.shape[:1]
    assert value.dtype == dtype
    assert value.isfinite().all()


@given(drawn(), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_lower_precision_stays_near_float64(d: Drawn, dtype: torch.dtype):
    # Inputs are rounded first, so that only the loss's own rounding is measured.
    student = d.student.to(dtype)
    target = d.target.to(dtype) if d.target.is_floating_point() else d.target
    exact = d(student.double(), target.double() if target.is_floating_point() else target)
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(
        d(student, target).double(),
        exact,
        rtol=4 * rounding,
        atol=2000 * torch.finfo(torch.float32).eps,
    )


@given(drawn(), st.randoms(use_true_random=False))
def test_a_permuted_batch_gives_the_permuted_values(d: Drawn, random: Any):
    order = random.sample(range(len(d.student)), len(d.student))
    torch.testing.assert_close(d(d.student[order], d.target[order]), d(d.student, d.target)[order])


@given(drawn(), st.integers(1, 3))
def test_vmap_equals_a_loop(d: Drawn, members: int):
    student = torch.stack([d.student + k for k in range(members)])
    looped = torch.stack([d(each, d.target) for each in student])
    shared = torch.func.vmap(d, in_dims=(0, None))(student, d.target)
    own = torch.func.vmap(d)(student, torch.stack([d.target] * members))
    torch.testing.assert_close(shared, looped)
    torch.testing.assert_close(own, looped)


@given(drawn())
def test_hyperparameters_may_be_leaves_with_a_member_axis(d: Drawn):
    assume(d.hyper)
    leaves = {key: torch.tensor([value, 1.0]).double() for key, value in d.hyper.items()}
    both = torch.func.vmap(lambda h: d.loss(d.student, d.target, **h))(leaves)
    torch.testing.assert_close(both[0], d(d.student, d.target))
    torch.testing.assert_close(both[1], d.loss(d.student, d.target, **dict.fromkeys(d.hyper, 1.0)))


@given(drawn())
def test_inputs_are_untouched(d: Drawn):
    student, target = d.student.clone(), d.target.clone()
    torch.func.grad(lambda s: d(s, d.target).sum())(d.student)
    assert torch.equal(student, d.student)
    assert torch.equal(target, d.target)


@given(drawn())
def test_the_gradient_is_that_of_the_value(d: Drawn):
    inputs = [d.student.clone().requires_grad_(), d.target.clone()]
    if not d.case.smooth:  # away from the kink, where a finite difference means something
        assume(all(x.flatten(1).norm(dim=-1).min() > 0.1 for x in inputs))
    if inputs[1].is_floating_point():
        inputs[1].requires_grad_()  # gradients flow to both sides
    assert torch.autograd.gradcheck(d, inputs, atol=1e-4)


@given(drawn(law="divergence"))
def test_a_divergence_is_not_negative(d: Drawn):
    assert (d(d.student, d.target) >= -1e-12).all()


@given(drawn(law="divergence"))
def test_a_divergence_is_zero_with_a_zero_gradient_at_equality(d: Drawn):
    assume(d.case.smooth or d.student.flatten(1).abs().amax(-1).min() > 0)
    gradient, value = torch.func.grad_and_value(lambda s: d(s, d.student).sum())(d.student)
    torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


@given(drawn(law="shift"), st.integers(-50, 50))
def test_a_shift_of_the_logits_changes_nothing(d: Drawn, constant: int):
    target = d.target + constant if d.target.is_floating_point() else d.target
    torch.testing.assert_close(d(d.student + constant, target), d(d.student, d.target))


@given(drawn(law="scale"), st.integers(1, 50))
def test_a_positive_scale_of_the_features_changes_nothing(d: Drawn, factor: int):
    torch.testing.assert_close(d(d.student * factor, d.target), d(d.student, d.target))
    torch.testing.assert_close(d(d.student, d.target * factor), d(d.student, d.target))


@given(drawn())
def test_extreme_and_empty_rows_stay_finite(d: Drawn):
    for student in (d.student * 1e4, torch.zeros_like(d.student), d.student.float() * 1e4):
        target = d.target.to(student.dtype) if d.target.is_floating_point() else d.target
        for other in (target, student if target.is_floating_point() else target):
            total = torch.func.grad_and_value(lambda s, other=other: d(s, other).sum())(student)
            assert all(part.isfinite().all() for part in total)


@pytest.mark.plain
@given(drawn())
def test_mismatched_shapes_are_refused_with_both_names(d: Drawn):
    other = "labels" if not d.target.is_floating_point() else "teacher"
    with pytest.raises(ValueError, match=rf"student.*\(.*{other}.*\("):
        d(d.student, torch.cat([d.target, d.target]))


@pytest.mark.plain
@given(drawn())
def test_whole_numbers_are_refused_as_student(d: Drawn):
    with pytest.raises(ValueError, match="student must be floating-point"):
        d(d.student.long(), d.target)


@pytest.mark.parametrize("value", [0, 0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if "temperature" in case.hyper]
)
def test_a_temperature_that_is_not_above_zero_is_refused(name: str, value: float):
    with pytest.raises(ValueError, match=f"{name}: temperature must be above zero"):
        getattr(losses, name)(torch.zeros(1, 2), torch.zeros(1, 2), temperature=value)


@given(drawn())
def test_bfloat16_autocast_runs(d: Drawn):
    with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16):
        assert d(d.student.float(), d.target).isfinite().all()


@pytest.mark.plain
@pytest.mark.parametrize("name", CASES)
def test_compiled_in_one_graph_equals_eager(name: str):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 5).unbind()
    target = torch.tensor([0, 4, 2]) if name == "cross_entropy" else teacher
    loss = torch.func.grad_and_value(lambda s, t: getattr(losses, name)(s, t).sum())
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True)(student, target)
    torch.testing.assert_close(compiled, loss(student, target))
