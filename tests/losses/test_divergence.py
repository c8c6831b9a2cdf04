"""Divergences beyond KL against NumPy, their limits, and numbers worked by hand."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracles import assert_numpys, differences, kl, logit_pair, softmax

from fkd import losses
from fkd.testing import Case, strategies

TEMPERATURE = {"temperature": strategies.temperatures()}
SHARE = strategies.shares().filter(lambda share: 0 < share < 1)
DIVERGENCE = {"divergence": True, "shift": True, "leading": True, "mask": True}
CASES = {
    # its share of the two divergences is held constant, and jumps
    "adaptive_kl_divergence": Case(
        strategies.logit_pairs(), {"mass": SHARE, **TEMPERATURE}, **DIVERGENCE, smooth=0, power=2
    ),
    "alpha_beta_divergence": Case(
        strategies.logit_pairs(),
        {"alpha": strategies.shares(), "beta": strategies.eighths(2), **TEMPERATURE},
        **DIVERGENCE,
        power=0,
    ),
    "skewed_kl_divergence": Case(
        strategies.logit_pairs(), {"skew": SHARE, **TEMPERATURE}, **DIVERGENCE, power=2
    ),
    "skewed_reverse_kl_divergence": Case(
        strategies.logit_pairs(), {"skew": SHARE, **TEMPERATURE}, **DIVERGENCE, power=2
    ),
    # it jumps where two of the teacher's classes are equally likely
    "top_k_kl_divergence": Case(
        strategies.logit_shapes().flatmap(
            lambda shape: st.tuples(strategies.tensors(shape), strategies.distinct(shape))
        ),
        {"k": st.integers(1, 6).map(float), **TEMPERATURE},
        **DIVERGENCE,
        power=2,
    ),
}


def _skewed(s, t, temperature=1.0, skew=0.1):
    q, p = softmax(s / temperature), softmax(t / temperature)
    return temperature**2 * kl(p, skew * p + (1 - skew) * q)


def _alpha_beta(s, t, temperature=1.0, alpha=0.2, beta=0.7):
    q, p = softmax(s / temperature), softmax(t / temperature)
    both = alpha + beta
    terms = alpha * p**both + beta * q**both - both * p**alpha * q**beta
    return terms.sum(-1) / (alpha * beta * both)


def _top_k(s, t, temperature=1.0, k=5):
    q, p = softmax(s / temperature), softmax(t / temperature)
    values = []
    for own, given in zip(q, p, strict=True):
        head, tail = np.split(np.argsort(-given), [k])
        shares = [np.append(x[head], x[tail].sum() if tail.size else 1.0) for x in (given, own)]
        values.append(kl(*shares))
    return temperature**2 * np.array(values)


FORMULAS: dict[str, Callable[..., np.ndarray]] = {
    "skewed_kl_divergence": _skewed,
    "skewed_reverse_kl_divergence": lambda s, t, *hyper: _skewed(t, s, *hyper),
    "alpha_beta_divergence": _alpha_beta,
}


@pytest.mark.parametrize("temperature", [0.5, 1, 3.0])
@pytest.mark.parametrize("name", FORMULAS)
def test_a_divergence_and_its_gradients_are_numpys(name, temperature):
    def loss(s, t):
        return getattr(losses, name)(s, t, temperature=temperature)

    def formula(s, t):
        return FORMULAS[name](s, t, temperature)

    assert_numpys(loss, formula, atol=1e-6)


@pytest.mark.parametrize("skew", [0.3, 0.9])
def test_another_skew_is_numpys(skew):
    student, teacher = logit_pair()
    expected = torch.from_numpy(_skewed(student.numpy(), teacher.numpy(), 2.0, skew))
    actual = losses.skewed_kl_divergence(student, teacher, skew=skew, temperature=2.0)
    torch.testing.assert_close(actual, expected)


def test_a_skew_of_nothing_is_kl_and_its_reverse():
    student, teacher = logit_pair()
    for skewed, whole in (
        (losses.skewed_kl_divergence, losses.kl_divergence),
        (losses.skewed_reverse_kl_divergence, losses.reverse_kl_divergence),
    ):
        value = skewed(student, teacher, skew=1e-9, temperature=3.0)
        torch.testing.assert_close(value, whole(student, teacher, temperature=3.0))


@pytest.mark.parametrize("name", ["skewed_kl_divergence", "skewed_reverse_kl_divergence"])
def test_a_skewed_divergence_is_at_most_what_its_docstring_says(name):
    # all that one side has the other has not: p log(p / λp) = −log λ
    student, teacher = torch.tensor([[0.0, 1e4]]), torch.tensor([[1e4, 0.0]])
    value = getattr(losses, name)(student, teacher, skew=0.25, temperature=2.0)
    torch.testing.assert_close(value, torch.tensor([4 * math.log(4)]))
    student, teacher = logit_pair()
    assert (getattr(losses, name)(student, teacher, skew=0.5) < math.log(2)).all()


def test_the_gradient_of_a_skewed_divergence_to_its_skew_is_numpys():
    student, teacher = logit_pair()
    slope = torch.func.grad(lambda x: losses.skewed_kl_divergence(student, teacher, skew=x).sum())
    expected = differences(
        lambda x: _skewed(student.numpy(), teacher.numpy(), 1.0, float(x)), np.array(0.3)
    )
    torch.testing.assert_close(slope(torch.tensor(0.3, dtype=torch.float64)), expected)


def _adaptive(s, t, mass=0.5) -> float:
    """One example, from the paper's description: r of KL, 1 − r of its reverse."""
    q, p = softmax(s), softmax(t)
    head, total = [], 0.0
    for k in np.argsort(-p):
        total += p[k]
        if not head or total <= mass:
            head.append(k)
    apart = np.abs(p - q)
    share = apart[head].sum() / apart.sum()
    return share * kl(p, q) + (1 - share) * kl(q, p)


