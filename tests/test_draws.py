"""Random calls answered by a hash: torch's shapes, its distributions, and nothing of its state."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fkd import _random
from fkd._draws import Draws
from fkd._random import Key

ONES = torch.ones(4, 3, 2, 2)
GENERATOR = torch.Generator()
WEIGHTS = torch.tensor([[0.5, 0.3, 0.2], [0.0, 0.1, 0.9]])


def _key(seed: int = 3, step: int = 5, first: int = 0) -> Key:
    return Key(torch.tensor(seed), torch.tensor(step), first)


def _own_ones() -> Tensor:
    """Ones that are each member's own, so that they can be written."""
    return torch.empty_like(ONES).fill_(1)


# Every call that is answered, as one would write it.
CALLS: dict[str, Callable[[], Tensor]] = {
    "F.dropout": lambda: F.dropout(ONES),
    "F.dropout, in place": lambda: F.dropout(_own_ones(), inplace=True),
    "torch.dropout": lambda: torch.dropout(ONES, 0.5, True),
    "torch.dropout_": lambda: torch.dropout_(_own_ones(), 0.5, True),
    "torch.native_dropout": lambda: torch.native_dropout(ONES, 0.5, True)[0],
    "F.dropout1d": lambda: F.dropout1d(ONES[0]),
    "F.dropout1d, one example": lambda: F.dropout1d(ONES[0, 0].repeat(9, 1)),
    "F.dropout2d": lambda: F.dropout2d(ONES),
    "F.dropout3d": lambda: F.dropout3d(ONES[..., None]),
    "F.dropout3d, one example": lambda: F.dropout3d(ONES.repeat(3, 1, 1, 1)),
    "torch.feature_dropout": lambda: torch.feature_dropout(ONES, 0.5, True),
    "torch.feature_dropout_": lambda: torch.feature_dropout_(_own_ones(), 0.5, True),
    "F.alpha_dropout": lambda: F.alpha_dropout(ONES, 0.5, True),
    "torch.alpha_dropout": lambda: torch.alpha_dropout(ONES, 0.5, True),
    "torch.alpha_dropout_": lambda: torch.alpha_dropout_(_own_ones(), 0.5, True),
    "F.feature_alpha_dropout": lambda: F.feature_alpha_dropout(ONES, 0.5, True),
    "torch.feature_alpha_dropout": lambda: torch.feature_alpha_dropout(ONES, 0.5, True),
    "torch.feature_alpha_dropout_": lambda: torch.feature_alpha_dropout_(_own_ones(), 0.5, True),
    "F.rrelu": lambda: F.rrelu(-ONES, training=True),
    "torch.rrelu": lambda: torch.rrelu(-ONES, training=True),
    "torch.rrelu_": lambda: torch.rrelu_(-_own_ones(), training=True),
    "F.gumbel_softmax": lambda: F.gumbel_softmax(WEIGHTS),
    "torch.rand": lambda: torch.rand(4, 3),
    "torch.rand, a tuple": lambda: torch.rand((4, 3), dtype=torch.float64),
    "torch.rand, by name": lambda: torch.rand(size=(4, 3), device="cpu"),
    "torch.rand, half": lambda: torch.rand(40, dtype=torch.float16),
    "torch.randn": lambda: torch.randn(4, 3, generator=GENERATOR),
    "torch.randint": lambda: torch.randint(1000, (4, 3)),
    "torch.randint, from": lambda: torch.randint(-1000, 1000, (4, 3), dtype=torch.int32),
    "torch.randint, by name": lambda: torch.randint(low=2, high=2**50, size=(4, 3)),
    "torch.randperm": lambda: torch.randperm(50),
    "torch.rand_like": lambda: torch.rand_like(ONES),
    "torch.randn_like": lambda: torch.randn_like(ONES, dtype=torch.float64),
    "torch.randint_like": lambda: torch.randint_like(ONES, 1000),
    "torch.randint_like, from": lambda: torch.randint_like(ONES, 2, high=1000),
    "torch.normal": lambda: torch.normal(WEIGHTS, 1.0),
    "torch.normal, deviations": lambda: torch.normal(torch.zeros(3), WEIGHTS + 1),
    "torch.normal, a size": lambda: torch.normal(0.0, 1.0, (4, 3)),
    "torch.normal, wide": lambda: torch.normal(0.0, 1.0, (4, 3), dtype=torch.float64),
    "torch.bernoulli": lambda: torch.bernoulli(ONES / 2),
    "torch.bernoulli, p": lambda: torch.bernoulli(ONES, 0.5),
    "Tensor.bernoulli": lambda: (ONES / 2).bernoulli(),
    "torch.multinomial": lambda: torch.multinomial(WEIGHTS.repeat(20, 1), 2),
    "Tensor.multinomial": lambda: WEIGHTS.repeat(9, 1).multinomial(7, replacement=True),
    "bernoulli_": lambda: torch.empty(4, 9).bernoulli_(),
    "bernoulli_, of a tensor": lambda: torch.empty(4, 12).bernoulli_(ONES.reshape(4, 12) / 2),
    "uniform_": lambda: torch.empty(4, 3).uniform_(-1, 1),
    "uniform_, alone": lambda: torch.empty(4, 3).uniform_(),
    "uniform_, by name": lambda: torch.empty(4, 3).uniform_(to=2.0),
    "normal_": lambda: torch.empty(4, 3).normal_(std=2.0),
    "log_normal_": lambda: torch.empty(4, 3).log_normal_(),
    "exponential_": lambda: torch.empty(4, 3).exponential_(2.0),
    "geometric_": lambda: torch.empty(40, 3).geometric_(0.1),
    "cauchy_": lambda: torch.empty(4, 3).cauchy_(),
    "random_": lambda: torch.empty(4, 3).random_(),
    "random_, whole": lambda: torch.empty(4, 3, dtype=torch.int64).random_(),
    "random_, below": lambda: torch.empty(4, 3).random_(1000),
    "random_, between": lambda: torch.empty(4, 3).random_(-1000, 1000),
}


