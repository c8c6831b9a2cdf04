"""Losses of logits against torch.nn.functional, NumPy, SciPy and numbers worked by hand."""

import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import assert_numpys, differences, kl, logit_pair, softmax
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from fkd import losses
from fkd.testing import Case, strategies

TEMPERATURE = {"temperature": strategies.temperatures()}
OF_LOGITS = [  # which are those that take a mask, and those of a whole batch
    name
    for name in losses.__all__
    if "mask" in inspect.signature(getattr(losses, name)).parameters or name.startswith("dist_")
]
LOGITS = {"shift": True, "leading": True, "mask": True}
CASES = {
    "cross_entropy": Case(
        strategies.labelled_logits(),
        {"label_smoothing": strategies.shares()},
        **LOGITS,
    ),
    "jensen_shannon": Case(
        strategies.logit_pairs(),
        {"beta": strategies.shares(), **TEMPERATURE},
        high=math.log(2),
        divergence=True,
        **LOGITS,
        power=0,
    ),
    "kl_divergence": Case(
        strategies.logit_pairs(), TEMPERATURE, divergence=True, **LOGITS, power=2
    ),
    "reverse_kl_divergence": Case(
        strategies.logit_pairs(), TEMPERATURE, divergence=True, **LOGITS, power=2
    ),
    "soft_cross_entropy": Case(strategies.logit_pairs(), TEMPERATURE, **LOGITS, power=2),
    "total_variation": Case(
        strategies.logit_pairs(),
        TEMPERATURE,
        high=1.0,
        divergence=True,
        **LOGITS,
        symmetric=True,
        smooth=0,
        power=0,
    ),
}


def _generalised(s, t, temperature, beta=0.5):
    q, p = softmax(s / temperature), softmax(t / temperature)
    m = beta * p + (1 - beta) * q
    return beta * kl(p, m) + (1 - beta) * kl(q, m)


FORMULAS: dict[str, Callable[..., np.ndarray]] = {
    "reverse_kl_divergence": lambda s, t, temperature: (
        temperature**2 * kl(softmax(s / temperature), softmax(t / temperature))
    ),
    "jensen_shannon": _generalised,
    "total_variation": lambda s, t, temperature: (
        np.abs(softmax(s / temperature) - softmax(t / temperature)).sum(-1) / 2
    ),
}


