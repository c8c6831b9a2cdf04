"""The loss of singular vectors against its formula in NumPy and numbers worked by hand."""

import math

import numpy as np
import pytest
import torch
from oracles import differences
from torch import Tensor

from fkd import losses
from fkd.testing import Case, strategies
from fkd.testing.strategies import Arguments

APART = 0.02  # how far the vectors are from a place where the loss jumps or has no derivative


def _directions(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The right singular vectors of [positions, channels], as columns, and the singular values."""
    _, values, rows = np.linalg.svd(x.reshape(len(x), -1).T, full_matrices=False)
    return rows.T, values


def _steady(maps: Arguments) -> bool:
    """Whether no small change of the maps turns, swaps or loses a vector."""
    for student, teacher in zip(maps[:2], maps[2:], strict=True):
        for s, t in zip(student.numpy(), teacher.numpy(), strict=True):
            (v, values), (w, others) = _directions(s), _directions(t)
            for some in (values / values[0], others / others[0]):
                if (-np.diff(some**2, append=0.0) < APART).any():
                    return False
            cosines = np.sort(np.abs(v.T @ w)[:2], 0)
            if len(cosines) > 1 and (cosines[-1] - cosines[-2] < APART).any():
                return False
            if (np.abs(w.sum(0)) < APART).any() or (cosines[-1] < APART).any():
                return False
    return True


CASES = {
    "kdsvd": Case(
        strategies.map_quadruples().filter(_steady), divergence=True, scale=True, smooth=1, sides=2
    ),
}


Maps = tuple[Tensor, Tensor, Tensor, Tensor]


def _maps(*shapes: tuple[int, ...]) -> Maps:
    """A first and a last map of the student, then of the teacher."""
    generator = torch.Generator().manual_seed(0)
    one, two, three, four = (torch.randn(x, generator=generator).double() for x in shapes)
    return one, two, three, four


def _aligned(student: np.ndarray, teacher: np.ndarray, most: int) -> list[np.ndarray]:
    """Of one example and layer: the student's vectors and the teacher's, with their weights."""
    (v, _), (w, values) = _directions(student), _directions(teacher)
    w = w[:, :most] * np.where(w[:, :most].sum(0) < 0, -1, 1)
    chosen = []
    for k in range(most):
        cosines = v[:, : most + 1].T @ w[:, k]
        nearest = np.abs(cosines).argmax()
        chosen.append(v[:, nearest] * (1 if cosines[nearest] >= 0 else -1))
    weight = values[:most] / np.linalg.norm(values[:most])
    return [np.stack(chosen, 1) * weight, w * weight]


def _kdsvd(*maps: np.ndarray, vectors: int = 1) -> np.ndarray:
    most = min(vectors, *(min(x.shape[1], x.shape[2] * x.shape[3]) for x in maps))
    values = []
    for s_first, s_last, t_first, t_last in zip(*maps, strict=True):
        first, last = _aligned(s_first, t_first, most), _aligned(s_last, t_last, most)
        kernels = [
            np.exp(-((x[:, None] - y[None]) ** 2) / 8) for x, y in zip(first, last, strict=True)
        ]
        values.append(((kernels[0] - kernels[1]) ** 2).sum())
    return np.array(values)


SHAPES = [
    [(2, 3, 4, 3), (2, 2, 2, 3)] * 2,  # more positions than channels, on both sides alike
    [(2, 3, 2, 2), (2, 5, 2, 2), (2, 3, 3, 4), (2, 5, 1, 3)],  # sizes that differ, and fewer
    [(2, 4, 1, 1), (2, 3, 2, 2)] * 2,  # of one position, so that there is one vector
]


@pytest.mark.parametrize("vectors", [1, 2, 9])
@pytest.mark.parametrize("shapes", SHAPES)
def test_values_and_gradients_are_numpys(shapes, vectors):
    maps = _maps(*shapes)
    arrays = [x.numpy() for x in maps]

    def oracle(*maps: np.ndarray) -> np.ndarray:
        return _kdsvd(*maps, vectors=vectors)

    value = losses.kdsvd(*maps, vectors=vectors)
    torch.testing.assert_close(value, torch.from_numpy(oracle(*arrays)))
    assert value.min() > 1e-4
    gradients = torch.func.grad(
        lambda a, b, c, d: losses.kdsvd(a, b, c, d, vectors=vectors).sum(), tuple(range(4))
    )(*maps)
    for at, gradient in enumerate(gradients):
        expected = differences(
            lambda x, at=at: oracle(*arrays[:at], x, *arrays[at + 1 :]), arrays[at]
        )
        torch.testing.assert_close(gradient, expected, atol=1e-7, rtol=1e-5)


def test_vectors_at_a_right_angle_by_hand():
    # student (0, 1) and teacher (1, 0) against (1, 0): in each of four places e^(-1/8) against 1
    one, other = torch.eye(2).reshape(2, 1, 2, 1, 1)
    value = losses.kdsvd(one, other, other, other)
    torch.testing.assert_close(value, torch.tensor([4 * (1 - math.exp(-1 / 8)) ** 2]))


def test_the_sign_of_a_map_and_of_its_decomposition_count_as_nothing():
    maps = _maps(*SHAPES[0])
    expected = losses.kdsvd(*maps)
    for at in range(4):
        turned = [-x if at == place else x for place, x in enumerate(maps)]
        torch.testing.assert_close(losses.kdsvd(*turned), expected)


def test_the_students_next_vector_stands_for_the_teachers_where_it_is_nearer():
    # the student's channels are the teacher's, the strong one weak: its second vector is theirs
    teacher, last = torch.diag(torch.tensor([3.0, 1.0])), torch.ones(1, 2, 1, 1)
    student = torch.diag(torch.tensor([1.0, 3.0]))
    value = losses.kdsvd(student.reshape(1, 2, 2, 1), last, teacher.reshape(1, 2, 2, 1), last)
    torch.testing.assert_close(value, torch.zeros(1))


@pytest.mark.parametrize("broken", ["zero", "of one direction", "of equal singular values"])
def test_maps_without_a_vector_or_without_its_derivative_have_a_finite_gradient(broken):
    maps = [x.float() for x in _maps(*SHAPES[0])]
    bad = torch.zeros(2, 3, 4, 3)
    if broken == "of one direction":
        bad = bad + 0.1
    elif broken == "of equal singular values":
        bad[:] = torch.eye(12)[:3].reshape(3, 4, 3)
    for at in range(4):
        if maps[at].shape == bad.shape:
            given = [bad if at == place else x for place, x in enumerate(maps)]
            gradients = torch.func.grad(
                lambda a, b, c, d: losses.kdsvd(a, b, c, d, vectors=2).sum(), tuple(range(4))
            )(*given)
            assert all(x.isfinite().all() and x.abs().max() < 10 for x in gradients)


def test_autocast_does_not_round_the_products():
    maps = [x.float() for x in _maps(*SHAPES[0])]
    plain = losses.kdsvd(*maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(losses.kdsvd(*maps), plain)


@pytest.mark.plain
def test_layers_whose_channels_differ_and_no_vectors_are_refused():
    one, two = torch.zeros(2, 3, 4, 4), torch.zeros(2, 2, 4, 4)
    with pytest.raises(ValueError, match=r"student_last and teacher_last.*channels"):
        losses.kdsvd(one, one, one, two)
    with pytest.raises(ValueError, match="kdsvd: vectors must be a whole number of at least 1"):
        losses.kdsvd(one, one, one, one, vectors=0)