def _answer(call: Callable[[], Tensor], key: Key, calls: int = 1) -> Tensor:
    with Draws(key, examples=4):
        return [call() for _ in range(calls)][-1]


@pytest.mark.parametrize("name", CALLS)
def test_an_answer_has_torchs_shape_and_comes_from_the_key_alone(name):
    call = CALLS[name]
    with torch.random.fork_rng(devices=[]):
        expected = call()
        before = torch.get_rng_state()
        x = _answer(call, _key())
        assert torch.equal(torch.get_rng_state(), before)
    assert (x.shape, x.dtype, x.device) == (expected.shape, expected.dtype, expected.device)
    assert torch.equal(x, _answer(call, _key()))
    others = [_answer(call, _key(seed=4)), _answer(call, _key(step=6)), _answer(call, _key(), 2)]
    assert all(not torch.equal(x, other) for other in others)


@pytest.mark.parametrize("name", CALLS)
def test_on_the_meta_device_an_answer_has_the_same_form(name, monkeypatch):
    x = _answer(CALLS[name], _key())
    for constant in ("ONES", "WEIGHTS"):
        monkeypatch.setitem(globals(), constant, globals()[constant].to("meta"))
    with torch.device("meta"):
        there = _answer(CALLS[name], _key(), calls=2)
    assert (there.shape, there.stride(), there.dtype) == (x.shape, x.stride(), x.dtype)
    assert there.is_meta


def test_dropouts_mask_is_the_hash_of_seed_call_step_and_position():
    for call in (0, 1, 40):
        x = _answer(lambda: F.dropout(torch.ones(8, 9), 0.3), _key(3, 5), call + 1)
        key = _random.fold(_random.fold(torch.tensor(3), call), 5)
        keep = _random.bits(key, (8, 9)) >= 0.3 * 2**32
        assert torch.equal(x, keep / (1 - 0.3))