@pytest.mark.parametrize("temperature", [0.5, 1, 3.0])
@pytest.mark.parametrize("name", FORMULAS)
def test_a_divergence_and_its_gradients_are_numpys(name, temperature):
    def loss(s, t):
        return getattr(losses, name)(s, t, temperature=temperature)

    def formula(s, t):
        return FORMULAS[name](s, t, temperature)

    assert_numpys(loss, formula, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_is_torchs(smoothing):
    student, _ = logit_pair()
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    expected = F.cross_entropy(student, labels, label_smoothing=smoothing, reduction="none")
    actual = losses.cross_entropy(student, labels, label_smoothing=smoothing)
    torch.testing.assert_close(actual, expected)


def test_cross_entropy_by_hand():
    # softmax([ln 3, 0]) = [3/4, 1/4]
    value = losses.cross_entropy(torch.tensor([[math.log(3), 0.0]] * 2), torch.tensor([0, 1]))
    torch.testing.assert_close(value, torch.tensor([math.log(4 / 3), math.log(4)]))


@pytest.mark.parametrize("temperature", [0.5, 1, 2.0, 10.0])
def test_kl_divergence_is_torchs(temperature):
    student, teacher = logit_pair()
    log_q, log_p = (
        F.log_softmax(student / temperature, -1),
        F.log_softmax(teacher / temperature, -1),
    )
    expected = temperature**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(
        losses.kl_divergence(student, teacher, temperature=temperature), expected
    )


@pytest.mark.parametrize("temperature", [0.5, 1, 2.0, 10.0])
def test_soft_cross_entropy_is_numpys(temperature):
    student, teacher = logit_pair()
    q, p = (softmax(x.numpy() / temperature) for x in (student, teacher))
    expected = torch.from_numpy(-(temperature**2) * (p * np.log(q)).sum(-1))
    torch.testing.assert_close(
        losses.soft_cross_entropy(student, teacher, temperature=temperature), expected
    )


def test_soft_cross_entropy_by_hand():
    # p = [1/4, 3/4] at T = 2 and q uniform: 4 ln 2
    teacher = torch.tensor([[0.0, 2 * math.log(3)]])
    value = losses.soft_cross_entropy(torch.zeros(1, 2), teacher, temperature=2.0)
    torch.testing.assert_close(value, torch.tensor([4 * math.log(2)]))


@pytest.mark.parametrize("name", ["kl_divergence", "soft_cross_entropy"])
def test_the_students_gradient_is_t_times_q_minus_p(name):
    student, teacher = logit_pair()
    gradient = torch.func.grad(lambda s: getattr(losses, name)(s, teacher, temperature=3.0).sum())(
        student
    )
    q, p = (softmax(x.numpy() / 3.0) for x in (student, teacher))
    torch.testing.assert_close(gradient, torch.from_numpy(3.0 * (q - p)))


def test_a_teacher_with_a_probability_of_zero_has_the_limit():
    student = torch.zeros(1, 3)
    teacher = torch.tensor([[0.0, 0.0, -math.inf]])
    torch.testing.assert_close(
        losses.kl_divergence(student, teacher), torch.tensor([math.log(3 / 2)])
    )


def test_half_precision_logits_of_ten_thousand():
    student = torch.tensor([[1e4, 0.0], [0.0, 1e4]], dtype=torch.float16)
    value = losses.kl_divergence(student, student.flip(0), temperature=4.0)
    torch.testing.assert_close(value, torch.tensor([40000.0, 40000.0], dtype=torch.float16))


@pytest.mark.plain
def test_labels_outside_the_classes_are_refused_but_where_they_are_masked():
    logits, labels = torch.zeros(2, 3), torch.tensor([1, -100])
    with pytest.raises(ValueError, match=r"\[0, 3\), for student has 3 classes, .* label 3;"):
        losses.cross_entropy(torch.zeros(1, 3), torch.tensor([3]))
    with pytest.raises(ValueError, match=r"the label -100; .* mask=labels != -100"):
        losses.cross_entropy(logits, labels)
    value = losses.cross_entropy(logits, labels, mask=labels != -100)
    torch.testing.assert_close(value, torch.tensor([3.0, 1.0]).log() * torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="the label 7"):
        losses.cross_entropy(logits, torch.tensor([7, -100]), mask=labels != -100)


@pytest.mark.plain
def test_labels_are_read_under_grad_and_vmap_but_not_in_a_compiled_step():
    def total(logits: Tensor, labels: Tensor) -> Tensor:
        return losses.cross_entropy(logits, labels).sum()

    members, step = torch.zeros(4, 2, 3), torch.vmap(torch.func.grad(total), (0, None))
    with pytest.raises(ValueError, match="the label 3"):
        torch.func.grad(total)(members[0], torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="the label 3"):
        step(members, torch.tensor([0, 3]))
    own = torch.tensor([[0, 1], [2, 0], [3, 0], [0, 0]])
    with pytest.raises(ValueError, match="the label 3"):
        torch.vmap(torch.func.grad(total))(members, own)
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    labels = torch.tensor([0, 2])
    torch.testing.assert_close(compiled(members, labels), step(members, labels))


@pytest.mark.plain
def test_wrong_axes_and_dtypes_are_refused():
    with pytest.raises(ValueError, match=r"teacher must be \[\.\.\. classes\], but it is \(\)"):
        losses.kl_divergence(torch.zeros(1, 2), torch.tensor(0.0))
    with pytest.raises(ValueError, match=r"student is \(1, 2\) and teacher is \(2,\)"):
        losses.kl_divergence(torch.zeros(1, 2), torch.zeros(2))
    soft = r"or soft in the student's shape .* labels is \(1,\) of torch.float32"
    with pytest.raises(ValueError, match=soft):
        losses.cross_entropy(torch.zeros(1, 2), torch.zeros(1))
    with pytest.raises(ValueError, match=r"student is \(2, 3, 4\) and labels is \(2, 4\)"):
        losses.cross_entropy(torch.zeros(2, 3, 4), torch.zeros(2, 4).long())
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\], but it is 2"):
        losses.cross_entropy(torch.zeros(1, 2), torch.tensor([0]), label_smoothing=2)


