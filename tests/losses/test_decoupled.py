"""Losses that part the label from the other classes, against NumPy and numbers worked by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import differences

from fkd import losses
from fkd.testing import Case, strategies

TEMPERATURE = {"temperature": strategies.temperatures()}
LOGITS = {"shift": True, "leading": True, "mask": True}
CASES = {
    "dkd": Case(
        strategies.labelled_logit_pairs(),
        {"alpha": strategies.shares(), "beta": strategies.temperatures(), **TEMPERATURE},
        divergence=True,
        **LOGITS,
        power=2,
    ),
    "nkd": Case(
        strategies.labelled_logit_pairs(),
        {"gamma": strategies.temperatures(), **TEMPERATURE},
        **LOGITS,
    ),
    "ofa": Case(strategies.labelled_logit_pairs(), {"gamma": strategies.eighths(2)}, **LOGITS),
    # it jumps where the teacher finds another class as likely as the label
    "rld": Case(
        strategies.labelled_logit_pairs(),
        {"alpha": strategies.shares(), "beta": strategies.temperatures(), **TEMPERATURE},
        **LOGITS,
        smooth=0,
    ),
    "tf_kd": Case(
        strategies.labelled_logits(),
        {"correct": strategies.shares().filter(lambda share: 0 < share < 1), **TEMPERATURE},
        **LOGITS,
    ),
    # its weight is held constant, so that its gradient is not that of its value
    "wsld": Case(
        strategies.labelled_logit_pairs(),
        TEMPERATURE,
        **LOGITS,
        smooth=0,
    ),
}

LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1])


def _pair(classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = 3 * torch.randn(2, 7, classes, generator=generator, dtype=torch.float64)
    return student, teacher


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


def _dkd(s, t, y, alpha=1.0, beta=8.0, temperature=4.0) -> float:
    """One example, from the paper's definitions."""
    q, p = _softmax(s / temperature), _softmax(t / temperature)
    target = p[y] * math.log(p[y] / q[y]) + (1 - p[y]) * math.log((1 - p[y]) / (1 - q[y]))
    q_hat, p_hat = np.delete(q, y) / (1 - q[y]), np.delete(p, y) / (1 - p[y])
    return temperature**2 * (alpha * target + beta * (p_hat * np.log(p_hat / q_hat)).sum())


def _nkd(s, t, y, gamma=1.5, temperature=1.0) -> float:
    q_hat, p_hat = (_softmax(np.delete(x, y) / temperature) for x in (s, t))
    others = -(p_hat * np.log(q_hat)).sum()
    return -_softmax(t)[y] * math.log(_softmax(s)[y]) + gamma * temperature**2 * others


def _weight(s, t, y) -> float:
    return 1 - math.exp(-math.log(_softmax(s)[y]) / math.log(_softmax(t)[y]))


def _wsld(s, t, y, temperature=2.0) -> float:
    q, p = _softmax(s / temperature), _softmax(t / temperature)
    return -_weight(s, t, y) * temperature**2 * (p * np.log(q)).sum()


def _rld(s, t, y, alpha=1.0, beta=8.0, temperature=4.0) -> float:
    right, own = _softmax(t).max(), _softmax(s)[y]
    value = alpha * (right * math.log(right / own))
    value += alpha * (1 - right) * math.log((1 - right) / (1 - own))
    kept = t < t[y]
    if not kept.any():
        return value
    q, p = (_softmax(x[kept] / temperature) for x in (s, t))
    return value + beta * temperature**2 * (p * np.log(p / q)).sum()


def _ofa(s, t, y, gamma=1.5) -> float:
    label = np.eye(len(s))[y]
    return -(((_softmax(t) + label) ** gamma - label) * np.log(_softmax(s))).sum()


def _rows(formula, s, t, labels, **hyper) -> np.ndarray:
    return np.array([formula(*row, **hyper) for row in zip(s, t, labels.tolist(), strict=True)])