@pytest.mark.parametrize("drop", [F.dropout, F.dropout2d, F.alpha_dropout, F.feature_alpha_dropout])
def test_dropout_of_nothing_and_of_all(drop):
    with Draws(_key(), examples=4):
        assert torch.equal(drop(ONES, 0.0, training=True), ONES)
        assert torch.equal(drop(ONES, 1.0, training=True), torch.zeros_like(ONES))
        with pytest.raises(ValueError, match=r"between 0 and 1, but got 1\.5"):
            drop(ONES, 1.5, training=True)


def test_dropout_keeps_a_share_and_scales_it():
    out = _answer(lambda: F.dropout(torch.ones(400, 100), 0.3), _key())
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / 0.7))
    assert abs(len(kept) / out.numel() - 0.7) < 4 * (0.21 / out.numel()) ** 0.5


def test_dropout2d_drops_whole_channels():
    out = _answer(lambda: F.dropout2d(torch.ones(20, 30, 4, 4)), _key())
    assert set(out.mean((2, 3)).flatten().tolist()) == {0.0, 2.0}


def test_alpha_dropout_keeps_mean_and_variance():
    x = torch.randn(1000, 100, generator=torch.Generator().manual_seed(0))
    out = _answer(lambda: F.alpha_dropout(x, 0.2, True), _key())
    assert abs(out.mean().item()) < 0.02
    assert abs(out.var().item() - 1) < 0.02