@pytest.mark.plain
@pytest.mark.parametrize("name", OF_LOGITS)
def test_one_logit_is_refused_of_which_every_softmax_is_one(name):
    loss = getattr(losses, name)
    sides = {"student": torch.randn(2, 1), "teacher": torch.randn(2, 1)}
    sides |= {"labels": torch.zeros(2, dtype=torch.int64), "cost": torch.zeros(1, 1)}
    own = {key: x for key, x in sides.items() if key in inspect.signature(loss).parameters}
    with pytest.raises(ValueError, match=rf"{name}: logits must be of two .* F.pad\(logit, \(1, 0"):
        loss(**own)


def test_one_logit_for_yes_or_no_is_a_pair_with_zero():
    logit, labels = torch.tensor([[-1.5], [0.25]], dtype=torch.float64), torch.tensor([0, 1])
    pair = F.pad(logit, (1, 0))
    expected = F.binary_cross_entropy_with_logits(
        logit.squeeze(-1), labels.double(), reduction="none"
    )
    torch.testing.assert_close(losses.cross_entropy(pair, labels), expected)


def test_the_gradient_of_kl_goes_to_that_of_centred_squared_error_as_t_grows():
    student, teacher = logit_pair()
    gradient = torch.func.grad(lambda s: losses.kl_divergence(s, teacher, temperature=1e5).sum())(
        student
    )
    difference = (student - student.mean(-1, keepdim=True)) - (
        teacher - teacher.mean(-1, keepdim=True)
    )
    torch.testing.assert_close(gradient, difference / 5, atol=1e-4, rtol=1e-3)


def test_soft_cross_entropy_of_a_class_that_neither_side_has():
    absent = torch.tensor([[0.0, 0.0, -math.inf]])
    torch.testing.assert_close(
        losses.soft_cross_entropy(absent, absent), torch.tensor([math.log(2)])
    )


def test_reverse_kl_is_kl_with_the_sides_exchanged():
    student, teacher = logit_pair()
    torch.testing.assert_close(
        losses.reverse_kl_divergence(student, teacher, temperature=3.0),
        losses.kl_divergence(teacher, student, temperature=3.0),
    )


@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_jensen_shannon_of_other_shares_is_numpys(beta):
    student, teacher = logit_pair()
    expected = torch.from_numpy(_generalised(student.numpy(), teacher.numpy(), 2.0, beta))
    actual = losses.jensen_shannon(student, teacher, beta=beta, temperature=2.0)
    torch.testing.assert_close(actual, expected)
    exchanged = losses.jensen_shannon(teacher, student, beta=1 - beta, temperature=2.0)
    torch.testing.assert_close(exchanged, expected)


def test_jensen_shannon_is_the_square_of_scipys_distance():
    student, teacher = logit_pair()
    q, p = softmax(student.numpy()), softmax(teacher.numpy())
    expected = torch.tensor([jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)])
    torch.testing.assert_close(losses.jensen_shannon(student, teacher), expected)


