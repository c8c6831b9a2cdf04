"""Losses of relations against their formulas written out in NumPy and numbers worked by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import differences
from torch import Tensor

from fkd import losses
from fkd.testing import Case, strategies

EMBEDDINGS = strategies.related_embeddings()
RELATION = Case(EMBEDDINGS, divergence=True, scale=True, rotation=True, whole=True, relation=True)
ALIKE = RELATION._replace(symmetric=True)
CASES = {
    "cka_distance": ALIKE._replace(high=5.0),  # B at the largest batch drawn
    "correlation_congruence": ALIKE._replace(hyper={"gamma": strategies.eighths(2)}, high=1.0),
    "pkt": RELATION,
    "rkd_angle": ALIKE._replace(high=1.5, smooth=1),  # the smooth L1 loss turns at one
    "rkd_distance": ALIKE._replace(smooth=1),
    "similarity": ALIKE._replace(high=2.0),  # 4 / B at the smallest batch
}

TEACHER = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def _pair(batch: int = 5) -> tuple[Tensor, Tensor]:
    """Embeddings of two widths."""
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(batch, 3, generator=generator, dtype=torch.float64)
    teacher = torch.randn(batch, 4, generator=generator, dtype=torch.float64)
    return student, teacher


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _huber(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)


def _distances(x: np.ndarray) -> np.ndarray:
    distance = np.array([[np.linalg.norm(a - b) for b in x] for a in x])
    return distance / distance[distance > 0].mean()


def _rkd_distance(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return _huber(_distances(s) - _distances(t)).mean(1)


def _cosine_at(x: np.ndarray, i: int, j: int, k: int) -> float:
    if i in (j, k):
        return 0.0
    return float(_unit(x[j] - x[i]) @ _unit(x[k] - x[i]))


def _rkd_angle(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    n = range(len(s))
    d = [[[_cosine_at(s, i, j, k) - _cosine_at(t, i, j, k) for k in n] for j in n] for i in n]
    return _huber(np.array(d)).mean((1, 2))


def _similarity(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return ((_unit(s @ s.T) - _unit(t @ t.T)) ** 2).mean(1)


def _correlation_congruence(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    def kernel(x: np.ndarray) -> np.ndarray:
        cosine = _unit(x) @ _unit(x).T
        return math.exp(-0.8) * (1 + 0.8 * cosine + 0.8**2 / 2 * cosine**2)

    return ((kernel(s) - kernel(t)) ** 2).mean(1)


def _pkt(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    def conditional(x: np.ndarray) -> np.ndarray:
        kernel = (_unit(x) @ _unit(x).T + 1) / 2
        others = kernel[~np.eye(len(x), dtype=bool)].reshape(len(x), -1)
        return others / others.sum(1, keepdims=True)

    p, q = conditional(t), conditional(s)
    return (p * np.log(p / q)).sum(1)


def _cka_distance(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    centre = np.eye(len(s)) - 1 / len(s)
    k, L = (centre @ x @ x.T @ centre for x in (s, t))
    return len(s) / 2 * ((k / np.linalg.norm(k) - L / np.linalg.norm(L)) ** 2).sum(1)


ORACLES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cka_distance": _cka_distance,
    "correlation_congruence": _correlation_congruence,
    "pkt": _pkt,
    "rkd_angle": _rkd_angle,
    "rkd_distance": _rkd_distance,
    "similarity": _similarity,
}
every = pytest.mark.parametrize("name", ORACLES)


def _gradient(name: str, student: Tensor, teacher: Tensor) -> Any:
    return torch.func.grad(lambda s: getattr(losses, name)(s, teacher).sum())(student)


@every
def test_values_are_numpys(name):
    student, teacher = _pair()
    expected = torch.from_numpy(ORACLES[name](student.numpy(), teacher.numpy()))
    torch.testing.assert_close(getattr(losses, name)(student, teacher), expected)


@every
def test_gradients_are_the_differences_of_numpys(name):
    student, teacher = _pair()
    weight = torch.arange(1.0, 6.0, dtype=torch.float64)
    gradients = torch.func.grad(lambda s, t: weight @ getattr(losses, name)(s, t), argnums=(0, 1))(
        student, teacher
    )
    s, t, w = student.numpy(), teacher.numpy(), weight.numpy()
    expected = (
        differences(lambda x: w @ ORACLES[name](x, t), s),
        differences(lambda x: w @ ORACLES[name](s, x), t),
    )
    torch.testing.assert_close(gradients, expected, atol=1e-7, rtol=1e-6)


@every
def test_maps_are_taken_as_one_row_an_example(name):
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(4, 2, 3, 2, generator=generator)
    teacher = torch.randn(4, 5, 2, 1, generator=generator)
    loss = getattr(losses, name)
    torch.testing.assert_close(loss(student, teacher), loss(student.flatten(1), teacher.flatten(1)))


@every
@pytest.mark.parametrize("change", [Tensor.clone, lambda x: -x.relu()])  # of one sign, with zeros
def test_rows_whose_squares_overflow_or_vanish(name, change):
    student, teacher = (change(x.float()) for x in _pair())
    expected = getattr(losses, name)(student, teacher)
    for size in (1e-30, 1e30):
        torch.testing.assert_close(
            getattr(losses, name)(student * size, teacher), expected, atol=1e-6, rtol=1e-4
        )


@every
def test_autocast_does_not_round_the_products(name):
    student, teacher = (x.float() for x in _pair())
    expected = getattr(losses, name)(student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(getattr(losses, name)(student, teacher), expected)


@every
def test_a_row_of_zeros_has_a_gradient_of_ordinary_size(name):
    student, teacher = (x.float() for x in _pair())
    student[2] = 0.0
    assert _gradient(name, student, teacher).abs().max() < 2
    assert _gradient(name, torch.zeros_like(student), teacher).abs().max() < 2


@every
def test_equal_rows_have_a_gradient_of_ordinary_size(name):
    student, teacher = (x.float() for x in _pair())
    student[1] = student[0]
    assert _gradient(name, student, teacher).abs().max() < 5
    student[:] = student[0]
    assert _gradient(name, student, teacher).abs().max() < 5


@pytest.mark.parametrize("name", ["cka_distance", "rkd_angle", "rkd_distance"])
def test_a_shift_of_all_rows_changes_nothing(name):
    student, teacher = _pair()
    loss = getattr(losses, name)
    shifted = loss(student + torch.tensor([1.0, -2.0, 3.0]), teacher - 5)
    torch.testing.assert_close(shifted, loss(student, teacher))


def test_rkd_distance_by_hand():
    # the distances 1, 2, 1 have mean 4/3; of 2, 2, 0 those that are positive have mean 2
    student, teacher = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [2.0], [2.0]])
    expected = torch.tensor([1 / 16 + 1 / 4, 1 / 16 + 9 / 16, 1 / 4 + 9 / 16]) / 6
    torch.testing.assert_close(losses.rkd_distance(student, teacher), expected)


def test_rkd_distance_is_linear_past_one():
    # the student's distances are 0; the teacher's positive ones are equal, so each is 1 of its mean
    student, teacher = torch.ones(5, 1), torch.tensor([[0.0]] * 4 + [[12.0]])
    value = losses.rkd_distance(student, teacher)
    torch.testing.assert_close(value, torch.tensor([0.1, 0.1, 0.1, 0.1, 0.4]))
    teacher = torch.tensor([[0.0], [1.0], [100.0]])  # mean 200/3: 0.015, 1.5, 1.485
    value = losses.rkd_distance(torch.ones(3, 1), teacher)
    expected = torch.tensor([0.015**2 / 2 + 1.0, 0.015**2 / 2 + 0.985, 1.985]) / 3
    torch.testing.assert_close(value, expected)


def test_equal_rows_leave_the_gradient_of_the_other_distances():
    student, teacher = _pair()
    student[1] = student[0]
    s, t = student.numpy(), teacher.numpy()
    together = differences(lambda x: _rkd_distance(np.concatenate([x[:1], x]), t).sum(), s[1:])
    each = _gradient("rkd_distance", student, teacher)
    torch.testing.assert_close(
        torch.cat([each[:1] + each[1:2], each[2:]]), together, atol=1e-7, rtol=1e-6
    )


def test_rkd_distance_of_near_rows_is_exact_in_float32():
    base, step = torch.full((1, 8), 1.0), 2.0**-20
    student = torch.cat([base, base + step, base + 2 * step])
    line = torch.tensor([[0.0], [1.0], [2.0]])
    assert losses.rkd_distance(student, line).max() < 1e-12


def test_rkd_angle_by_hand():
    # at the corner a right angle against a straight one, at the others 45 degrees against none
    corner, line = (
        torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        torch.tensor([[0.0], [1.0], [-1.0]]),
    )
    other = (1 - math.sqrt(0.5)) ** 2 / 9
    expected = torch.tensor([1 / 9, other, other])
    torch.testing.assert_close(losses.rkd_angle(corner, line), expected)


def _directions_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """`rkd_angle` by the directions between examples, [batch, batch, width] of them."""

    def cosines(x: Tensor) -> Tensor:
        e = x - x[:, None]
        e = e / (e.square().sum(-1) + torch.eye(len(x))).sqrt().unsqueeze(-1)
        return e @ e.mT

    s, t = cosines(student), cosines(teacher)
    return torch.nn.functional.smooth_l1_loss(s, t, reduction="none").mean((1, 2))


def test_rkd_angle_of_a_batch_in_parts_has_the_derivatives_of_its_formula():
    batch = 35  # in parts of 26 and 9
    student, teacher = _pair(batch)
    weight = torch.linspace(0, 1, batch, dtype=torch.float64)

    def derivatives(loss: Callable[..., Tensor]) -> Callable[..., Any]:
        def total(s: Tensor, t: Tensor) -> Tensor:
            return weight @ loss(s, t)

        def slope(s: Tensor, t: Tensor) -> Tensor:
            by_s, by_t = torch.func.grad(total, argnums=(0, 1))(s, t)
            return (by_s * s.sin()).sum() + (by_t * t.cos()).sum()

        def both(s: Tensor, t: Tensor) -> Any:
            once = torch.func.grad(total, argnums=(0, 1))(s, t)
            return loss(s, t), *once, *torch.func.grad(slope, argnums=(0, 1))(s, t)

        return both

    ours, expected = (derivatives(x) for x in (losses.rkd_angle, _directions_angle))
    torch.testing.assert_close(ours(student, teacher), expected(student, teacher))
    students = torch.stack([student, student.flip(0)])
    torch.testing.assert_close(
        torch.func.vmap(ours, (0, None))(students, teacher)[1:],
        torch.func.vmap(expected, (0, None))(students, teacher)[1:],
    )


def test_similarity_by_hand():
    # rows (1, 0), (0, 1) against (1, 1)/sqrt(2)
    value = losses.similarity(torch.eye(2), torch.ones(2, 1))
    torch.testing.assert_close(value, torch.full((2,), 1 - math.sqrt(0.5)))


def test_similarity_is_the_squared_norm_over_the_square_of_the_batch():
    student, teacher = _pair()
    g_s, g_t = (torch.nn.functional.normalize(x @ x.T, dim=1) for x in (student, teacher))
    expected = torch.linalg.matrix_norm(g_s - g_t) ** 2 / 25
    torch.testing.assert_close(losses.similarity(student, teacher).mean(), expected)


def test_correlation_congruence_of_a_high_order_has_the_gaussian_kernel():
    student, teacher = _pair()

    def kernel(x: Tensor) -> Tensor:
        u = x / x.norm(dim=-1, keepdim=True)
        return torch.exp(-0.7 * (u[:, None] - u[None]).square().sum(-1))

    expected = (kernel(student) - kernel(teacher)).square().mean(-1)
    value = losses.correlation_congruence(student, teacher, gamma=0.7, order=25)
    torch.testing.assert_close(value, expected)


@pytest.mark.plain
@pytest.mark.parametrize("order", [0, -1, 1.5])
def test_an_order_that_is_not_a_whole_number_from_one_up_is_refused(order):
    with pytest.raises(ValueError, match="order must be a whole number of at least 1, but it is"):
        losses.correlation_congruence(torch.eye(2), torch.eye(2), order=order)


@pytest.mark.parametrize("gamma", [0, -1.0, math.nan])
def test_a_gamma_that_is_not_above_zero_is_refused(gamma):
    with pytest.raises(ValueError, match="correlation_congruence: gamma must be above zero"):
        losses.correlation_congruence(torch.eye(2), torch.eye(2), gamma=gamma)


def test_pkt_by_hand():
    # p = (2/3, 1/3) of the first two rows, (1/2, 1/2) of the third; q is uniform
    first = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    value = losses.pkt(torch.ones(3, 1), TEACHER)
    torch.testing.assert_close(value, torch.tensor([first, first, 0.0]))


def test_pkt_takes_the_cosine_with_a_row_of_zeros_as_zero():
    # kernels 1/2 and 1 for the first row, 1/2 and 1/2 for the last, which is one of zeros
    student = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    value = losses.pkt(student, TEACHER)
    torch.testing.assert_close(value, torch.zeros(3), atol=1e-6, rtol=0)
    assert losses.pkt(torch.zeros(3, 2), torch.ones(3, 1)).abs().max() < 1e-6


def test_pkt_of_opposite_rows_holds_the_kernel_at_its_floor():
    student = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [2.0, 4.0]])
    p, q = np.array([2 / 3, 1 / 3]), np.array([1e-7, 1.0]) / (1 + 1e-7)
    expected = torch.tensor((p * np.log(p / q)).sum(), dtype=torch.float32)
    torch.testing.assert_close(losses.pkt(student, TEACHER)[0], expected)
    assert _gradient("pkt", student, TEACHER).abs().max() < 2
    # and the other way round the term of a probability of zero vanishes
    value = losses.pkt(torch.ones(3, 1), student)[0]
    torch.testing.assert_close(value, torch.tensor(math.log(2)), atol=1e-5, rtol=0)


def test_pkt_of_nearly_opposite_rows_is_as_exact_as_its_input():
    student = torch.tensor([[1.0, 0.0], [-1.0, 0.002], [1.0, 1.0]])
    value = losses.pkt(student, TEACHER)
    torch.testing.assert_close(
        value.double(), losses.pkt(student.double(), TEACHER.double()), atol=1e-6, rtol=1e-6
    )


def test_pkt_of_two_examples_is_zero_at_any_cosines():
    student, teacher = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[1.0], [-1.0]])
    gradient, value = torch.func.grad_and_value(lambda s: losses.pkt(s, teacher).sum())(student)
    assert value == 0
    assert (gradient == 0).all()


def test_cka_distance_has_the_mean_of_feature_space():
    # <K, L> of centred rows is |X'Y|², so no kernel of examples is needed
    student, teacher = _pair()
    x, y = (z - z.mean(0) for z in (student, teacher))
    norm = torch.linalg.matrix_norm
    expected = 1 - norm(x.T @ y) ** 2 / (norm(x.T @ x) * norm(y.T @ y))
    torch.testing.assert_close(losses.cka_distance(student, teacher).mean(), expected)


@pytest.mark.parametrize("seed", range(20))
def test_cka_distance_has_a_mean_from_zero_to_one(seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 4, 2, generator=generator, dtype=torch.float64)
    assert 0 <= losses.cka_distance(student, teacher).mean() <= 1


def test_a_value_of_cka_distance_comes_near_its_bound_of_the_batch():
    # one example apart from the others, which are equal: another one on the other side
    batch = 100
    student, teacher = torch.eye(batch)[:, :1], torch.eye(batch)[:, 1:2]
    value = losses.cka_distance(student, teacher)
    assert value.max() <= batch
    assert value.max() > 0.45 * batch


def test_cka_distance_by_hand():
    # K = diag blocks [[1, -1], [-1, 1]] twice, L the first of them: <K, L> = 4 of norms 4 √2 and 4
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    value = losses.cka_distance(x, x[:, :1])
    each = 2 * 2 * (1 / math.sqrt(8) - 1 / 2) ** 2
    torch.testing.assert_close(value, torch.tensor([each, each, 0.5, 0.5]))
    torch.testing.assert_close(value.mean(), torch.tensor(1 - math.sqrt(0.5)))


def test_cka_distance_of_a_side_whose_rows_are_all_equal():
    # the mean of seven 0.1 is not 0.1 in float32
    constant, (student, _) = torch.full((7, 3), 0.1), _pair(7)
    value = losses.cka_distance(student.float(), constant)
    torch.testing.assert_close(value.mean(), torch.tensor(0.5))
    assert losses.cka_distance(constant, 7 * constant).abs().max() == 0


@pytest.mark.plain
@every
def test_batches_that_differ_are_refused(name):
    with pytest.raises(ValueError, match=r"student .* teacher .*\(2, 3\).*\(4, 3\)"):
        getattr(losses, name)(torch.zeros(2, 3), torch.zeros(4, 3))