NUMBERS = 100_000
DISTRIBUTIONS = {
    "rand": (lambda: torch.rand(NUMBERS), stats.uniform()),
    "rand in float64": (lambda: torch.rand(NUMBERS, dtype=torch.float64), stats.uniform()),
    "randn": (lambda: torch.randn(NUMBERS), stats.norm()),
    "randn in float64": (lambda: torch.randn(NUMBERS, dtype=torch.float64), stats.norm()),
    "normal": (lambda: torch.normal(2.0, torch.full((NUMBERS,), 3.0)), stats.norm(2, 3)),
    "uniform_": (lambda: torch.empty(NUMBERS).uniform_(-1, 3), stats.uniform(-1, 4)),
    "normal_": (lambda: torch.empty(NUMBERS).normal_(1, 2), stats.norm(1, 2)),
    "log_normal_": (
        lambda: torch.empty(NUMBERS).log_normal_(1, 2),
        stats.lognorm(2, scale=math.e),
    ),
    "exponential_": (lambda: torch.empty(NUMBERS).exponential_(4.0), stats.expon(scale=1 / 4)),
    "cauchy_": (lambda: torch.empty(NUMBERS).cauchy_(1, 2), stats.cauchy(1, 2)),
    "rrelu": (lambda: -F.rrelu(-torch.ones(NUMBERS), 0.2, 0.7, True), stats.uniform(0.2, 0.5)),
}
COUNTS = {
    "randint": (lambda: torch.randint(-2, 3, (NUMBERS,)) + 2, [0.2] * 5),
    "random_": (lambda: torch.empty(NUMBERS).random_(3), [1 / 3] * 3),
    "bernoulli_": (lambda: torch.empty(NUMBERS).bernoulli_(0.3), [0.7, 0.3]),
    "bernoulli": (lambda: torch.bernoulli(torch.full((NUMBERS,), 0.3)), [0.7, 0.3]),
    "multinomial": (lambda: torch.multinomial(WEIGHTS[0], NUMBERS, True), [0.5, 0.3, 0.2]),
    "multinomial without replacement": (
        lambda: torch.multinomial(WEIGHTS[0].expand(NUMBERS, 3), 2)[:, 0],
        [0.5, 0.3, 0.2],
    ),
    "gumbel_softmax": (
        lambda: F.gumbel_softmax(WEIGHTS[0].log().expand(NUMBERS, 3), hard=True).argmax(-1),
        [0.5, 0.3, 0.2],
    ),
    "geometric_": (
        lambda: (torch.empty(NUMBERS).geometric_(0.5) - 1).clamp(max=4),
        [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16],
    ),
    "randperm": (lambda: torch.stack([torch.randperm(3) for _ in range(2000)])[:, 0], [1 / 3] * 3),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_continuous_numbers_are_distributed_as_they_should(name):
    call, distribution = DISTRIBUTIONS[name]
    assert stats.kstest(_answer(call, _key()).double().numpy(), distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", COUNTS)
def test_whole_numbers_are_as_frequent_as_they_should(name):
    call, shares = COUNTS[name]
    x = _answer(call, _key()).long()
    counts = torch.bincount(x, minlength=len(shares)).double()
    expected = torch.tensor(shares, dtype=torch.float64) * len(x)
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-3


def test_certain_draws_are_certain():
    with Draws(_key(), examples=1):
        assert torch.bernoulli(torch.ones(1000)).eq(1).all()
        assert torch.empty(1000).bernoulli_(1.0).eq(1).all()
        assert torch.empty(1000).bernoulli_(0.0).eq(0).all()
        assert torch.empty(1000).geometric_(1.0).eq(1).all()
        assert torch.randperm(50).sort().values.equal(torch.arange(50))
        assert torch.multinomial(torch.tensor([0.0, 1.0]), 100, True).eq(1).all()
        assert torch.rand(10**5, dtype=torch.bfloat16).max() < 1
        with pytest.raises(ValueError, match="from 3 to below 3"):
            torch.randint(3, 3, (2,))


def test_a_hard_gumbel_softmax_has_the_gradient_of_the_soft_one():
    logits = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    weight = torch.arange(24.0).reshape(4, 3, 2).double()

    def loss(logits: Tensor, hard: bool) -> Tensor:
        with Draws(_key(), examples=4):
            return (F.gumbel_softmax(logits, hard=hard, dim=1) * weight).sum()

    soft, hard = (torch.func.grad(loss)(logits, hard) for hard in (False, True))
    torch.testing.assert_close(soft, hard, rtol=0, atol=1e-12)


def test_gumbel_softmax_is_hard_or_colder_by_one_noise():
    logits = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    soft, cold, hard = (
        _answer(partial(F.gumbel_softmax, logits, dim=1, **options), _key())
        for options in ({}, {"tau": 0.5}, {"hard": True})
    )
    torch.testing.assert_close(cold, soft**2 / (soft**2).sum(1, keepdim=True))
    torch.testing.assert_close(hard, F.one_hot(soft.argmax(1), 3).movedim(-1, 1).double())


PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "dropout": lambda x: F.dropout(x),
    "channels": lambda x: F.dropout1d(x),
    "numbers": lambda x: torch.randn(x.shape),
    "a row each": lambda x: torch.empty(len(x), 1, 1).bernoulli_().expand_as(x),
    "windows": lambda x: F.dropout(x.repeat_interleave(3, 0)).unflatten(0, (-1, 3)),
}


@pytest.mark.parametrize("name", PARTS)
@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 2**40), st.data())
def test_the_parts_of_a_batch_draw_what_the_whole_draws(name, examples, width, seed, data):
    x = torch.ones(examples, width, 2)
    cut = data.draw(st.integers(1, examples - 1))
    whole = _part(PARTS[name], x, _key(seed))
    assert torch.equal(_part(PARTS[name], x[:cut], _key(seed)), whole[:cut])
    assert torch.equal(_part(PARTS[name], x[cut:], _key(seed, first=cut)), whole[cut:])
    tensor = Key(torch.tensor(seed), torch.tensor(5), torch.tensor(cut))
    assert torch.equal(_part(PARTS[name], x[cut:], tensor), whole[cut:])


def _part(call: Callable[[Tensor], Tensor], x: Tensor, key: Key) -> Tensor:
    with Draws(key, examples=len(x)):
        return call(x)


def test_a_draw_that_is_no_examples_own_is_one_for_all():
    for shape in [(), (5,), (3, 2)]:
        whole = _part(lambda _, shape=shape: torch.rand(shape), torch.ones(4, 1), _key())
        part = _part(lambda _, shape=shape: torch.rand(shape), torch.ones(2, 1), _key(first=2))
        assert torch.equal(whole, part)


FRESH: dict[str, Callable[[], Tensor]] = {
    "empty": lambda: torch.empty(5, 2),
    "empty_like": lambda: torch.empty_like(torch.ones(5, 2)),
    "new_empty": lambda: torch.ones(2).new_empty(5, 2),
    "empty_strided": lambda: torch.empty_strided((5, 2), (1, 5)),
}


