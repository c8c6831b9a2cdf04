"""Losses of pooled maps against NumPy and numbers worked by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracles import differences, kl, softmax
from torch import Tensor

from fkd import losses
from fkd.testing import Case, strategies


def _raised(maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The maps with no number below zero, so that none is pooled to zeros."""
    return tuple(x + 20 for x in maps)


CASES = {
    "class_attention_transfer": Case(
        strategies.distinct_map_pairs().map(_raised),
        high=4.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    # it jumps where another class is the teacher's likeliest of a cell
    "sdd": Case(
        strategies.map_pairs().flatmap(
            lambda maps: st.tuples(*map(st.just, maps), strategies.labels(*maps[0].shape[:2]))
        ),
        {"beta": strategies.temperatures(), "temperature": strategies.temperatures()},
        divergence=True,
        shift=True,
        smooth=0,
    ),
    "wkd_f": Case(
        strategies.distinct_map_pairs(),
        {"gamma": strategies.temperatures()},
        divergence=True,
        symmetric=True,
    ),
}


def _maps(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _cells(x: np.ndarray, cells: int) -> np.ndarray:
    """The means of the cells that adaptive pooling has, along the last axis."""
    rows, columns = (
        [slice(i * long // cells, -(-(i + 1) * long // cells)) for i in range(cells)]
        for long in x.shape[2:]
    )
    return np.stack([x[..., r, c].mean((-2, -1)) for r in rows for c in columns], -1)


def _class_attention(s: np.ndarray, t: np.ndarray, cells: int) -> np.ndarray:
    pooled = (_cells(x, cells) for x in (s, t))
    own, given = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in pooled)
    return ((own - given) ** 2).sum(-1).mean(-1)


@pytest.mark.parametrize(
    ("cells", "shapes"),
    [
        (2, [(3, 4, 6, 5)] * 2),
        (2, [(2, 3, 5, 4), (2, 3, 8, 2)]),
        (1, [(2, 3, 2, 2)] * 2),
        (3, [(2, 2, 2, 7), (2, 2, 3, 3)]),
    ],
)
def test_class_attention_transfer_and_its_gradients_are_numpys(cells, shapes):
    student, teacher = _maps(*shapes)

    def loss(s, t):
        return losses.class_attention_transfer(s, t, cells=cells)

    expected = torch.from_numpy(_class_attention(student.numpy(), teacher.numpy(), cells))
    torch.testing.assert_close(loss(student, teacher), expected)
    both = torch.func.grad(lambda s, t: loss(s, t).sum(), argnums=(0, 1))(student, teacher)
    by_differences = (
        differences(lambda s: _class_attention(s, teacher.numpy(), cells), student),
        differences(lambda t: _class_attention(student.numpy(), t, cells), teacher),
    )
    torch.testing.assert_close(both, by_differences, atol=1e-6, rtol=1e-5)


def test_class_maps_by_hand():
    # of the first class the student attends to the upper cells, the teacher to the left ones; of
    # the second both attend to the last, to which the sizes of their numbers make no difference
    student = torch.tensor([[[[2.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1e-20]]]])
    teacher = torch.tensor([[[[5.0, 0.0], [5.0, 0.0]], [[0.0, 0.0], [0.0, 1e20]]]])
    value = losses.class_attention_transfer(student, teacher)
    torch.testing.assert_close(value, torch.tensor([(0.5 + 0.5) / 2]))
    opposite = losses.class_attention_transfer(student, -student)
    torch.testing.assert_close(opposite, torch.tensor([4.0]))


def test_a_class_without_a_map_stays_at_zeros_with_a_finite_gradient():
    (maps,) = _maps((2, 3, 4, 4))
    dead = maps.clone()
    dead[:, 1] = 0
    gradient, value = torch.func.grad_and_value(
        lambda s: losses.class_attention_transfer(s, maps).sum()
    )(dead)
    torch.testing.assert_close(value, torch.tensor(2 / 3, dtype=torch.float64))
    assert gradient.abs().max() <= 2


def test_published_code_takes_the_mean_over_the_cells():
    student, teacher = _maps((3, 4, 6, 5), (3, 4, 6, 5))
    pooled = (torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(2) for x in (student, teacher))
    s, t = (torch.nn.functional.normalize(x, dim=-1) for x in pooled)
    value = losses.class_attention_transfer(student, teacher).mean()
    torch.testing.assert_close(value, 4 * torch.nn.functional.mse_loss(s, t))


def _wkd_f(s: np.ndarray, t: np.ndarray, gamma: float) -> np.ndarray:
    means = s.mean((2, 3)) - t.mean((2, 3))
    deviations = s.std((2, 3)) - t.std((2, 3))
    return (gamma * means**2 + deviations**2).sum(1)


@pytest.mark.parametrize("shapes", [[(3, 4, 5, 3)] * 2, [(2, 3, 5, 4), (2, 3, 1, 2)]])
def test_wkd_f_and_its_gradients_are_numpys(shapes):
    student, teacher = _maps(*shapes)
    expected = torch.from_numpy(_wkd_f(student.numpy(), teacher.numpy(), 2.5))
    torch.testing.assert_close(losses.wkd_f(student, teacher, gamma=2.5), expected)
    both = torch.func.grad(lambda s, t: losses.wkd_f(s, t, gamma=2.5).sum(), argnums=(0, 1))
    by_differences = (
        differences(lambda s: _wkd_f(s, teacher.numpy(), 2.5), student),
        differences(lambda t: _wkd_f(student.numpy(), t, 2.5), teacher),
    )
    torch.testing.assert_close(both(student, teacher), by_differences, atol=1e-6, rtol=1e-5)


def test_wkd_f_is_the_squared_distance_of_normal_distributions():
    # W² of N(m, s²) and N(n, t²) is the mean square between their quantiles, m + s z and n + t z
    student, teacher = _maps((1, 1, 50, 20), (1, 1, 50, 20))
    z = 2 * torch.special.erfinv(2 * torch.linspace(0, 1, 200_002)[1:-1].double() - 1) / 2**0.5
    quantiles = [x.mean() + x.std(correction=0) * z for x in (student, 3 * teacher + 1)]
    expected = (quantiles[0] - quantiles[1]).square().mean()
    value = losses.wkd_f(student, 3 * teacher + 1, gamma=1.0)
    torch.testing.assert_close(value[0], expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e4])
def test_a_constant_channel_has_no_deviation_and_a_finite_gradient(level):
    teacher = torch.tensor([[[[1.0, 3.0]]]])
    gradient, value = torch.func.grad_and_value(lambda s: losses.wkd_f(s, teacher).sum())(
        torch.full((1, 1, 3, 3), level)
    )
    torch.testing.assert_close(value, torch.tensor(4 * (level - 2) ** 2 + 1))
    torch.testing.assert_close(gradient, torch.full((1, 1, 3, 3), 8 * (level - 2) / 9))


def test_deviations_keep_their_digits_beside_a_large_offset():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, 3, 3, generator=generator)
    far = student + 1e6  # rounded here, so that only the loss is measured
    value = losses.wkd_f(far, teacher, gamma=0.0)
    expected = losses.wkd_f(far.double(), teacher.double(), gamma=0.0)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)


