"""The schedules against torch.optim.lr_scheduler, step by step in float64."""

import math
import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

from fkd import schedules
from fkd.schedules import Schedule

STEPS = 60


def _chained(optimizer: torch.optim.Optimizer) -> lr_scheduler.ChainedScheduler:
    parts = [lr_scheduler.LinearLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    return lr_scheduler.ChainedScheduler(parts)


def _sequence(optimizer: torch.optim.Optimizer) -> lr_scheduler.SequentialLR:
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.25, 1.0, total_iters=7),
        lr_scheduler.ExponentialLR(optimizer, 0.9),
        lr_scheduler.MultiStepLR(optimizer, [3, 9]),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, [7, 30])


TORCHS: dict[str, tuple[Schedule, Callable]] = {
    "constant": (
        schedules.join([schedules.constant(0.3), schedules.constant()], [5]),
        lambda o: lr_scheduler.ConstantLR(o, 0.3, total_iters=5),
    ),
    "linear_warmup": (
        schedules.linear_warmup(20),
        lambda o: lr_scheduler.LambdaLR(o, lambda step: min((step + 1) / 20, 1)),
    ),
    "cosine": (
        schedules.cosine(STEPS),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS),
    ),
    "cosine to a floor": (
        schedules.cosine(STEPS, final=0.1),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS, eta_min=0.1),
    ),
    "warmup_cosine": (
        schedules.warmup_cosine(50, warmup=8),
        lambda o: lr_scheduler.LambdaLR(
            o,
            lambda step: (
                min((step + 1) / 8, 1) * (1 + math.cos(math.pi * min(max(step - 8, 0) / 42, 1))) / 2
            ),
        ),
    ),
    "warmup_cosine without": (
        schedules.warmup_cosine(STEPS),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS),
    ),
    "piecewise": (
        schedules.piecewise([10, 25, 25, 40], 0.2),
        lambda o: lr_scheduler.MultiStepLR(o, [10, 25, 25, 40], 0.2),
    ),
    "exponential": (
        schedules.exponential(0.93),
        lambda o: lr_scheduler.ExponentialLR(o, 0.93),
    ),
    "exponential by epoch": (
        schedules.by_epoch(schedules.exponential(0.3), 7),
        lambda o: lr_scheduler.StepLR(o, step_size=7, gamma=0.3),
    ),
    "linear": (
        schedules.linear(30, initial=0.2, final=0.7),
        lambda o: lr_scheduler.LinearLR(o, 0.2, 0.7, total_iters=30),
    ),
    "polynomial": (
        schedules.polynomial(40, power=2.5),
        lambda o: lr_scheduler.PolynomialLR(o, total_iters=40, power=2.5),
    ),
    "one_cycle": (
        schedules.one_cycle(STEPS + 1),
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, total_steps=STEPS + 1, cycle_momentum=False),
    ),
    "one_cycle otherwise": (
        schedules.one_cycle(STEPS + 1, rise=0.45, initial=0.1, final=0.001),
        lambda o: lr_scheduler.OneCycleLR(
            o,
            1.0,
            total_steps=STEPS + 1,
            pct_start=0.45,
            div_factor=10,
            final_div_factor=100,
            cycle_momentum=False,
        ),
    ),
    "join": (
        schedules.join(
            [
                schedules.linear(7, initial=0.25),
                schedules.exponential(0.9),
                schedules.piecewise([3, 9]),
            ],
            [7, 30],
        ),
        _sequence,
    ),
    "times": (
        schedules.times(schedules.linear(5), schedules.exponential(0.9)),
        _chained,
    ),
}


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", TORCHS)
def test_every_step_is_torchs(name, float64):
    schedule, theirs = TORCHS[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, expected = theirs(optimizer), []
    for _ in range(STEPS):
        expected.append(float(scheduler.get_last_lr()[0]))
        optimizer.step()
        scheduler.step()
    factors = [schedule(torch.tensor(step)) for step in range(STEPS)]
    assert all(factor.shape == () and factor.dtype == torch.float64 for factor in factors)
    # torch multiplies its way from step to step: sixty roundings of up to 2e-16 and more of cosine
    assert [float(factor) for factor in factors] == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("name", TORCHS)
def test_a_schedule_is_mapped_over_members_and_pickled(name):
    schedule = TORCHS[name][0]
    steps = torch.arange(STEPS)
    factors = torch.stack([schedule(step) for step in steps])
    assert factors.dtype == torch.float32
    torch.testing.assert_close(torch.func.vmap(schedule)(steps), factors)
    again = pickle.loads(pickle.dumps(schedule))
    assert all(float(again(step)) == float(schedule(step)) for step in steps[:10])


@pytest.mark.plain
def test_schedules_compile_whole():
    def rates(step: torch.Tensor) -> list[torch.Tensor]:
        return [schedule(step) for schedule, _ in TORCHS.values()]

    compiled = torch.compile(rates, fullgraph=True, backend="aot_eager")
    for step in (torch.tensor(0), torch.tensor(33)):
        torch.testing.assert_close(compiled(step), rates(step))


def test_a_warmup_by_epoch_counts_epochs_from_one():
    steps_per_epoch, warmup = 3, 20
    schedule = schedules.by_epoch(schedules.linear_warmup(warmup), steps_per_epoch)
    for step in range(100):
        epoch = torch.tensor(step) // steps_per_epoch + 1
        assert float(schedule(torch.tensor(step))) == float((epoch / warmup).clamp(max=1))


@pytest.mark.parametrize(
    ("schedule", "end"),
    [
        (schedules.cosine(10, final=0.25), 0.25),
        (schedules.warmup_cosine(10, 3), 0.0),
        (schedules.linear(10, final=0.5), 0.5),
        (schedules.polynomial(10, 0.5), 0.0),
        (schedules.one_cycle(10, final=0.125), 0.125),
    ],
)
def test_after_its_end_a_schedule_stays(schedule, end):
    assert [float(schedule(torch.tensor(step))) for step in (10, 11, 10**6, 2**40)] == [end] * 4


def test_far_steps_lose_nothing_to_float32():
    factor = float(schedules.exponential(0.9999)(torch.tensor(50_000)))
    assert factor == pytest.approx(0.9999**50_000, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.constant(-1.0), "constant: factor must be zero or more"),
        (
            lambda: schedules.linear_warmup(0),
            "linear_warmup: steps must be a whole number of at least 1",
        ),
        (lambda: schedules.cosine(0), "cosine: total must be a whole number of at least 1"),
        (lambda: schedules.cosine(5, final=-0.1), "cosine: final must be zero or more"),
        (
            lambda: schedules.warmup_cosine(3, warmup=3),
            r"warmup_cosine: warmup must be a whole number in \[0, 2\]",
        ),
        (lambda: schedules.piecewise([]), "piecewise: milestones are empty.*constant"),
        (
            lambda: schedules.piecewise([0, 3]),
            "piecewise: milestone must be a whole number of at least 1",
        ),
        (lambda: schedules.piecewise([3], 0.0), "piecewise: factor must be above zero"),
        (lambda: schedules.exponential(0.0), "exponential: factor must be above zero"),
        (lambda: schedules.linear(0), "linear: total must be a whole number of at least 1"),
        (lambda: schedules.linear(3, initial=-1.0), "linear: initial must be zero or more"),
        (lambda: schedules.polynomial(3, power=0.0), "polynomial: power must be above zero"),
        (lambda: schedules.one_cycle(3), "one_cycle: rise must lie above 1 / total = 0.333"),
        (lambda: schedules.one_cycle(9, rise=1.0), "one_cycle: rise must lie.*it is 1.0"),
        (lambda: schedules.join([], []), "join: a schedule is missing"),
        (lambda: schedules.join([schedules.constant()], [3]), "1 schedules have 0 boundaries"),
        (
            lambda: schedules.join([schedules.constant()] * 2, [0]),
            "join: boundary must be a whole number of at least 1",
        ),
        (
            lambda: schedules.join([schedules.constant()] * 3, [3, 3]),
            r"join: boundaries must rise, but they are \[3, 3\]",
        ),
        (
            lambda: schedules.by_epoch(schedules.constant(), 0),
            "by_epoch: steps_per_epoch must be a whole number of at least 1",
        ),
    ],
)
def test_bad_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.plain
@pytest.mark.parametrize(
    ("make", "number"),
    [
        (schedules.constant, "factor"),
        (partial(schedules.cosine, 3), "final"),
        (partial(schedules.warmup_cosine, 3), "final"),
        (partial(schedules.piecewise, [3]), "factor"),
        (schedules.exponential, "factor"),
        (partial(schedules.linear, 3), "initial"),
        (partial(schedules.linear, 3), "final"),
        (partial(schedules.polynomial, 3), "power"),
        (partial(schedules.one_cycle, 9), "rise"),
        (partial(schedules.one_cycle, 9), "initial"),
        (partial(schedules.one_cycle, 9), "final"),
    ],
)
def test_a_number_that_is_none_of_pythons_is_refused(make, number):
    for wrong in (torch.tensor(0.5), "0.5", None):
        with pytest.raises(ValueError, match=rf"\w+: {number} must be a number"):
            make(**{number: wrong})
    for wrong in (math.nan, math.inf, -0.5, 10**400):
        with pytest.raises(ValueError, match=rf"\w+: {number} must"):
            make(**{number: wrong})