@pytest.mark.parametrize("name", FRESH)
def test_a_fresh_tensor_is_filled_in_place_under_vmap(name):
    def numbers(seed: Tensor) -> Tensor:
        with Draws(Key(seed, torch.tensor(0)), examples=5):
            x = FRESH[name]()
            x.normal_()  # what it returns is not read
            return x

    together = torch.func.vmap(numbers)(torch.arange(3))
    assert all(torch.equal(together[k], numbers(torch.tensor(k))) for k in range(3))
    assert not torch.equal(together[0], together[1])


def test_what_members_share_is_not_filled_in_place():
    def numbers(seed: Tensor) -> Tensor:
        with Draws(Key(seed, torch.tensor(0)), examples=5):
            return torch.zeros(5).bernoulli_(0.5)

    assert numbers(torch.tensor(0)).shape == (5,)
    with pytest.raises(ValueError, match=r"tensor \(5,\) that all members share .* a new tensor"):
        torch.func.vmap(numbers)(torch.arange(3))


def test_dropout_in_place_is_in_place():
    def outputs(x: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
        x = x.clone()
        with Draws(Key(seed, torch.tensor(0)), examples=6):
            y = F.dropout(x, inplace=True)
        return x, y

    x, y = torch.func.vmap(outputs)(torch.ones(3, 6, 2), torch.arange(3))
    assert torch.equal(x, y)
    assert {0.0, 2.0} == set(x.flatten().tolist())


def test_without_a_key_a_draw_is_an_error_that_says_what_to_pass():
    with Draws(None, examples=4):
        assert torch.equal(F.dropout(ONES, training=False), ONES)
        assert nn.Dropout().eval()(ONES) is ONES
        for call in CALLS.values():
            with pytest.raises(ValueError, match=r"no key; pass key=Key\(seed, step\)"):
                call()


def test_out_is_not_known():
    with Draws(_key(), examples=4), pytest.raises(ValueError, match="out= is not known"):
        torch.rand(3, out=torch.empty(3))


def test_what_is_not_answered_goes_on_to_the_next_mode():
    class Names(TorchFunctionMode):
        names: tuple[str, ...] = ()

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.names = (*self.names, func.__name__)
            return func(*args, **(kwargs or {}))

    with Names() as names, Draws(_key(), examples=4):
        F.dropout(F.linear(torch.ones(4, 2), torch.ones(3, 2))).relu()
    assert {"linear", "relu"} <= set(names.names)
    assert "dropout" not in names.names


@pytest.mark.plain
@pytest.mark.parametrize("members", [None, 3])
def test_every_answer_is_the_same_where_it_is_compiled(members):
    def numbers(seed: Tensor) -> list[Tensor]:
        with Draws(Key(seed, torch.tensor(5)), examples=4):
            return [call() for call in CALLS.values()]

    seed = torch.tensor(3)
    if members is not None:
        numbers, seed = torch.func.vmap(numbers), torch.arange(members)
    compiled = torch.compile(numbers, fullgraph=True, backend="eager")
    for name, x, y in zip(CALLS, compiled(seed), numbers(seed), strict=True):
        torch.testing.assert_close(x, y, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.plain
def test_a_pass_compiles_whole_and_once_for_all_steps():
    def loss(w: Tensor, seed: Tensor, step: Tensor) -> Tensor:
        with Draws(Key(seed, step), examples=4):
            x = F.dropout(torch.ones(4, 3).double() @ w)
            noise = x.new_empty(4, 1).bernoulli_(0.5)
            x = F.dropout1d(x * noise + torch.rand(4, 1))
            return (x * torch.randn(3, dtype=torch.float64)).square().sum()

    torch._dynamo.reset()
    gradient = torch.func.vmap(torch.func.grad(loss), in_dims=(0, 0, None))
    compiled = torch.compile(gradient, fullgraph=True)
    w = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(3):
            arguments = w, torch.arange(2), torch.tensor(step)
            torch.testing.assert_close(compiled(*arguments), gradient(*arguments))