CHOICES = [
    ("dkd", _dkd, {}),
    ("dkd", _dkd, {"alpha": 0.5, "beta": 2.0, "temperature": 1.0}),
    ("dkd", _dkd, {"alpha": 1.0, "beta": 0.0}),
    ("nkd", _nkd, {}),
    ("nkd", _nkd, {"gamma": 0.5, "temperature": 3.0}),
    ("rld", _rld, {}),
    ("rld", _rld, {"alpha": 0.5, "beta": 2.0, "temperature": 1.0}),
    ("ofa", _ofa, {}),
    ("ofa", _ofa, {"gamma": 0.6}),
    ("wsld", _wsld, {}),
    ("wsld", _wsld, {"temperature": 4.0}),
]


@pytest.mark.parametrize(("name", "formula", "hyper"), CHOICES)
def test_the_value_is_numpys(name, formula, hyper):
    student, teacher = _pair()
    expected = torch.from_numpy(_rows(formula, student.numpy(), teacher.numpy(), LABELS, **hyper))
    torch.testing.assert_close(getattr(losses, name)(student, teacher, LABELS, **hyper), expected)


@pytest.mark.parametrize(("name", "formula", "hyper"), CHOICES[:9])
def test_the_gradients_are_numpys(name, formula, hyper):
    student, teacher = _pair()
    both = torch.func.grad(
        lambda *x: getattr(losses, name)(*x, LABELS, **hyper).sum(), argnums=(0, 1)
    )(student, teacher)
    by_differences = (
        differences(lambda s: _rows(formula, s, teacher.numpy(), LABELS, **hyper), student),
        differences(lambda t: _rows(formula, student.numpy(), t, LABELS, **hyper), teacher),
    )
    torch.testing.assert_close(both, by_differences, atol=1e-6, rtol=1e-5)


def test_wslds_gradient_is_that_of_its_soft_label_at_a_constant_weight():
    student, teacher = _pair()
    gradient = torch.func.grad(lambda s: losses.wsld(s, teacher, LABELS, temperature=3.0).sum())(
        student
    )
    weight = _rows(_weight, student.numpy(), teacher.numpy(), LABELS)[:, None]
    q, p = (np.stack([_softmax(x / 3) for x in y.numpy()]) for y in (student, teacher))
    torch.testing.assert_close(gradient, torch.from_numpy(3 * weight * (q - p)))


def test_dkd_with_the_teachers_own_weights_is_kl_divergence():
    student, teacher = _pair()
    p = (teacher / 3).softmax(-1).gather(-1, LABELS[:, None])
    decoupled = torch.func.vmap(
        lambda s, t, y, beta: losses.dkd(s, t, y, alpha=1, beta=beta, temperature=3.0)
    )(student[:, None], teacher[:, None], LABELS[:, None], 1 - p.squeeze(-1))
    torch.testing.assert_close(
        decoupled.squeeze(-1), losses.kl_divergence(student, teacher, temperature=3.0)
    )


def test_with_two_classes_the_other_part_is_zero_with_a_zero_gradient():
    student, teacher = _pair(classes=2)
    labels = LABELS % 2
    torch.testing.assert_close(
        losses.dkd(student, teacher, labels, beta=8.0),
        losses.kl_divergence(student, teacher, temperature=4.0),
    )
    only_others = torch.func.grad_and_value(
        lambda s, t: losses.dkd(s, t, labels, alpha=0.0).sum(), argnums=(0, 1)
    )(student, teacher)
    gradients, value = only_others
    assert value == 0
    assert all((x == 0).all() for x in gradients)
    torch.testing.assert_close(
        losses.nkd(student, teacher, labels), losses.nkd(student, teacher, labels, gamma=0.0)
    )


def test_nkd_by_hand():
    # q = [1/2, 1/4, 1/4] and p = [1/4, 1/4, 1/2], label 0: the others are [1/2, 1/2], [1/3, 2/3]
    student = torch.tensor([[2.0, 1.0, 1.0]]).log()
    teacher = torch.tensor([[1.0, 1.0, 2.0]]).log()
    value = losses.nkd(student, teacher, torch.tensor([0]), gamma=2.0)
    torch.testing.assert_close(value, torch.tensor([(1 / 4 + 2) * math.log(2)]))


def test_nkd_is_no_divergence():
    student, _ = _pair()
    gradient, value = torch.func.grad_and_value(lambda s: losses.nkd(s, student, LABELS).sum())(
        student
    )
    assert value > 0
    right = gradient.gather(-1, LABELS[:, None])
    assert (right < 0).all()


