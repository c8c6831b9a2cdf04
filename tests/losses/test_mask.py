"""Losses of logits over pixels and tokens of which some do not count."""

import inspect
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fkd import losses
from losses.sized import arguments

NAMES = [
    "adaptive_kl_divergence",
    "alpha_beta_divergence",
    "cross_entropy",
    "dkd",
    "hard_cross_entropy",
    "jensen_shannon",
    "kl_divergence",
    "nkd",
    "norm_kd",
    "ofa",
    "reverse_kl_divergence",
    "rld",
    "skewed_kl_divergence",
    "skewed_reverse_kl_divergence",
    "soft_cross_entropy",
    "standardized_kl_divergence",
    "tf_kd",
    "top_k_kl_divergence",
    "total_variation",
    "ttm",
    "wkd_l",
    "wsld",
    "wttm",
]
TEMPERED = [
    name for name in NAMES if "temperature" in inspect.signature(getattr(losses, name)).parameters
]
BATCH, TOKENS, CLASSES = 3, 4, 5
MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()


def _loss(name: str) -> Callable[..., Tensor]:
    """The loss of that name, of a cost that is the same at all positions."""
    cost = arguments(name, 1, CLASSES).get("cost")
    loss = getattr(losses, name)
    return loss if cost is None else partial(loss, cost=cost)


def _texts(name: str) -> list[Tensor]:
    """The loss's tensors [batch, tokens, classes] in float64, and its labels [batch, tokens]."""
    tensors = arguments(name, BATCH * TOKENS, CLASSES)
    tensors.pop("cost", None)
    texts = (x.unflatten(0, (BATCH, TOKENS)) for x in tensors.values())
    return [x.double() if x.is_floating_point() else x for x in texts]


def _padded(texts: list[Tensor], padding: float = math.nan) -> list[Tensor]:
    texts = [x.clone() for x in texts]
    for x in texts:
        x[~MASK] = padding if x.is_floating_point() else -100
    return texts


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_a_text_is_torchs_that_ignores_labels_of_minus_100(smoothing):
    student, labels = _padded(_texts("cross_entropy"), padding=0.0)
    expected = F.cross_entropy(
        student.flatten(0, 1), labels.flatten(), label_smoothing=smoothing, reduction="none"
    )
    value = losses.cross_entropy(student, labels, label_smoothing=smoothing, mask=MASK)
    torch.testing.assert_close(value, expected.unflatten(0, MASK.shape))


@pytest.mark.parametrize("padding", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_tokens_kept_are_the_same_to_the_last_bit_and_the_rest_are_zero(name, padding):
    loss, texts = _loss(name), _texts(name)
    value = loss(*_padded(texts, padding), mask=MASK)
    assert torch.equal(value[MASK], loss(*texts)[MASK])
    assert (value[~MASK] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_comes_of_padding_in_any_dtype(name, dtype):
    loss, texts = _loss(name), _padded(_texts(name))
    texts = [x.to(dtype) if x.is_floating_point() else x for x in texts]
    gradient, value = torch.func.grad_and_value(lambda s: loss(s, *texts[1:], mask=MASK).sum())(
        texts[0]
    )
    assert value.isfinite()
    assert value.dtype == dtype
    assert gradient[MASK].isfinite().all()
    assert (gradient[~MASK] == 0).all()


@pytest.mark.parametrize("name", TEMPERED)
def test_the_temperatures_gradient_is_that_of_the_tokens_kept(name):
    loss, texts = _loss(name), _texts(name)
    temperature = torch.tensor(2.0, dtype=torch.float64)
    slope = torch.func.grad(lambda t, texts, **mask: loss(*texts, temperature=t, **mask).sum())
    expected = slope(temperature, [x[MASK] for x in texts])
    torch.testing.assert_close(slope(temperature, _padded(texts), mask=MASK), expected)


def test_soft_labels_of_padding_may_be_anything():
    student = _texts("cross_entropy")[0]
    soft = student.flip(-1).softmax(-1)
    padded = _padded([student, soft])
    both = torch.func.grad_and_value(
        lambda s, y: losses.cross_entropy(s, y, mask=MASK).sum(), argnums=(0, 1)
    )
    gradients, value = both(*padded)
    expected = F.cross_entropy(student[MASK], soft[MASK], reduction="sum")
    torch.testing.assert_close(value, expected)
    assert all((x[~MASK] == 0).all() for x in gradients)


@pytest.mark.parametrize("name", NAMES)
def test_members_share_a_mask_or_have_their_own(name):
    loss, (student, *others) = _loss(name), _padded(_texts(name))
    students, masks = torch.stack([student, 2 * student]), torch.stack([MASK, MASK & MASK.roll(1)])

    def of_one(student: Tensor, mask: Tensor) -> Tensor:
        return loss(student, *others, mask=mask)

    shared = torch.func.vmap(of_one, in_dims=(0, None))(students, MASK)
    torch.testing.assert_close(shared, torch.stack([of_one(s, MASK) for s in students]))
    own = torch.func.vmap(of_one)(students, masks)
    torch.testing.assert_close(own, torch.stack([of_one(*x) for x in zip(students, masks)]))  # noqa: B905


@pytest.mark.plain
@pytest.mark.parametrize(
    ("name", "backend"),
    [("cross_entropy", "aot_eager"), ("kl_divergence", "aot_eager"), ("dkd", "inductor")],
)
def test_a_masked_loss_compiles_in_one_graph(name, backend):
    """One of them to the end, and of the others what fkd answers for, as in tests/test_laws.py."""
    loss, (student, *others) = _loss(name), _padded(_texts(name))
    both = torch.func.grad_and_value(lambda s, mask: loss(s, *others, mask=mask).sum())
    torch._dynamo.reset()
    compiled = torch.compile(both, backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(student, MASK), both(student, MASK))


@pytest.mark.plain
@pytest.mark.parametrize("name", NAMES)
def test_a_mask_that_does_not_fit_is_refused(name):
    loss, texts = _loss(name), _texts(name)
    with pytest.raises(ValueError, match=rf"{name}: mask must be boolean.* give mask.bool\(\)"):
        loss(*texts, mask=MASK.long())
    shapes = r"student is \(3, 4, 5\) and mask is \(3,\); nothing is broadcast"
    with pytest.raises(ValueError, match=shapes):
        loss(*texts, mask=MASK[:, 0])
    with pytest.raises(ValueError, match=f"{name}: mask must be a torch.Tensor, but it is"):
        loss(*texts, mask=MASK.tolist())
    with pytest.raises(ValueError, match=f"{name}: student and mask must lie on one device"):
        loss(*texts, mask=MASK.to("meta"))
