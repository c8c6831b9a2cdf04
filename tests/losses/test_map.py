"""Losses of feature maps against NumPy transcriptions, torch.nn.functional and hand's numbers."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracles import differences
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fkd import losses
from fkd.testing import Case, strategies

CASES = {
    "attention_transfer": Case(
        strategies.apart_map_pairs(),
        high=math.sqrt(2),
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "attention_transfer_squared": Case(
        strategies.unlike_map_pairs(),
        high=1.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "channel_wise_divergence": Case(
        strategies.map_pairs(),
        {"temperature": strategies.temperatures()},
        divergence=True,
        shift=True,
    ),
    "fsp": Case(strategies.map_quadruples(), divergence=True, sides=2),
    "hierarchical_context": Case(strategies.tall_map_pairs(), divergence=True, symmetric=True),
    "inter_channel_correlation": Case(
        strategies.distinct_map_pairs(),
        high=4.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "nst": Case(
        strategies.unlike_map_pairs(),
        high=2.0,
        divergence=True,
        scale=True,
        symmetric=True,
    ),
    "pkd": Case(
        strategies.distinct_map_pairs(),
        divergence=True,
        shift=True,
        scale=True,
        symmetric=True,
        whole=True,
    ),
}

Array = np.ndarray


def _maps(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _bins(long: int, short: int) -> list[slice]:
    """The bins of adaptive pooling."""
    return [slice(i * long // short, -(-(i + 1) * long // short)) for i in range(short)]


def _pool(x: Array, height: int, width: int, of: Callable = np.mean) -> Array:
    rows, columns = _bins(x.shape[-2], height), _bins(x.shape[-1], width)
    return np.stack([np.stack([of(x[..., r, c], (-2, -1)) for c in columns], -1) for r in rows], -2)


def _smaller(*maps: Array, of: Callable = np.mean) -> list[Array]:
    height, width = (min(x.shape[axis] for x in maps) for axis in (-2, -1))
    return [_pool(x, height, width, of) for x in maps]


def _flat(x: Array) -> Array:
    return x.reshape(*x.shape[:2], -1)


def _normalised(x: Array) -> Array:
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def _attentions(student: Array, teacher: Array) -> list[Array]:
    maps = _smaller(*((x**2).sum(1) for x in (student, teacher)))
    return [_normalised(x.reshape(len(x), -1)) for x in maps]


def _attention_transfer(student: Array, teacher: Array) -> Array:
    s, t = _attentions(student, teacher)
    return np.linalg.norm(s - t, axis=1)


def _attention_transfer_squared(student: Array, teacher: Array) -> Array:
    s, t = _attentions(student, teacher)
    return ((s - t) ** 2).mean(1)


def _flow(first: Array, last: Array) -> Array:
    first, last = _smaller(first, last, of=np.max)
    return np.einsum("bihw,bjhw->bij", first, last) / np.prod(first.shape[-2:])


def _fsp(s_first: Array, s_last: Array, t_first: Array, t_last: Array) -> Array:
    return ((_flow(s_first, s_last) - _flow(t_first, t_last)) ** 2).sum((1, 2))


def _nst(student: Array, teacher: Array) -> Array:
    s, t = (_normalised(_flat(x)) for x in _smaller(student, teacher))

    def kernel(x: Array, y: Array) -> Array:
        every = x[:, :, None] * y[:, None]  # [batch, channels, channels, positions]
        return (every.sum(-1) ** 2).mean((1, 2))

    return kernel(s, s) + kernel(t, t) - 2 * kernel(s, t)


def _hierarchical_context(student: Array, teacher: Array) -> Array:
    total = ((student - teacher) ** 2).mean((1, 2, 3))
    weights = [1.0]
    for level in [x for x in (4, 2, 1) if x < student.shape[2]]:
        weights.append(weights[-1] / 2)
        s, t = (_pool(x, level, level) for x in (student, teacher))
        total = total + weights[-1] * ((s - t) ** 2).mean((1, 2, 3))
    return total / sum(weights)


def _channel_wise_divergence(student: Array, teacher: Array) -> Array:
    q, p = (np.exp(_flat(x) / 4) for x in (student, teacher))
    q, p = (x / x.sum(-1, keepdims=True) for x in (q, p))
    return 16 * (p * np.log(p / q)).sum(-1).mean(-1)


def _pkd(student: Array, teacher: Array) -> Array:
    s, t = (x - x.mean((0, 2, 3), keepdims=True) for x in (student, teacher))
    count = s.size / s.shape[1]
    s, t = (x / np.sqrt((x**2).sum((0, 2, 3), keepdims=True) / (count - 1)) for x in (s, t))
    return 0.5 * ((s - t) ** 2).mean((1, 2, 3))


def _inter_channel_correlation(student: Array, teacher: Array) -> Array:
    s, t = (_normalised(_flat(x) @ _flat(x).swapaxes(1, 2)) for x in (student, teacher))
    return ((s - t) ** 2).sum((1, 2)) / student.shape[1]


ALIKE = [(3, 4, 5, 3)] * 2
UNLIKE = [(2, 3, 5, 4), (2, 6, 3, 6)]  # each the smaller along one axis
ORACLES = [
    (losses.attention_transfer, _attention_transfer, ALIKE),
    (losses.attention_transfer, _attention_transfer, UNLIKE),
    (losses.attention_transfer_squared, _attention_transfer_squared, ALIKE),
    (losses.attention_transfer_squared, _attention_transfer_squared, UNLIKE),
    (losses.fsp, _fsp, [(2, 3, 4, 4), (2, 2, 4, 4)] * 2),
    (losses.fsp, _fsp, [(2, 3, 5, 4), (2, 2, 3, 2), (2, 3, 4, 4), (2, 2, 2, 2)]),
    (losses.nst, _nst, ALIKE),  # by channels
    (losses.nst, _nst, [(3, 4, 2, 2), (3, 5, 2, 2)]),  # by positions
    (losses.nst, _nst, UNLIKE),
    (losses.hierarchical_context, _hierarchical_context, [(2, 2, 6, 5)] * 2),
    (losses.hierarchical_context, _hierarchical_context, [(2, 3, 4, 2)] * 2),
    (losses.hierarchical_context, _hierarchical_context, [(2, 3, 1, 2)] * 2),
    (losses.channel_wise_divergence, _channel_wise_divergence, ALIKE),
    (losses.pkd, _pkd, ALIKE),
    (losses.pkd, _pkd, [(1, 2, 2, 3)] * 2),
    (losses.inter_channel_correlation, _inter_channel_correlation, ALIKE),
    (losses.inter_channel_correlation, _inter_channel_correlation, [(2, 3, 4, 3), (2, 3, 2, 2)]),
]


@pytest.mark.parametrize(("loss", "oracle", "shapes"), ORACLES)
def test_a_loss_is_numpys_with_its_gradients(loss, oracle, shapes):
    maps = _maps(*shapes)
    arrays = [x.numpy() for x in maps]
    torch.testing.assert_close(loss(*maps), torch.from_numpy(oracle(*arrays)))
    every = tuple(range(len(maps)))
    gradients = torch.func.grad(lambda *x: loss(*x).sum(), every)(*maps)
    for at, gradient in enumerate(gradients):
        expected = differences(
            lambda x, at=at: oracle(*arrays[:at], x, *arrays[at + 1 :]), arrays[at]
        )
        torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)


def test_attention_transfer_by_hand():
    # the student attends to 3 and 4 (squared channels 9 and 16), the teacher to one place
    student = torch.tensor([[[[3.0, 0.0]], [[0.0, 4.0]]]])
    teacher = torch.tensor([[[[7.0, 0.0]]]])
    norm = math.hypot(9, 16)
    expected = math.hypot(9 / norm - 1, 16 / norm)
    value = losses.attention_transfer(student, teacher)
    torch.testing.assert_close(value, torch.tensor([expected]))
    squared = losses.attention_transfer_squared(student, teacher)
    torch.testing.assert_close(squared, torch.tensor([expected**2 / 2]))


def test_attention_transfer_at_its_kink_has_the_subgradient_zero():
    (maps,) = _maps((2, 3, 4, 4))
    first = torch.func.grad(lambda s: losses.attention_transfer(s, maps).sum())
    assert torch.equal(first(maps), torch.zeros_like(maps))
    second = torch.func.grad(lambda s: first(s).sum())(maps)
    assert second.isfinite().all()


@pytest.mark.parametrize("name", ["attention_transfer", "attention_transfer_squared"])
def test_attention_of_a_dead_layer_or_of_vanishing_features(name):
    loss = getattr(losses, name)
    dead, maps = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    gradient, value = torch.func.grad_and_value(lambda s: loss(s, maps).sum())(dead)
    torch.testing.assert_close(value, torch.tensor(1.0 if name == "attention_transfer" else 0.25))
    assert gradient.abs().max() <= 1
    (student, teacher) = _maps((2, 3, 4, 4), (2, 3, 4, 4))
    for size in (1e-25, 1e25):
        sized = loss((size * student).float(), teacher.float())
        torch.testing.assert_close(sized, loss(student, teacher).float())


def test_flow_by_hand():
    # channels of the first: (1, 2) and (0, 1); the last's: (3, 4), twice as wide before pooling
    first = torch.tensor([[[[1.0, 2.0]], [[0.0, 1.0]]]])
    last = torch.tensor([[[[3.0, 1.0, 4.0, -9.0]]]])
    expected = torch.tensor([[[(3.0 + 8.0) / 2], [4.0 / 2]]])
    torch.testing.assert_close(losses.flow(first, last), expected)


@pytest.mark.plain
def test_flow_and_fsp_name_what_does_not_fit():
    one, two = torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 4, 4)
    with pytest.raises(ValueError, match=r"first and last must agree in \[batch\]"):
        losses.flow(one, two)
    with pytest.raises(ValueError, match="student_first and student_last must agree"):
        losses.fsp(one, two, one, two)
    with pytest.raises(ValueError, match=r"student_last and teacher_last.*channels"):
        losses.fsp(one, one, one, one[:, :2])
    with pytest.raises(ValueError, match="teacher_last must be floating-point"):
        losses.fsp(one, one, one, one.long())


class _Largest(TorchDispatchMode):
    """The most elements that any tensor has."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.elements = max(self.elements, out.numel())
        return out


