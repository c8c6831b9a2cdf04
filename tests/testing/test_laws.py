"""A loss of one's own is held to the laws, and one that breaks a law is told which."""

import re
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from fkd import losses
from fkd.testing import LAWS, Case, check, claims, laws, strategies

# The typed pass checks a shape that a strategy takes at one element, which `random` chooses.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

CASE = Case(strategies.logit_pairs(batch=2), divergence=True, refuses=False)
TEMPERED = CASE._replace(hyper={"temperature": strategies.temperatures()}, refuses=True)


def jeffreys(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    half = student.dtype in (torch.float16, torch.bfloat16)
    wide = torch.float32 if half else student.dtype
    pair = student.to(wide), teacher.to(wide)  # each term would be rounded else, and their sum
    forward = losses.kl_divergence(*pair, temperature=temperature)
    reverse = losses.reverse_kl_divergence(*pair, temperature=temperature)
    return (forward + reverse).to(student.dtype)


test_jeffreys = pytest.mark.plain(
    laws(
        jeffreys,
        Case(
            strategies.logit_pairs(),
            {"temperature": strategies.temperatures()},
            divergence=True,
            shift=True,
            symmetric=True,
        ),
    )
)


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    return (student.float() - teacher.float()).square().mean(-1).to(student.dtype)


def mean_of_batch(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().mean()


def relative(student: Tensor, teacher: Tensor) -> Tensor:
    return ((student - teacher) / student.abs().sum(-1, keepdim=True)).square().sum(-1)


def in_place(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher.mul_(2).div_(3)).square().sum(-1)


def numbered(student: Tensor, teacher: Tensor) -> Tensor:
    weight = torch.arange(1.0, len(student) + 1, dtype=student.dtype)
    return weight * (student - teacher).square().sum(-1)


def centred(student: Tensor, teacher: Tensor) -> Tensor:
    difference = student - teacher
    return (difference - difference.mean(0)).square().sum(-1)


def stopped(student: Tensor, teacher: Tensor) -> Tensor:
    return ((student - teacher) * (student - teacher).detach()).sum(-1)


def branching(student: Tensor, teacher: Tensor) -> Tensor:
    difference = (student - teacher).square().sum(-1)
    return difference if difference.sum() > 1 else 2 * difference


def signed(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).sum(-1)


def offset(student: Tensor, teacher: Tensor) -> Tensor:
    return ((student.double() - teacher.double()).square().sum(-1) + 1).to(student.dtype)


def of_the_student(student: Tensor, teacher: Tensor) -> Tensor:
    return student.square().sum(-1) + 0 * teacher.sum(-1)


def rounded(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().sum(-1) + 1000 * torch.finfo(student.dtype).eps


def in_bfloat16(student: Tensor, teacher: Tensor) -> Tensor:
    q, p = student.log_softmax(-1), teacher.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def twice_rounded(student: Tensor, teacher: Tensor) -> Tensor:
    differences = (student.double() - teacher.double()).square()
    return differences.to(student.dtype).double().sum(-1).to(student.dtype)


def with_a_number(student: Tensor, teacher: Tensor, *, weight: float | Tensor = 1.0) -> Tensor:
    constant = weight.detach() if isinstance(weight, Tensor) else weight
    return constant * (student - teacher).square().sum(-1)


def with_a_root(student: Tensor, teacher: Tensor, *, share: float | Tensor = 1.0) -> Tensor:
    return share**0.5 * (student - teacher).square().sum(-1)


def without_the_square(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    q, p = (x.double().div(temperature).log_softmax(-1) for x in (student, teacher))
    return (p.exp() * (p - q)).sum(-1).to(student.dtype)


def deaf_to_a_leaf(student: Tensor, teacher: Tensor, *, weight: float | Tensor = 1.0) -> Tensor:
    number = 1.0 if isinstance(weight, Tensor) else weight
    return number * (student - teacher).square().sum(-1)


def branching_on_a_leaf(
    student: Tensor, teacher: Tensor, *, weight: float | Tensor = 1.0
) -> Tensor:
    return (student - teacher).square().sum(-1) * (weight if weight > 1 else 1.0)


def by_a_product(student: Tensor, teacher: Tensor) -> Tensor:
    above = torch.full((1, 1), 1 + 2**-6, dtype=student.dtype)  # its square, bfloat16 rounds
    excess = above @ above - above - above + 1  # 2⁻¹², or under autocast zero
    return (student - teacher).square().sum(-1) * (excess / excess).squeeze()


def at_any_temperature(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    return (student - teacher).square().sum(-1) * temperature


def of_a_nameless_temperature(
    student: Tensor, teacher: Tensor, *, temperature: float = 1.0
) -> Tensor:
    if not 0 < temperature < float("inf"):
        raise ValueError("T must be above zero")
    return (student - teacher).square().sum(-1) * temperature


def at_random(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().sum(-1) * torch.rand(())


def silent(student: Tensor, teacher: Tensor) -> Tensor:
    return (student.mean() - teacher.mean()).square() + 0 * student.sum(-1)


def by_the_second_axis(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().sum(1)


def one_an_example(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().flatten(1).sum(-1)


def weighed(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    value = (student - teacher).square().sum(-1)
    return value if mask is None else value * mask


def zeroed_behind(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    value = (student - teacher).square().sum(-1)
    return value if mask is None else value.masked_fill(~mask, 0.0)


def filled_before(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    if mask is not None:
        student, teacher = (x.masked_fill(~mask[..., None], 0.0) for x in (student, teacher))
    return (student - teacher).square().sum(-1) + 1


def of_those_kept(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    if mask is None:
        return (student - teacher).square().sum(-1)
    student, teacher = (x.masked_fill(~mask[..., None], 0.0) for x in (student, teacher))
    return (student - teacher).square().sum(-1) / mask.double().mean().clamp(min=0.1)


def terse(student: Tensor, teacher: Tensor) -> Tensor:
    if student.shape != teacher.shape:
        raise ValueError("shapes")
    return (student - teacher).square().sum(-1)


WRONG = [
    (mean_of_batch, CASE, "one_finite_value_each"),
    (relative, CASE, "extreme_and_empty_rows_stay_finite"),
    (rounded, CASE, "lower_precision_stays_near_float64"),
    (in_bfloat16, CASE, "bfloat16_rounds_once"),
    (twice_rounded, CASE, "bfloat16_rounds_once"),
    (
        with_a_number,
        CASE._replace(hyper={"weight": strategies.eighths(2)}),
        "hyperparameters_have_a_gradient",
    ),
    (
        with_a_root,
        CASE._replace(hyper={"share": strategies.shares()}),
        "hyperparameters_have_a_gradient",
    ),
    (signed, CASE, "values_keep_to_their_bounds"),
    (offset, CASE, "zero_at_equality"),
    (in_place, CASE, "inputs_are_untouched"),
    (at_random, CASE, "equal_arguments_give_equal_values"),
    (
        without_the_square,
        CASE._replace(hyper={"temperature": strategies.temperatures()}, power=2),
        "logits_and_temperature_scale_together",
    ),
    (numbered, CASE, "a_permuted_batch_permutes_the_values"),
    (centred, CASE, "a_split_batch_splits_the_values"),
    (distance, CASE._replace(shift=True), "a_shift_of_the_logits_changes_nothing"),
    (distance, CASE._replace(scale=True), "a_scale_of_the_features_changes_nothing"),
    (distance, CASE._replace(rotation=True), "a_rotation_of_the_embeddings_changes_nothing"),
    (of_the_student, CASE._replace(symmetric=True), "student_and_target_may_change_places"),
    (stopped, CASE, "the_gradient_is_that_of_the_value"),
    (branching, CASE, "vmap_equals_a_loop"),
    (branching, CASE, "compiled_in_one_graph_equals_eager"),
    (by_the_second_axis, CASE._replace(leading=True), "leading_axes_give_a_value_each"),
    (one_an_example, CASE._replace(leading=True), "leading_axes_give_a_value_each"),
    (weighed, CASE._replace(mask=True), "masked_positions_count_as_nothing"),
    (zeroed_behind, CASE._replace(mask=True), "masked_positions_count_as_nothing"),
    (filled_before, CASE._replace(mask=True), "masked_positions_count_as_nothing"),
    (of_those_kept, CASE._replace(mask=True), "masked_positions_count_as_nothing"),
    (silent, CASE._replace(refuses=True), "shapes_that_differ_are_refused"),
    (terse, CASE._replace(refuses=True), "shapes_that_differ_are_refused"),
    (distance, CASE._replace(refuses=True), "whole_numbers_are_refused_as_student"),
    (
        deaf_to_a_leaf,
        CASE._replace(hyper={"weight": strategies.eighths(2)}),
        "hyperparameters_may_be_leaves",
    ),
    (
        branching_on_a_leaf,
        CASE._replace(hyper={"weight": strategies.eighths(2)}),
        "hyperparameters_may_be_leaves",
    ),
    (by_a_product, CASE, "autocast_runs"),
    (distance, CASE._replace(relation=True, whole=True, refuses=True), "a_batch_of_one_is_refused"),
    (at_any_temperature, TEMPERED, "temperatures_not_above_zero_are_refused"),
    (of_a_nameless_temperature, TEMPERED, "temperatures_not_above_zero_are_refused"),
]


@pytest.mark.parametrize(("loss", "case", "law"), WRONG)
def test_a_loss_that_breaks_a_law_is_told_which(loss, case, law):
    assert law in claims(case)
    about = (LAWS[law].holds.__doc__ or "").splitlines()[0]
    message = f"{loss.__name__} breaks the law {law}: {about}"
    with pytest.raises(AssertionError, match=re.escape(message)):
        check(loss, case, law)


def test_a_loss_is_held_to_every_law_that_one_breaks():
    assert {law for _, _, law in WRONG} == LAWS.keys()


def test_the_error_names_the_argument_that_a_refusal_leaves_out():
    with pytest.raises(AssertionError, match="the message must name student and teacher"):
        check(terse, CASE._replace(refuses=True), "shapes_that_differ_are_refused")


def test_check_without_names_holds_to_all_laws_of_the_row():
    with pytest.raises(AssertionError, match="offset breaks the law zero_at_equality"):
        check(offset, CASE)


@pytest.mark.parametrize(
    ("loss", "law"),
    [
        (in_place, "inputs_are_untouched"),
        (at_random, "equal_arguments_give_equal_values"),
    ],
)
def test_the_first_law_that_is_told_is_the_one_that_says_why(loss, law):
    with pytest.raises(AssertionError, match=f"{loss.__name__} breaks the law {law}: "):
        check(loss, CASE)


def test_a_power_is_of_the_temperature():
    with pytest.raises(ValueError, match=r"Case: .* 'temperature' is not known"):
        claims(CASE._replace(power=2))


def test_a_pytest_test_has_one_item_a_law():
    (mark,) = getattr(laws(distance, CASE), "pytestmark")  # noqa: B009, pyright knows it not
    assert mark.args == ("law", claims(CASE))


def test_a_relation_says_that_it_needs_the_whole_batch():
    with pytest.raises(ValueError, match="give whole=True"):
        claims(CASE._replace(relation=True))
    assert "a_batch_of_one_is_refused" in claims(
        CASE._replace(relation=True, whole=True, refuses=True)
    )


@pytest.mark.plain
def test_importing_the_laws_loads_no_loss():
    script = (
        "import sys; import fkd.testing; "
        "assert not [m for m in sys.modules if m.startswith('fkd.losses')]"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


@pytest.mark.parametrize("module", ["hypothesis", "pytest"])
def test_importing_the_laws_without_hypothesis_says_what_to_install(module):
    script = (
        f"import sys; sys.modules['{module}'] = None\n"
        "try:\n    import fkd.testing\nexcept ImportError as error:\n    print(error)"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "pip install 'fkd[testing]'" in result.stdout