@pytest.mark.parametrize("name", ["dkd", "nkd", "rld", "wsld"])
@pytest.mark.parametrize("size", [1.0, 40.0, 1e4])
def test_gradients_by_the_teacher_and_the_temperature_are_finite(name, size):
    student, teacher = (x.float() * size for x in _pair())
    both = torch.func.grad_and_value(
        lambda s, t, temperature: getattr(losses, name)(
            s, t, LABELS, temperature=temperature
        ).sum(),
        argnums=(0, 1, 2),
    )
    gradients, value = both(student, teacher, torch.tensor(4.0))
    assert value.isfinite()
    assert all(x.isfinite().all() for x in gradients)


def test_a_certain_teacher_still_tells_its_other_classes_apart():
    # p_y is 1 to the last bit, yet the others are [1/4, 3/4] against [1/2, 1/2]
    teacher = torch.tensor([[200.0, 0.0, math.log(3)]])
    value = losses.dkd(
        torch.zeros(1, 3), teacher, torch.tensor([0]), alpha=0, beta=1, temperature=1
    )
    expected = math.log(2) + math.log(1 / 4) / 4 + 3 * math.log(3 / 4) / 4
    torch.testing.assert_close(value, torch.tensor([expected]))


@pytest.mark.parametrize("name", ["dkd", "nkd", "ofa", "rld"])
def test_a_class_that_neither_side_has_adds_nothing(name):
    student, teacher = _pair(classes=3)
    labels = LABELS % 3
    absent = torch.full((7, 1), -math.inf, dtype=torch.float64)
    wider = [torch.cat([x, absent], -1) for x in (student, teacher)]
    loss = getattr(losses, name)
    torch.testing.assert_close(loss(*wider, labels), loss(student, teacher, labels))
    gradients = torch.func.grad(lambda *x: loss(*x, labels).sum(), argnums=(0, 1))
    expected = [F.pad(x, (0, 1)) for x in gradients(student, teacher)]
    torch.testing.assert_close(list(gradients(*wider)), expected)


def test_rld_is_zero_at_equal_logits_where_the_teacher_is_right():
    _, teacher = _pair()
    right = teacher.argmax(-1)
    gradient, value = torch.func.grad_and_value(lambda s: losses.rld(s, teacher, right).sum())(
        teacher
    )
    torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


def test_rld_learns_nothing_of_the_order_among_classes_that_the_teacher_prefers_to_the_label():
    # the label is the teacher's last choice: nothing is left but its certainty, p_max = 4/7
    student = torch.tensor([[1.0, 1.0, 1.0]]).log()
    teacher = torch.tensor([[4.0, 2.0, 1.0]]).log()
    value = losses.rld(student, teacher, torch.tensor([2]))
    expected = 4 / 7 * math.log(12 / 7) + 3 / 7 * math.log(9 / 14)
    torch.testing.assert_close(value, torch.tensor([expected]))


def test_ofa_with_a_power_of_one_is_the_cross_entropy_with_both_label_and_teacher():
    student, teacher = _pair()
    value = losses.ofa(student, teacher, LABELS, gamma=1.0)
    torch.testing.assert_close(
        value, F.cross_entropy(student, teacher.softmax(-1), reduction="none")
    )


def test_wsld_by_hand():
    # CE(student) = log 4 is twice CE(teacher) = log 2, so w = 1 - e^-2
    student = torch.tensor([[1.0, 3.0]]).log()
    value = losses.wsld(student, torch.zeros(1, 2), torch.tensor([0]), temperature=1.0)
    expected = (1 - math.exp(-2)) * (math.log(4) + math.log(4 / 3)) / 2
    torch.testing.assert_close(value, torch.tensor([expected]))


def test_wsld_weighs_sides_whose_cross_entropies_round_to_zero():
    # CE = e^-200 against e^-201: the ratio is e
    student, teacher = torch.tensor([[200.0, 0.0]]), torch.tensor([[201.0, 0.0]])
    value = losses.wsld(student, teacher, torch.tensor([0]), temperature=100.0)
    soft = losses.soft_cross_entropy(student, teacher, temperature=100.0)
    torch.testing.assert_close(value, (1 - math.exp(-math.e)) * soft)


