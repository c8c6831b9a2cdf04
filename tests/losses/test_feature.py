"""Losses of features against torch.nn.functional, NumPy, SciPy and numbers worked by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import differences
from scipy import integrate, stats

from fkd import losses
from fkd.testing import Case, strategies


def _apart(features: tuple[torch.Tensor, ...]) -> bool:
    """Whether standardised features are apart, and none is constant over the batch."""
    first, second = (x.flatten(1) for x in features)
    if min(x.std(0).min().item() for x in (first, second)) == 0:
        return False
    s, t = ((x - x.mean(0)) / x.std(0) for x in (first, second))
    return (s - t).abs().max().item() > 0.1


CASES = {
    "activation_boundary": Case(
        strategies.signed_pairs(),
        {"margin": strategies.temperatures()},
        smooth=1,  # a square of a positive part
    ),
    "bilinear_congruence": Case(
        # away from the kinks of a distance
        strategies.embedding_pairs(batch=2).filter(lambda x: (x[0] - x[1]).abs().min() > 0.01),
        divergence=True,
        symmetric=True,
        whole=True,
        ordered=True,
        relation=True,
    ),
    "cosine_distance": Case(
        strategies.feature_pairs(),
        high=2.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "factor_transfer": Case(
        strategies.apart_pairs(),
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "ofd": Case(
        strategies.pairs_with_margin(),
        divergence=True,
        smooth=1,  # a square that is left out on one side of zero
        unbatched=1,
    ),
    "squared_error": Case(strategies.feature_pairs(), divergence=True, symmetric=True),
    "srd": Case(
        strategies.embedding_pairs(batch=3).filter(_apart),
        low=None,
        scale=True,
        symmetric=True,
        whole=True,
        relation=True,
    ),
    "vid": Case(strategies.pairs_with_variance(), low=None, symmetric=True, unbatched=1),
}


def _maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 4, 3, 2, generator=generator, dtype=torch.float64)
    return student, teacher


def test_squared_error_is_torchs():
    student, teacher = _maps()
    expected = F.mse_loss(student, teacher)
    torch.testing.assert_close(losses.squared_error(student, teacher).mean(), expected)


def test_squared_error_by_hand():
    value = losses.squared_error(
        torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 5.0], [1.0, 1.0]])
    )
    torch.testing.assert_close(value, torch.tensor([4.5, 1.0]))


def test_cosine_distance_is_torchs():
    student, teacher = (x.flatten(1) for x in _maps())
    expected = F.cosine_embedding_loss(
        student, teacher, torch.ones(len(student), dtype=torch.float64), reduction="none"
    )
    torch.testing.assert_close(losses.cosine_distance(student, teacher), expected)


def test_cosine_distance_takes_maps_as_one_row_an_example():
    student, teacher = _maps()
    torch.testing.assert_close(
        losses.cosine_distance(student, teacher),
        losses.cosine_distance(student.flatten(1), teacher.flatten(1)),
    )


def test_cosine_distance_by_hand():
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    teacher = torch.tensor([[1.0, 1.0], [0.0, 2.0], [-3.0, 0.0]])
    torch.testing.assert_close(
        losses.cosine_distance(student, teacher), torch.tensor([1 - math.sqrt(0.5), 1.0, 2.0])
    )


def test_cosine_distance_of_a_dead_layer_is_one_with_a_small_gradient():
    gradient, value = torch.func.grad_and_value(
        lambda s: losses.cosine_distance(s, torch.ones(1, 4)).sum()
    )(torch.zeros(1, 4))
    assert value == 1
    assert gradient.abs().max() <= 1


def test_cosine_distance_of_rows_whose_squares_overflow_or_vanish():
    row = torch.tensor([[3.0, 4.0]])
    for size in (1e-30, 1e30):
        value = losses.cosine_distance(row * size, row.flip(-1))
        torch.testing.assert_close(value, torch.tensor([1 - 24 / 25]))


def test_activation_boundary_by_hand():
    # off and off by less than the margin, off but on, on and on by less, on but off, a zero is off
    student = torch.tensor([[-2.0, -0.5, 1.0, 3.0, 0.5, -1.0, -0.5]])
    teacher = torch.tensor([[-9.0, -0.1, -1.0, 9.0, 0.1, 1.0, 0.0]])
    value = losses.activation_boundary(student, teacher)
    torch.testing.assert_close(value, torch.tensor([0 + 0.25 + 4 + 0 + 0.25 + 4 + 0.25]))


@pytest.mark.parametrize("margin", [0.0, 0.3, 1, 2.0])
def test_activation_boundary_is_numpys_with_its_gradient(margin):
    student, teacher = _maps()
    value = losses.activation_boundary(student, teacher, margin=margin)
    s, on = student.numpy(), teacher.numpy() > 0
    short = np.where(on, np.maximum(margin - s, 0), np.maximum(s + margin, 0))
    torch.testing.assert_close(value, torch.from_numpy((short**2).sum((1, 2, 3))))
    gradients = torch.func.grad(
        lambda s, t: losses.activation_boundary(s, t, margin=margin).sum(), (0, 1)
    )(student, teacher)
    expected = torch.from_numpy(2 * short * np.where(on, -1, 1))
    torch.testing.assert_close(gradients, (expected, torch.zeros_like(teacher)))


def _factor_transfer(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    s, t = (x.reshape(len(x), -1) for x in (student, teacher))
    s, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (s, t))
    return np.abs(s - t).sum(1)


def test_factor_transfer_is_numpys_with_its_gradient():
    student, teacher = _maps()
    s, t = student.numpy(), teacher.numpy()
    value = losses.factor_transfer(student, teacher)
    torch.testing.assert_close(value, torch.from_numpy(_factor_transfer(s, t)))
    gradients = torch.func.grad(lambda s, t: losses.factor_transfer(s, t).sum(), (0, 1))(
        student, teacher
    )
    expected = (
        differences(lambda s: _factor_transfer(s, t).sum(), s),
        differences(lambda t: _factor_transfer(s, t).sum(), t),
    )
    torch.testing.assert_close(gradients, expected, atol=1e-7, rtol=1e-5)


def test_factor_transfer_of_a_dead_layer_is_the_other_factors_size():
    teacher = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    gradient, value = torch.func.grad_and_value(lambda s: losses.factor_transfer(s, teacher).sum())(
        torch.zeros(2, 2)
    )
    torch.testing.assert_close(value, torch.tensor(7 / 5))
    assert gradient.abs().max() <= 1


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)])
def test_vid_is_torchs_gaussian_nll_with_its_gradients(shape):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    variance = 0.1 + torch.rand(4, generator=generator, dtype=torch.float64)

    def expected(s, t, v):
        wide = v.reshape(4, *[1] * (len(shape) - 2)).expand(shape)
        return F.gaussian_nll_loss(s, t, wide)

    arguments = [x.requires_grad_() for x in (student, teacher, variance)]
    ours, torchs = losses.vid(student, teacher, variance).mean(), expected(*arguments)
    torch.testing.assert_close(ours, torchs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, arguments), torch.autograd.grad(torchs, arguments)
    )


def test_vid_is_least_at_the_errors_mean_square():
    student, teacher = _maps()
    variance = (student - teacher).square().mean((0, 2, 3))
    gradient = torch.func.grad(lambda v: losses.vid(student, teacher, v).sum())(variance)
    torch.testing.assert_close(gradient, torch.zeros(4, dtype=torch.float64))


def test_vid_of_bfloat16_rounds_once():
    # ½ log √15, where the logarithms rounded one by one would come to 0.6797
    variance = torch.tensor([3.0, 5.0]).bfloat16()
    side = torch.zeros(1, 2).bfloat16()
    value = losses.vid(side, side, variance)
    assert value == torch.tensor(math.log(15) / 4).bfloat16()


def test_ofd_by_hand():
    # each with margin -1: below the margin; between; left out; both negative, not left out; on
    teacher = torch.tensor([[-5.0, -0.5, -0.5, -0.5, 2.0, 2.0, 0.0, 0.0]])
    student = torch.tensor([[-1.0, -0.5, -3.0, -0.2, 5.0, -1.0, -1.0, 1.0]])
    value = losses.ofd(student, teacher, torch.full((8,), -1.0))
    torch.testing.assert_close(value, torch.tensor([0 + 0 + 0 + 0.09 + 9 + 9 + 0 + 1]))


def test_ofd_is_numpys_with_its_gradients():
    student, teacher = (2 * x for x in _maps())
    margin = torch.tensor([-0.1, -0.5, -1.0, 0.0], dtype=torch.float64)
    s, t, m = student.numpy(), teacher.numpy(), margin.numpy()[None, :, None, None]
    raised = np.maximum(t, m)
    counts = (s > raised) | (raised > 0)
    torch.testing.assert_close(
        losses.ofd(student, teacher, margin),
        torch.from_numpy(((s - raised) ** 2 * counts).sum((1, 2, 3))),
    )
    gradients = torch.func.grad(lambda s, t, m: losses.ofd(s, t, m).sum(), (0, 1, 2))(
        student, teacher, margin
    )
    slope = 2 * (s - raised) * counts
    expected = (slope, -slope * (t > m), (-slope * (t < m)).sum((0, 2, 3)))
    torch.testing.assert_close(gradients, tuple(torch.from_numpy(x) for x in expected))


def test_batchnorm_margin_is_the_mean_of_the_negative_part():
    weight = torch.tensor([1.0, -0.5, 2.0, 0.3, 1.0], dtype=torch.float64)
    bias = torch.tensor([0.0, 0.7, -3.0, 0.9, 3.05], dtype=torch.float64)
    for w, b, value in zip(weight, bias, losses.batchnorm_margin(weight, bias), strict=True):
        normal = {"loc": b.item(), "scale": abs(w.item())}
        whole, _ = integrate.quad(lambda x, n=normal: x * stats.norm.pdf(x, **n), -30, 0)
        assert value.item() == pytest.approx(whole / stats.norm.cdf(0, **normal), rel=1e-7)


def test_batchnorm_margin_where_hardly_a_response_is_negative():
    # Φ(-3.05) = 0.00114 and Φ(-3.1) = 0.00097 stand on either side of 0.001
    value = losses.batchnorm_margin(torch.tensor([2.0, 2.0]), torch.tensor([6.1, 6.2]))
    assert -1.0 < value[0] < 0
    assert value[1] == -6


def test_batchnorm_margin_of_extremes_is_finite_with_its_gradient():
    weight = torch.tensor([0.0, 0.0, 0.0, 1e-30, 1e-30, 1e30])
    bias = torch.tensor([-2.0, 3.0, 0.0, 1e10, -1e10, -1.0])
    expected = torch.tensor([-2.0, 0.0, 0.0, -3e-30, -1e10, -math.sqrt(2 / math.pi) * 1e30])
    torch.testing.assert_close(losses.batchnorm_margin(weight, bias), expected)
    gradients = torch.func.grad(lambda w, b: losses.batchnorm_margin(w, b).sum(), (0, 1))(
        weight, bias
    )
    assert all(x.isfinite().all() for x in gradients)


def test_mean_negative_is_that_of_each_channels_negative_responses():
    maps, _ = _maps()
    maps[:, 2] = maps[:, 2].abs()
    maps[:, 3] = maps[:, 3].clamp(max=0)  # zeros are none of them
    channels = maps.movedim(1, 0).numpy()
    expected = [x[x < 0].mean() if (x < 0).any() else 0.0 for x in channels]
    torch.testing.assert_close(
        losses.mean_negative(maps), torch.tensor(expected, dtype=torch.float64)
    )


def _srd(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    own, given = ((x - x.mean(0)) / x.std(0) for x in (s, t))
    return np.full(len(s), np.log(((own - given) ** 4).sum() / len(s)))


@pytest.mark.parametrize("shape", [(7, 4), (3, 1), (5, 2, 3, 2)])
def test_srd_and_its_gradients_are_numpys(shape):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    expected = torch.from_numpy(_srd(student.numpy(), teacher.numpy()))
    torch.testing.assert_close(losses.srd(student, teacher), expected)
    both = torch.func.grad(lambda s, t: losses.srd(s, t).sum(), argnums=(0, 1))(student, teacher)
    by_differences = (
        differences(lambda s: _srd(s, teacher.numpy()), student),
        differences(lambda t: _srd(student.numpy(), t), teacher),
    )
    torch.testing.assert_close(both, by_differences, atol=1e-6, rtol=1e-5)


def test_srd_of_more_of_the_same_examples_is_the_same_where_a_sum_would_grow():
    student, teacher = (x.flatten(1) for x in _maps())
    twice = losses.srd(student.repeat(2, 1), teacher.repeat(2, 1))
    torch.testing.assert_close(twice[:6], losses.srd(student, teacher))


def test_srd_of_sums_is_published_codes_of_batchnorms():
    generator = torch.Generator().manual_seed(0)
    student, teacher = 100 * torch.randn(2, 9, 4, generator=generator, dtype=torch.float64)
    norm = torch.nn.BatchNorm1d(4, eps=1e-4, affine=False, dtype=torch.float64)
    apart = norm(student) - norm(teacher)
    value = losses.srd(student, teacher)[0] + math.log(9)
    # beside a variance of 10,000, 1e-4 is 1e-8 of it
    torch.testing.assert_close(value, apart.pow(4).sum().log(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("distance", [1e-4, 1e-12])
def test_srd_close_to_the_teacher_keeps_its_digits(distance):
    student, other = (x.flatten(1) for x in _maps())
    value = losses.srd(student, student + distance * other)
    one = losses.srd(student, student + 1e-3 * distance * other)
    # a fourth power of the distance, of which 1e-48 would be nothing in float32
    torch.testing.assert_close(
        value - one, torch.full_like(value, 4 * math.log(1e3)), rtol=1e-2, atol=0
    )


def test_srd_counts_a_constant_element_as_zeros():
    student, teacher = (x.flatten(1).float() for x in _maps())
    student[:, 1] = 0.3  # of which the mean of six is not 0.3 in float32
    s, t = (x.double().numpy() for x in (student, teacher))
    deviation = s.std(0)
    deviation[1] = np.inf
    apart = (s - s.mean(0)) / deviation - (t - t.mean(0)) / t.std(0)
    expected = torch.full((6,), np.log((apart**4).sum() / 6))
    torch.testing.assert_close(losses.srd(student, teacher), expected)


def test_srd_at_equality_and_of_constant_elements_is_finite_with_a_finite_gradient():
    student, teacher = (x.flatten(1).float() for x in _maps())
    level = student.clone()
    level[:, 1] = 0.1
    for own, given in ((student, student), (level, teacher), (0 * student, 0 * student)):
        gradient, value = torch.func.grad_and_value(lambda s, t=given: losses.srd(s, t).sum())(own)
        assert value.isfinite() and gradient.isfinite().all()
        assert (gradient == 0).all() == (own is not level)
    least = torch.full((6,), math.log(torch.finfo(torch.float32).tiny))
    torch.testing.assert_close(losses.srd(student, student), least)
    # of two examples each element is −1 and 1, or 1 and −1
    value = losses.srd(
        torch.tensor([[1.0, 5.0], [2.0, 1.0]]), torch.tensor([[0.0, 0.0], [9.0, 1.0]])
    )
    torch.testing.assert_close(value, torch.full((2,), math.log(16.0)))


def test_bilinear_congruence_has_repdistillers_mean_and_its_gradient():
    student, teacher = (x[:5, :, 0, 0] for x in _maps())
    weight = torch.arange(1.0, 6.0, dtype=torch.float64)

    def each(s: np.ndarray) -> np.ndarray:
        d = np.abs(s - teacher.numpy())
        pairs = [d[i] @ d[i + 1] for i in range(4)]
        return np.convolve(pairs, [1, 1]) * 5 / 8  # to both of a pair, and 5 examples of 4 pairs

    value, error = losses.bilinear_congruence(student, teacher), (student - teacher).abs()
    torch.testing.assert_close(value, torch.from_numpy(each(student.numpy())))
    torch.testing.assert_close(value.mean(), (error[:-1] * error[1:]).sum(1).mean())
    both = torch.func.grad(lambda s, t: weight @ losses.bilinear_congruence(s, t), (0, 1))
    expected = differences(lambda s: weight.numpy() @ each(s), student)
    torch.testing.assert_close(both(student, teacher), (expected, -expected), atol=1e-7, rtol=1e-6)


def test_bilinear_congruence_is_on_average_over_orders_that_over_all_pairs():
    student, teacher = (x[:4, :, 0, 0] for x in _maps())
    orders = itertools.permutations(range(4))
    means = [losses.bilinear_congruence(student[[*x]], teacher[[*x]]).mean() for x in orders]
    error = (student - teacher).abs()
    pairs = (error @ error.T)[~torch.eye(4, dtype=torch.bool)]
    torch.testing.assert_close(torch.stack(means).mean(), pairs.mean())