@pytest.mark.parametrize("shape", [(2, 16, 6, 6), (2, 64, 3, 3)])
def test_nst_never_holds_every_pair_of_channels_by_position(shape):
    student, teacher = _maps(shape, shape)
    student.requires_grad_()
    with _Largest() as largest:
        losses.nst(student, teacher).sum().backward()
    batch, channels, positions = shape[0], shape[1], shape[2] * shape[3]
    assert largest.elements <= batch * channels * max(channels, positions)


@pytest.mark.parametrize("name", ["fsp", "nst", "inter_channel_correlation"])
def test_autocast_does_not_round_the_products(name):
    maps = [x.float() for x in _maps(*[(2, 4, 5, 5)] * (4 if name == "fsp" else 2))]
    plain = getattr(losses, name)(*maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(getattr(losses, name)(*maps), plain)


def test_nst_of_dead_channels_has_the_gradient_of_a_norm_of_one():
    student, teacher = (x.float() for x in _maps((2, 4, 5, 5), (2, 4, 5, 5)))
    student[:, 1] = 0
    gradient = torch.func.grad(lambda s: losses.nst(s, teacher).sum())(student)
    assert gradient.abs().max() <= 1


def test_channel_wise_divergence_is_torchs():
    student, teacher = _maps((3, 4, 5, 3), (3, 4, 5, 3))
    log_q, log_p = (F.log_softmax(x.flatten(2) / 2.0, -1) for x in (student, teacher))
    expected = 4 * F.kl_div(log_q, log_p, reduction="sum", log_target=True) / (3 * 4)
    value = losses.channel_wise_divergence(student, teacher, temperature=2.0)
    torch.testing.assert_close(value.mean(), expected)


def test_channel_wise_divergence_of_large_maps_is_finite():
    student, teacher = (1e4 * x.half() for x in _maps((2, 3, 4, 4), (2, 3, 4, 4)))
    value = losses.channel_wise_divergence(student.float(), teacher.float())
    gradient = torch.func.grad(lambda s: losses.channel_wise_divergence(s, teacher.float()).sum())
    assert value.isfinite().all()
    assert gradient(student.float()).abs().max() <= 4 / 3 + 1e-5


def test_pkd_is_pearsons_correlation_over_batch_and_positions():
    student, teacher = _maps((3, 4, 5, 2), (3, 4, 5, 2))
    s, t = (x.movedim(1, 0).flatten(1).numpy() for x in (student, teacher))
    r = np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(s, t, strict=True)])
    expected = torch.tensor((1 - 1 / 30) * (1 - r))
    torch.testing.assert_close(losses.pkd(student, teacher).mean(), expected)