@pytest.mark.parametrize("mass", [0.5, 0.95])
def test_the_adaptive_divergence_is_numpys(mass):
    student, teacher = logit_pair()
    rows = zip(student.numpy(), teacher.numpy() / 3, strict=True)
    expected = torch.tensor([_adaptive(*row, mass) for row in rows])
    actual = losses.adaptive_kl_divergence(student, teacher / 3, mass=mass)
    torch.testing.assert_close(actual, expected.double())


def test_the_adaptive_divergences_gradient_holds_its_share_constant():
    # the head is the first class, which differs by 1/4 as do the others together: r = 1/2
    teacher = torch.tensor([[3.0, 1.0]], dtype=torch.float64).log()
    student = torch.zeros(1, 2, dtype=torch.float64)
    gradient = torch.func.grad(lambda s: losses.adaptive_kl_divergence(s, teacher).sum())(student)
    expected = differences(
        lambda s: (
            0.5 * kl(softmax(teacher.numpy()), softmax(s))
            + 0.5 * kl(softmax(s), softmax(teacher.numpy()))
        ),
        student,
    )
    torch.testing.assert_close(gradient, expected, atol=1e-8, rtol=1e-6)


def test_equal_classes_of_exactly_the_mass_are_all_in_the_head():
    # four of an eighth each have half of p, in float32 as in float64
    p = torch.tensor([[1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 10, 1 / 10, 1 / 10, 1 / 10, 1 / 10]])
    student = torch.arange(9.0)[None]
    value = losses.adaptive_kl_divergence(student, p.log())
    exact = losses.adaptive_kl_divergence(student.double(), p.double().log())
    torch.testing.assert_close(value.double(), exact, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(
        exact, torch.tensor([_adaptive(np.arange(9.0), np.log(p[0].double().numpy()), 0.5 + 1e-9)])
    )


LIMITS = [
    ((1.0, 0.0), lambda p, q: kl(p, q)),
    ((0.0, 1.0), lambda p, q: kl(q, p)),
    ((0.5, 0.5), lambda p, q: 2 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(-1)),
    ((1.0, 1.0), lambda p, q: ((p - q) ** 2).sum(-1) / 2),
]


@pytest.mark.parametrize("near", [0.0, 1e-12, 1e-7])
@pytest.mark.parametrize(("numbers", "formula"), LIMITS)
def test_alpha_and_beta_reach_the_divergences_that_they_stand_for_smoothly(numbers, formula, near):
    student, teacher = logit_pair()
    alpha, beta = (number + near for number in numbers)
    expected = torch.from_numpy(formula(softmax(teacher.numpy()), softmax(student.numpy())))
    actual = losses.alpha_beta_divergence(student, teacher, alpha=alpha, beta=beta)
    # the slope by alpha and beta is at most some |log q/p|
    torch.testing.assert_close(actual, expected, rtol=100 * near + 1e-12, atol=0)


@pytest.mark.parametrize("numbers", [(0.4, 1e-4), (1e-4, 0.4)])
def test_beside_the_limits_it_is_numpys_to_what_cancels_there(numbers):
    # where powers of d are added up in place of a quotient; NumPy's terms of about one are off by
    # 1e-16, and are divided by alpha times beta
    student, teacher = logit_pair()
    alpha, beta = numbers
    expected = torch.from_numpy(_alpha_beta(student.numpy(), teacher.numpy(), 1.0, alpha, beta))
    actual = losses.alpha_beta_divergence(student, teacher, alpha=alpha, beta=beta)
    noise = 1e-15 / (alpha * beta * (alpha + beta))
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=noise)