def test_jensen_shannon_over_its_smaller_share_goes_to_a_kl_divergence():
    student, teacher = logit_pair()
    forward = losses.jensen_shannon(student, teacher, beta=1e-7) / 1e-7
    torch.testing.assert_close(forward, losses.kl_divergence(student, teacher), rtol=1e-4, atol=0)
    backward = losses.jensen_shannon(student, teacher, beta=1 - 1e-7) / 1e-7
    torch.testing.assert_close(
        backward, losses.reverse_kl_divergence(student, teacher), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("beta", [0, 1, 0.0, 1.0])
def test_jensen_shannon_is_zero_at_both_ends(beta):
    student, teacher = logit_pair()
    gradient, value = torch.func.grad_and_value(
        lambda s: losses.jensen_shannon(1e4 * s, 1e4 * teacher, beta=beta).sum()
    )(student)
    assert value == 0
    assert (gradient == 0).all()


def test_the_slope_of_jensen_shannon_at_its_ends_is_a_kl_divergence():
    student, teacher = logit_pair()
    slope = torch.func.grad(lambda beta: losses.jensen_shannon(student, teacher, beta=beta).sum())
    at_zero, at_one = (slope(torch.tensor(end, dtype=torch.float64)) for end in (0.0, 1.0))
    torch.testing.assert_close(at_zero, losses.kl_divergence(student, teacher).sum())
    torch.testing.assert_close(at_one, -losses.reverse_kl_divergence(student, teacher).sum())
    middle = differences(
        lambda b: _generalised(student.numpy(), teacher.numpy(), 1.0, float(b)),
        torch.tensor(0.3, dtype=torch.float64),
    )
    torch.testing.assert_close(slope(torch.tensor(0.3, dtype=torch.float64)), middle)


def test_jensen_shannon_of_classes_that_a_side_has_not():
    # p = [1, 0, 0] and q = [1/2, 1/2, 0], so m = [3/4, 1/4, 0]
    student = torch.tensor([[0.0, 0.0, -math.inf]])
    teacher = torch.tensor([[0.0, -math.inf, -math.inf]])
    gradient, value = torch.func.grad_and_value(lambda s: losses.jensen_shannon(s, teacher).sum())(
        student
    )
    expected = (math.log(4 / 3) + math.log(2 / 3) / 2 + math.log(2) / 2) / 2
    torch.testing.assert_close(value, torch.tensor(expected))
    # q (g - <q, g>) / 2 with g = log(q/m) = [log 2/3, log 2, .]
    torch.testing.assert_close(gradient, torch.tensor([[-math.log(3) / 8, math.log(3) / 8, 0.0]]))
    for beta in (0, 1):
        assert losses.jensen_shannon(student, teacher, beta=beta) == 0


def test_jensen_shannon_has_a_finite_hessian_where_the_sides_part():
    student, teacher = torch.tensor([500.0, 0.0]), torch.tensor([0.0, 500.0])
    hessian = torch.func.jacrev(
        torch.func.grad(lambda s: losses.jensen_shannon(s[None], teacher[None]).sum())
    )(student)
    torch.testing.assert_close(hessian, torch.zeros(2, 2))


def test_total_variation_by_hand():
    # [1/2, 1/4, 1/4] and [1/8, 1/8, 3/4]: the two differ most on the first two classes
    student = torch.tensor([[2.0, 1.0, 1.0]]).log()
    teacher = torch.tensor([[1.0, 1.0, 6.0]]).log()
    torch.testing.assert_close(losses.total_variation(student, teacher), torch.tensor([0.5]))


@pytest.mark.parametrize("distance", [1e-6, 1e-3, 1.0])
def test_total_variation_in_float32_is_as_exact_as_a_probability(distance):
    student, teacher = (x.float() for x in logit_pair())
    teacher = student + distance * teacher
    expected = losses.total_variation(student.double(), teacher.double())
    value = losses.total_variation(student, teacher)
    # each p and q carries a rounding of its log, which is at most about 16
    torch.testing.assert_close(value.double(), expected, rtol=0, atol=16 * 2**-23)


def test_total_variation_of_equal_logits_has_no_gradient():
    student, _ = logit_pair()
    gradient = torch.func.grad(lambda s: losses.total_variation(s, student).sum())(student)
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", [*FORMULAS, "kl_divergence", "soft_cross_entropy"])
@pytest.mark.parametrize("size", [40.0, 1e4])
def test_large_logits_have_finite_values_and_gradients(name, size):
    student, teacher = (x.float() * size for x in logit_pair())
    both = torch.func.grad_and_value(lambda s: getattr(losses, name)(s, teacher).sum())(student)
    assert all(part.isfinite().all() for part in both)


@pytest.mark.plain
def test_a_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"jensen_shannon: beta must lie in \[0, 1\]"):
        losses.jensen_shannon(torch.zeros(1, 2), torch.zeros(1, 2), beta=1.5)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("student", "labels", "remedy"),
    [
        ((2, 3, 4, 5), (2, 4, 5), r"student\.movedim\(1, -1\)"),  # as torch has them
        ((4, 3), (4, 3), r"labels\.float\(\)"),
        ((4, 3), (4, 1), r"labels\.squeeze\(-1\)"),
    ],
)
def test_labels_of_a_known_other_form_are_refused_with_the_remedy(student, labels, remedy):
    with pytest.raises(ValueError, match=f"cross_entropy: student must be .*; .*give {remedy}"):
        losses.cross_entropy(torch.zeros(student), torch.zeros(labels, dtype=torch.int64))
