"""The pure optimizers against torch.optim, over many steps and in float64."""

from functools import partial

import pytest
import torch

from fkd import optim

ADAM = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
PAIRS = [
    (partial(optim.adam, 0.01), partial(torch.optim.Adam, lr=0.01)),
    (partial(optim.adam, **ADAM), partial(torch.optim.Adam, **ADAM)),
    (
        partial(optim.adam, 0.01, betas=(0.0, 0.9)),
        partial(torch.optim.Adam, lr=0.01, betas=(0.0, 0.9)),
    ),
    (partial(optim.adamw, **ADAM), partial(torch.optim.AdamW, **ADAM)),
    (partial(optim.sgd, 0.01), partial(torch.optim.SGD, lr=0.01)),
    *(
        (partial(optim.sgd, 0.01, **options), partial(torch.optim.SGD, lr=0.01, **options))
        for options in (
            {"momentum": 0.9},
            {"momentum": 0.9, "weight_decay": 0.01},
            {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
        )
    ),
]


def _leaves(optimizer: optim.Optimizer, dtype=torch.float64) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, dtype=dtype) for name, value in optimizer.hyper.items()}


def _gradient(params: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return torch.func.grad(lambda p: (p["a"] ** 4).sum() + (p["b"].sin() * p["a"].sum()).sum())(
        params
    )


def _start(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(3, 2, generator=generator, dtype=torch.float64) for name in "ab"}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_thirty_steps_are_torchs(ours, theirs):
    params, optimizer = _start(), ours()
    state = optimizer.init(params)
    twins = {name: value.clone().requires_grad_() for name, value in params.items()}
    reference = theirs(twins.values())
    for _ in range(30):
        params, state = optimizer.update(_gradient(params), state, params, _leaves(optimizer))
        for name, value in _gradient({n: t.detach() for n, t in twins.items()}).items():
            twins[name].grad = value
        reference.step()
    for name, twin in twins.items():
        torch.testing.assert_close(params[name], twin.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ours", [pair[0] for pair in PAIRS])
def test_members_with_their_own_learning_rates_are_those_alone(ours):
    optimizer = ours()
    rates = [0.01, 0.001]
    starts = [_start(0), _start(1)]
    alone = []
    for rate, params in zip(rates, starts, strict=True):
        state, hyper = optimizer.init(params), _leaves(optimizer)
        hyper["lr"] = torch.tensor(rate, dtype=torch.float64)
        for _ in range(3):
            params, state = optimizer.update(_gradient(params), state, params, hyper)
        alone.append(params)

    both = {name: torch.stack([start[name] for start in starts]) for name in "ab"}
    hyper = {name: value.repeat(2) for name, value in _leaves(optimizer).items()}
    hyper["lr"] = torch.tensor(rates, dtype=torch.float64)
    state = torch.func.vmap(optimizer.init)(both)
    for _ in range(3):
        gradient = torch.func.vmap(_gradient)(both)
        both, state = torch.func.vmap(optimizer.update)(gradient, state, both, hyper)
    for k in range(2):
        for name in "ab":
            torch.testing.assert_close(both[name][k], alone[k][name])


def test_the_cosine_schedule_is_torchs():
    schedule = optim.warmup_cosine(20)
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=20)
    for step in range(20):
        assert float(schedule(torch.tensor(step))) == pytest.approx(
            rates.get_last_lr()[0], abs=1e-6
        )
        reference.step()
        rates.step()


def test_a_schedule_scales_the_learning_rate_by_step():
    optimizer = optim.sgd(1.0, schedule=optim.warmup_cosine(4, warmup=2))
    params = {"a": torch.zeros(1)}
    state, moved = optimizer.init(params), []
    for _ in range(5):
        before = params["a"]
        one = {"a": torch.ones(1)}
        params, state = optimizer.update(one, state, params, _leaves(optimizer, torch.float32))
        moved.append(round(float(before - params["a"]), 4))
    assert moved == [0.5, 1.0, 1.0, 0.5, 0.0]


def test_bad_numbers_are_refused():
    for make, message in (
        (lambda: optim.adam(-1.0), "adam: lr must be zero or more"),
        (lambda: optim.adam(betas=(0.9, 1.0)), "adam: beta2 must lie in"),
        (lambda: optim.adam(eps=0.0), "adam: eps must be above zero"),
        (lambda: optim.sgd(0.1, momentum=-0.5), "sgd: momentum must be zero or more"),
        (lambda: optim.sgd(0.1, nesterov=True), "sgd: nesterov needs momentum"),
        (lambda: optim.warmup_cosine(3, warmup=3), "warmup_cosine: warmup must lie in"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