LABELS = torch.tensor([0, 1, 2])


def _sdd(s, t, scales=3, beta=2.0, temperature=4.0) -> np.ndarray:
    """Each example and cell by itself."""
    values = []
    for own, given, y in zip(s, t, LABELS.tolist(), strict=True):
        total, globally = 0.0, given.mean((1, 2)).argmax() == y
        for side in (1, 2, 4)[:scales]:
            both = (_cells(x[None], side)[0].T for x in (own, given))
            for z, w in zip(*both, strict=True):
                share = 1.0 if (w.argmax() == y) == globally else beta
                q, p = (softmax(x / temperature) for x in (z, w))
                total += share * temperature**2 * kl(p, q)
        values.append(total)
    return np.array(values)


@pytest.mark.parametrize("shapes", [[(3, 3, 4, 3)] * 2, [(3, 4, 3, 2), (3, 4, 4, 2)]])
@pytest.mark.parametrize(
    "numbers", [{}, {"scales": 2, "beta": 0.3, "temperature": 1.0}, {"scales": 1}]
)
def test_sdd_and_its_gradients_are_numpys(shapes, numbers):
    student, teacher = (3 * x for x in _maps(*shapes))

    def loss(s, t):
        return losses.sdd(s, t, LABELS, **numbers)

    expected = torch.from_numpy(_sdd(student.numpy(), teacher.numpy(), **numbers))
    torch.testing.assert_close(loss(student, teacher), expected)
    both = torch.func.grad(lambda s, t: loss(s, t).sum(), argnums=(0, 1))(student, teacher)
    by_differences = (
        differences(lambda s: _sdd(s, teacher.numpy(), **numbers), student),
        differences(lambda t: _sdd(student.numpy(), t, **numbers), teacher),
    )
    torch.testing.assert_close(both, by_differences, atol=1e-5, rtol=1e-5)