def test_a_value_of_pkd_depends_on_the_other_examples():
    student, teacher = _maps((4, 2, 3, 3), (4, 2, 3, 3))
    value = losses.pkd(student, teacher)
    assert (losses.pkd(student[:2], teacher[:2]) - value[:2]).abs().min() > 1e-3


def test_pkd_of_a_constant_channel_counts_it_as_zeros():
    student, teacher = (x.float() for x in _maps((3, 2, 5, 2), (3, 2, 5, 2)))
    student[:, 1] = 0.1  # of which a mean in float32 is not exact
    gradient, value = torch.func.grad_and_value(lambda s: losses.pkd(s, teacher).mean())(student)
    one = losses.pkd(student[:, :1], teacher[:, :1]).mean()
    torch.testing.assert_close(value, (one + 0.5 * (1 - 1 / 30)) / 2)
    assert gradient.abs().max() <= 1


def test_pkd_keeps_its_digits_beside_a_large_offset():
    student, teacher = _maps((3, 2, 5, 2), (3, 2, 5, 2))
    far = (student.float() + 1000).double()  # rounded before, so that only the loss is measured
    value = losses.pkd(far.float(), teacher.float())
    torch.testing.assert_close(value.double(), losses.pkd(far, teacher), rtol=1e-5, atol=1e-6)


