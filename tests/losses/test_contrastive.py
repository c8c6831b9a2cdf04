"""Losses of contrast against torch.nn.functional, NumPy and numbers worked by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fkd import losses
from fkd.testing import Case, strategies

TEMPERATURE = {"temperature": strategies.temperatures()}
CASES = {
    "crd": Case(
        strategies.contrasted_embeddings(),
        {
            "share": strategies.eighths(1),
            "student_scale": strategies.eighths(2),
            "teacher_scale": strategies.eighths(2),
            **TEMPERATURE,
        },
        scale=True,
    ),
    "info_nce": Case(
        strategies.embedding_pairs(), TEMPERATURE, scale=True, whole=True, relation=True
    ),
}

EXAMPLES = 50  # of the data set


def _pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    return student, teacher


def _negatives() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(2, 5, 6, 4, generator=generator, dtype=torch.float64)
    of_student, of_teacher = F.normalize(rows, dim=-1)
    return of_student, of_teacher


@pytest.mark.parametrize("temperature", [0.07, 1, 4.0])
def test_info_nce_is_torchs_cross_entropy(temperature):
    student, teacher = _pair()
    cosines = F.cosine_similarity(student[:, None], teacher[None], dim=-1)
    expected = F.cross_entropy(cosines / temperature, torch.arange(5), reduction="none")
    value = losses.info_nce(student, teacher, temperature=temperature)
    torch.testing.assert_close(value, expected)


def test_info_nce_has_the_gradient_of_torchs():
    pairs = [tuple(x.clone().requires_grad_() for x in _pair()) for _ in range(2)]
    student, teacher = pairs[0]
    logits = F.normalize(student) @ F.normalize(teacher).T / 0.2
    F.cross_entropy(logits, torch.arange(5), reduction="sum").backward()
    losses.info_nce(*pairs[1], temperature=0.2).sum().backward()
    for ours, torchs in zip(pairs[1], pairs[0], strict=True):
        torch.testing.assert_close(ours.grad, torchs.grad)


def test_info_nce_by_hand():
    # cosines 1 and 0: log(1 + 1/e); cosines -1 and 1 the wrong way round: log(1 + e²)
    eye, ends = torch.eye(2), torch.tensor([[3.0], [-2.0]])
    value = losses.info_nce(eye, eye, temperature=1.0)
    torch.testing.assert_close(value, torch.full((2,), math.log1p(math.exp(-1))))
    value = losses.info_nce(ends, -ends, temperature=1.0)
    torch.testing.assert_close(value, torch.full((2,), math.log1p(math.exp(2))))


def test_info_nce_of_zeros_is_the_log_of_the_batch():
    gradient, value = torch.func.grad_and_value(lambda s: losses.info_nce(s, torch.eye(4)).mean())(
        torch.zeros(4, 4)
    )
    torch.testing.assert_close(value, torch.tensor(math.log(4)))
    assert gradient.abs().max() <= 10  # 1 / T


@pytest.mark.plain
def test_info_nce_compares_rows_of_one_width():
    with pytest.raises(ValueError, match=r"student and teacher must have one shape.*\(2, 3\)"):
        losses.info_nce(torch.zeros(2, 3), torch.zeros(2, 4))


def test_autocast_does_not_round_the_products():
    student, teacher = (x.float() for x in _pair())
    one, two = (x.float() for x in _negatives())
    expected = losses.info_nce(student, teacher), losses.crd(student, teacher, one, two)
    with torch.autocast("cpu", torch.bfloat16):
        values = losses.info_nce(student, teacher), losses.crd(student, teacher, one, two)
    torch.testing.assert_close(values, expected)


def test_sides_may_differ_in_dtype():
    (student, teacher), (one, two) = _pair(), _negatives()
    values = (
        losses.info_nce(student.float(), teacher),
        losses.crd(student.float(), teacher, one, two),
    )
    expected = losses.info_nce(student, teacher), losses.crd(student, teacher, one, two)
    torch.testing.assert_close(values, tuple(x.float() for x in expected))


def _one_side(anchor, other, negatives, temperature, z, examples) -> np.ndarray:
    """Noise-contrastive estimation as published: D = P / (P + m Pn), m negatives, Pn = 1/N."""
    anchor, other = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (anchor, other))
    count = negatives.shape[1]
    noise = count / examples
    p = np.exp((anchor * other).sum(-1) / temperature) / z
    p_k = np.exp(np.einsum("bd,bkd->bk", anchor, negatives) / temperature) / z
    return -np.log(p / (p + noise)) - np.log(noise / (p_k + noise)).sum(1)


def _crd(tensors: Sequence[np.ndarray], temperature=0.07, z=(1.0, 1.0)) -> np.ndarray:
    s, t, s_negatives, t_negatives = tensors
    return _one_side(s, t, t_negatives, temperature, z[0], EXAMPLES) + _one_side(
        t, s, s_negatives, temperature, z[1], EXAMPLES
    )


def test_crd_is_numpys():
    tensors = (*_pair(), *_negatives())
    expected = torch.from_numpy(_crd([x.numpy() for x in tensors]))
    torch.testing.assert_close(losses.crd(*tensors, share=6 / EXAMPLES), expected)


def test_crd_is_the_published_one_with_its_constants():
    tensors, z = (*_pair(), *_negatives()), (70.0, 900.0)
    expected = torch.from_numpy(_crd([x.numpy() for x in tensors], temperature=0.3, z=z))
    value = losses.crd(
        *tensors, temperature=0.3, share=6 / EXAMPLES, student_scale=z[0], teacher_scale=z[1]
    )
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("side", range(4))
def test_crd_has_the_gradient_of_the_differences_of_numpys(side):
    tensors = (*_pair(), *_negatives())
    gradient = torch.func.grad(
        lambda s, t, one, two: losses.crd(
            s, t, one, two, temperature=0.5, share=6 / EXAMPLES
        ).sum(),
        argnums=side,
    )(*tensors)
    arrays = [x.numpy() for x in tensors]

    def value(x: np.ndarray) -> float:
        return _crd([*arrays[:side], x, *arrays[side + 1 :]], temperature=0.5).sum()

    at = arrays[side]
    steps = 1e-6 * np.eye(at.size).reshape(-1, *at.shape)
    expected = np.array([(value(at + step) - value(at - step)) / 2e-6 for step in steps])
    torch.testing.assert_close(
        gradient, torch.from_numpy(expected.reshape(at.shape)), atol=1e-7, rtol=1e-6
    )


def test_crd_by_hand():
    # h of the positive e/(e + 1), of the negatives 1/2, on either side
    one, other = torch.tensor([[2.0, 0.0]]), torch.tensor([[[0.0, 1.0], [0.0, -1.0]]])
    value = losses.crd(one, one, other, other[:, :1], temperature=1.0, share=1.0)
    torch.testing.assert_close(value, torch.tensor([2 * math.log1p(math.exp(-1)) + math.log(8)]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_crd_at_a_low_temperature_does_not_overflow(dtype):
    # e^(±1000) would; -log h of the positive is 1000 to rounding, as is that of the one negative
    one, other = torch.tensor([[1.0, 0.0]], dtype=dtype), torch.tensor([[[1.0, 0.0]]], dtype=dtype)
    gradient, value = torch.func.grad_and_value(
        lambda s: losses.crd(s, -one, -other, other, temperature=0.001, share=1.0).sum()
    )(one)
    torch.testing.assert_close(value, torch.tensor(4000.0, dtype=dtype))
    assert gradient.isfinite().all()


def test_crd_of_an_anchor_of_zeros_has_a_gradient_of_at_most_its_terms():
    (_, teacher), (one, two) = _pair(), _negatives()
    gradient = torch.func.grad(lambda s: losses.crd(s, teacher, one, two, temperature=1.0).sum())(
        torch.zeros(5, 4, dtype=torch.float64)
    )
    assert gradient.norm(dim=-1).max() <= 2 + 6  # two positives, six negatives, each at most 1/T


def test_members_may_have_their_own_scales():
    tensors = (*_pair(), *_negatives())
    scales = torch.tensor([1.0, 70.0], dtype=torch.float64)
    both = torch.func.vmap(lambda z: losses.crd(*tensors, student_scale=z, teacher_scale=z))(scales)
    expected = losses.crd(*tensors, student_scale=70.0, teacher_scale=70.0)
    torch.testing.assert_close(both[1], expected)


@pytest.mark.plain
def test_what_crd_refuses():
    one, others = torch.zeros(2, 3), torch.zeros(2, 4, 3)
    with pytest.raises(ValueError, match=r"student is \(2, 3\) and teacher_negatives is \(2, 4, 2"):
        losses.crd(one, one, others, others[..., :2])
    with pytest.raises(ValueError, match=r"student_negatives must be \[batch negatives width\]"):
        losses.crd(one, one, one, others)
    for share in (0, 1.5):
        with pytest.raises(ValueError, match="crd: share must"):
            losses.crd(one, one, others, others, share=share)
    with pytest.raises(ValueError, match="teacher_scale must be above zero"):
        losses.crd(one, one, others, others, teacher_scale=0.0)