@pytest.mark.parametrize("numbers", [(0.2, 0.7), (1.0, 1e-3), (1e-3, 1.0), (1.5, 2.0)])
def test_the_gradients_of_alpha_and_beta_are_numpys(numbers):
    student, teacher = logit_pair()

    def loss(alpha, beta):
        return losses.alpha_beta_divergence(student, teacher, alpha=alpha, beta=beta).sum()

    def formula(numbers):
        return _alpha_beta(student.numpy(), teacher.numpy(), 1.0, *numbers)

    leaves = [torch.tensor(x, dtype=torch.float64) for x in numbers]
    slopes = torch.stack(torch.func.grad(loss, argnums=(0, 1))(*leaves))
    expected = differences(formula, np.array(numbers))
    torch.testing.assert_close(slopes, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("numbers", [(0.4, 0.6), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("distance", [0.0, 1e-6, 9e-4, 1.1e-3, 0.5, 40.0, 1e4])
def test_the_curvature_of_alpha_and_beta_is_that_of_kl_at_equality_and_finite_far_from_it(
    numbers, distance
):
    # d²/ds² at p = q is that of every divergence of the family: diag(q) − qq'
    student = torch.zeros(2, dtype=torch.float64)
    teacher = torch.tensor([0.0, distance], dtype=torch.float64)
    alpha, beta = numbers

    def loss(s):
        return losses.alpha_beta_divergence(s, teacher, alpha=alpha, beta=beta)

    hessian = torch.func.jacrev(torch.func.grad(loss))(student)
    assert hessian.isfinite().all()
    if distance < 1e-2:
        expected = torch.tensor([[0.25, -0.25], [-0.25, 0.25]], dtype=torch.float64)
        torch.testing.assert_close(hessian, expected, atol=distance, rtol=1e-9)


def test_a_class_that_one_side_has_not_leaves_the_other_sides_power():
    # p = [1, 0], q = [1/2, 1/2]: (α + β q^s − s q^β)/(αβs) + q^s/(αs) with s = α + β
    alpha, beta = 0.3, 0.5
    total, q = alpha + beta, 0.5
    student = torch.zeros(1, 2, dtype=torch.float64)
    teacher = torch.tensor([[0.0, -math.inf]], dtype=torch.float64)
    first = (alpha + beta * q**total - total * q**beta) / (alpha * beta * total)
    value = losses.alpha_beta_divergence(student, teacher, alpha=alpha, beta=beta)
    assert value.item() == pytest.approx(first + q**total / (alpha * total), rel=1e-12)
    exchanged = losses.alpha_beta_divergence(teacher, student, alpha=beta, beta=alpha)
    torch.testing.assert_close(exchanged, value)
    assert losses.alpha_beta_divergence(student, teacher, alpha=0.0, beta=1.0).isinf()
    assert losses.alpha_beta_divergence(teacher, student, alpha=1.0, beta=0.0).isinf()


@pytest.mark.plain
def test_numbers_out_of_range_are_refused():
    logits = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="skewed_kl_divergence: skew must be above zero"):
        losses.skewed_kl_divergence(logits, logits, skew=0.0)
    with pytest.raises(ValueError, match=r"skew must lie in \[0, 1\), but it is 1.0"):
        losses.skewed_reverse_kl_divergence(logits, logits, skew=1.0)
    with pytest.raises(ValueError, match="adaptive_kl_divergence: mass must be above zero"):
        losses.adaptive_kl_divergence(logits, logits, mass=0.0)
    with pytest.raises(ValueError, match="alpha_beta_divergence: beta must be zero or more"):
        losses.alpha_beta_divergence(logits, logits, beta=-0.1)
    with pytest.raises(ValueError, match=r"alpha \+ beta must be above zero"):
        losses.alpha_beta_divergence(logits, logits, alpha=0.0, beta=0.0)


@pytest.mark.parametrize("k", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_divergence_of_few_classes_and_its_gradients_are_numpys(k, temperature):
    def loss(s, t):
        return losses.top_k_kl_divergence(s, t, k=k, temperature=temperature)

    assert_numpys(loss, lambda s, t: _top_k(s, t, temperature, k), atol=1e-6)


def test_the_divergence_of_few_classes_is_at_most_kl_and_all_but_one_of_them_are_enough():
    student, teacher = logit_pair()
    whole = losses.kl_divergence(student, teacher)
    values = [losses.top_k_kl_divergence(student, teacher, k=k) for k in (1, 2, 3, 4, 5, 2**24)]
    assert all((few <= more + 1e-12).all() for few, more in pairwise(values))
    for value in values[3:]:
        torch.testing.assert_close(value, whole)
    # a k of no whole number counts the next class, and may be a leaf of the state
    torch.testing.assert_close(
        losses.top_k_kl_divergence(student, teacher, k=torch.tensor(2.5)), values[2]
    )


def test_the_gradient_of_few_classes_shares_that_of_their_tail_by_the_students_own():
    student, teacher = logit_pair()
    gradient = torch.func.grad(
        lambda s: losses.top_k_kl_divergence(s, teacher, k=2, temperature=3.0).sum()
    )(student)
    q, p = (x.div(3).softmax(-1) for x in (student, teacher))
    kept = teacher >= teacher.topk(2).values[:, 1:]
    shares = [x.masked_fill(kept, 0.0).sum(-1, keepdim=True) for x in (p, q)]
    expected = torch.where(kept, q - p, q * (1 - shares[0] / shares[1]))
    torch.testing.assert_close(gradient, 3 * expected)


def test_of_equally_likely_classes_the_first_are_among_the_few():
    student = torch.tensor([[1.0, 3.0, 4.0]]).log()
    value = losses.top_k_kl_divergence(student, torch.zeros(1, 3), k=1)
    expected = math.log(8 / 3) / 3 + 2 * math.log(16 / 21) / 3
    torch.testing.assert_close(value, torch.tensor([expected]))


def test_the_divergence_of_few_classes_keeps_a_tail_that_a_difference_from_one_would_lose():
    far, teacher = torch.tensor([[0.0, -40.0, -41.0]]), torch.tensor([[2.0, 1.0, 1.0]]).log()
    value = losses.top_k_kl_divergence(far, teacher, k=1)
    tail = math.exp(-40) + math.exp(-41)
    torch.testing.assert_close(value, torch.tensor([math.log(1 / 2) - math.log(tail) / 2]))