def test_published_code_takes_the_mean_over_21_cells():
    student, teacher = (3 * x for x in _maps((3, 3, 8, 4), (3, 3, 4, 8)))
    cells = []
    for x in (student, teacher):
        four = torch.nn.functional.adaptive_avg_pool2d(x, 4)  # of which it pools the larger cells
        sides = [torch.nn.functional.adaptive_avg_pool2d(four, n).flatten(2) for n in (1, 2, 4)]
        cells.append(torch.cat(sides, -1).permute(2, 0, 1).flatten(0, 1))
    log_q, p = (cells[0] / 4).log_softmax(1), (cells[1] / 4).softmax(1)
    each = 16 * torch.nn.functional.kl_div(log_q, p, reduction="none").sum(1)
    right = (cells[1].argmax(1) == LABELS.repeat(21)).reshape(21, 3)
    share = torch.where(right == right[0], 1.0, 2.0).flatten()
    assert (share == 2).any() and (share == 1).any()
    mean = (share * each).sum() / len(each)
    torch.testing.assert_close(losses.sdd(student, teacher, LABELS).mean(), 21 * mean)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_cell_counts_more_where_it_or_the_whole_alone_is_right(label):
    # the whole and the left half say 0, and the right half 1
    teacher = torch.tensor([[[[9.0, 0.0]], [[0.0, 1.0]], [[-1.0, -1.0]]]]).repeat(1, 1, 2, 1)
    student = torch.zeros(1, 3, 2, 2)
    parts = [
        losses.kl_divergence(torch.zeros(1, 3), torch.tensor([z]), temperature=4.0).item()
        for z in ([4.5, 0.5, -1.0], [9.0, 0.0, -1.0], [0.0, 1.0, -1.0])
    ]
    value = losses.sdd(student, teacher, torch.tensor([label]), scales=2, beta=3.0)
    share = 1 if label == 2 else 3  # of a label that nothing says all are wrong together
    expected = parts[0] + 2 * parts[1] + 2 * share * parts[2]
    torch.testing.assert_close(value, torch.tensor([expected]))


@pytest.mark.plain
def test_class_maps_that_do_not_fit_are_refused():
    maps = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"must agree in \[batch channels\]"):
        losses.class_attention_transfer(maps, maps[:, :2])
    with pytest.raises(ValueError, match="cells"):
        losses.class_attention_transfer(maps, maps, cells=0)
    assert losses.class_attention_transfer(maps, maps[..., :1]).tolist() == [0.0, 0.0]
    assert not math.isnan(losses.class_attention_transfer(maps.half(), maps)[0])


@pytest.mark.plain
@pytest.mark.parametrize("scales", [0, 9, 1.5])
def test_scales_that_are_none_or_too_many_are_refused(scales):
    maps, labels = torch.zeros(2, 3, 4, 4), torch.tensor([0, 2])
    with pytest.raises(ValueError, match="sdd: scales must"):
        losses.sdd(maps, maps, labels, scales=scales)