def test_pkd_of_one_number_a_channel_is_zero():
    one = torch.ones(1, 3, 1, 1)
    gradient, value = torch.func.grad_and_value(lambda s: losses.pkd(s, 2 * one).sum())(one)
    assert value == 0
    assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_a_dead_channels_correlation_has_a_gradient_like_the_others(size):
    student, teacher = (x.float() for x in _maps((2, 4, 5, 5), (2, 4, 5, 5)))
    student[:, 2] = 0
    student = size * student
    gradient = torch.func.grad(lambda s: losses.inter_channel_correlation(s, teacher).sum())(
        student
    )
    largest = gradient.abs().amax((0, 2, 3))
    assert largest[2] <= 10 * largest[[0, 1, 3]].max()


@pytest.mark.plain
def test_maps_that_do_not_fit_are_refused():
    maps = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"teacher must be \[batch channels height width\]"):
        losses.nst(maps, torch.zeros(2, 3))
    with pytest.raises(
        ValueError, match=r"must agree in \[batch\].*\(2, 3, 4, 4\).*\(1, 3, 4, 4\)"
    ):
        losses.attention_transfer(maps, maps[:1])
    with pytest.raises(ValueError, match=r"must agree in \[batch channels\]"):
        losses.inter_channel_correlation(maps, maps[:, :2])
    for name in ("hierarchical_context", "channel_wise_divergence", "pkd"):
        with pytest.raises(ValueError, match="nothing is broadcast"):
            getattr(losses, name)(maps, maps[..., :1])