@pytest.mark.plain
@pytest.mark.parametrize("name", ["dkd", "nkd", "ofa", "rld", "wsld"])
def test_labels_and_classes_that_do_not_fit_are_refused(name):
    loss, logits = getattr(losses, name), torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"(?s)student is \(2, 3\) and labels is \(3,\)"):
        loss(logits, logits, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="which a soft label does not name: give"):
        loss(logits, logits, torch.zeros(2, 3))
    with pytest.raises(ValueError, match="labels must hold whole numbers"):
        loss(logits, logits, torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(ValueError, match=rf"{name}: labels must lie in \[0, 3\), .* label 3;"):
        loss(logits, logits, torch.tensor([0, 3]))


@pytest.mark.plain
def test_negative_weights_are_refused():
    logits, labels = torch.zeros(1, 2), torch.tensor([0])
    with pytest.raises(ValueError, match="alpha must be zero or more"):
        losses.dkd(logits, logits, labels, alpha=-1)
    with pytest.raises(ValueError, match="beta must be zero or more"):
        losses.dkd(logits, logits, labels, beta=-1)
    with pytest.raises(ValueError, match="gamma must be zero or more"):
        losses.nkd(logits, logits, labels, gamma=-1)


def _virtual(s: np.ndarray, labels: torch.Tensor, a: float, temperature: float) -> np.ndarray:
    values = []
    for z, y in zip(s, labels.tolist(), strict=True):
        d = np.full(len(z), (1 - a) / (len(z) - 1))
        d[y] = a
        p = d ** (1 / temperature) / (d ** (1 / temperature)).sum()
        values.append((p * np.log(p / _softmax(z / temperature))).sum())
    return np.array(values)


@pytest.mark.parametrize(("correct", "temperature"), [(0.99, 20.0), (0.9, 1.0), (0.1, 0.5)])
def test_tf_kd_and_its_gradient_are_numpys(correct, temperature):
    student, _ = _pair()
    numbers = {"correct": correct, "temperature": temperature}
    expected = torch.from_numpy(_virtual(student.numpy(), LABELS, correct, temperature))
    torch.testing.assert_close(losses.tf_kd(student, LABELS, **numbers), expected)
    gradient = torch.func.grad(lambda s: losses.tf_kd(s, LABELS, **numbers).sum())(student)
    by_differences = differences(lambda s: _virtual(s, LABELS, correct, temperature), student)
    torch.testing.assert_close(gradient, by_differences, atol=1e-6, rtol=1e-5)


def test_tf_kd_is_at_zero_where_the_student_is_the_virtual_teacher():
    virtual = torch.full((7, 5), 0.02, dtype=torch.float64)
    virtual[torch.arange(7), LABELS] = 0.92
    for temperature in (1.0, 20.0):
        gradient, value = torch.func.grad_and_value(
            lambda s, t=temperature: losses.tf_kd(s, LABELS, correct=0.92, temperature=t).sum()
        )(virtual.log() + 7)
        torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-12, rtol=0)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


def test_tf_kd_is_infinite_where_the_student_rules_a_class_out():
    student = torch.tensor([[0.0, 1.0, -math.inf], [0.0, 1.0, 2.0]])
    assert losses.tf_kd(student, torch.tensor([0, 0])).isinf().tolist() == [True, False]


@pytest.mark.plain
def test_tf_kd_refuses_a_teacher_that_is_always_right():
    for correct, told in ((0.0, "above zero"), (1.0, r"lie in \[0, 1\), but it is 1.0")):
        with pytest.raises(ValueError, match=f"tf_kd: correct must {'be ' * (correct == 0)}{told}"):
            losses.tf_kd(torch.zeros(1, 2), torch.tensor([0]), correct=correct)
    with pytest.raises(ValueError, match="tf_kd: logits must be of two classes or more"):
        losses.tf_kd(torch.zeros(1, 1), torch.tensor([0]))


def test_ofa_is_infinite_where_the_student_rules_out_a_label_that_the_teacher_does_not():
    student, labels = torch.tensor([[-math.inf, 0.0]]), torch.tensor([0])
    assert losses.ofa(student, torch.zeros(1, 2), labels).isinf()
    assert losses.ofa(student, torch.tensor([[-math.inf, 0.0]]), labels) == 0
