"""Levels by simulation: they hold for normal differences, and miss as is told for skewed ones."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from benchmarks.coverages.simulate import KINDS, LEVEL, Rate, many, seeds_and_images, sources
from benchmarks.coverages.simulate import two_stages as simulated_stages
from fkd import statistics

DRAWS = 120
COMMITTED = Path(__file__).parents[2] / "benchmarks/results/coverage-cpu/coverage.json"
TOLD = {
    (rate["statistic"], rate["kind"], rate["setting"]): rate
    for rate in json.loads(COMMITTED.read_text(encoding="utf-8"))["rates"]
}


def _rates(kind: str) -> Iterator[Rate]:
    random = np.random.default_rng(0)
    for seeds in (4, 8, 32):
        for methods in (3, 30):
            yield from many(kind, methods, seeds, DRAWS, 199, random)
        yield simulated_stages(kind, seeds, DRAWS, random)
        for share in (0.0, 0.5, 0.9):
            yield from seeds_and_images(kind, seeds, 100, share, DRAWS, random)
    for levels in (2, 4):
        for deviation in (0.0, 1.0):
            yield from sources(kind, levels, deviation, DRAWS, random)


@pytest.fixture(scope="module")
def rates() -> list[Rate]:
    return [rate for kind in KINDS for rate in _rates(kind)]


@pytest.mark.slow
def test_every_level_holds_for_normal_differences(rates):
    for rate in rates:
        if rate.kind == "normal":
            assert rate.share <= LEVEL + 4 * rate.error, rate


def test_the_committed_levels_hold_for_normal_differences():
    for (_, kind, _), told in TOLD.items():
        if kind == "normal":
            assert told["share"] <= LEVEL + 4 * told["error"], told


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_is_missed_no_more_often_whatever_the_differences(rates, kind):
    # differences between methods of one law are symmetric, however skewed each is
    for rate in rates:
        if rate.kind == kind and rate.statistic.startswith("set of the best"):
            assert rate.share <= LEVEL + 4 * rate.error, rate


@pytest.mark.slow
def test_few_draws_come_to_the_committed_table(rates):
    for rate in rates:
        told = TOLD[rate[:3]]
        share = (rate.missed + told["missed"]) / (rate.draws + told["draws"])
        error = (share * (1 - share) * (1 / rate.draws + 1 / told["draws"])) ** 0.5
        assert abs(rate.share - told["share"]) <= 4.5 * error, (rate, told)


def test_bonferronis_bound_gives_little_away():
    shares = [
        told["share"]
        for (statistic, kind, _), told in TOLD.items()
        if statistic == "simultaneous intervals" and kind == "normal"
    ]
    assert len(shares) == 15
    assert 0.035 <= min(shares) <= max(shares) <= 0.065


def test_flips_of_what_the_mean_leaves_would_miss_more():
    own, shared = np.random.default_rng(0).normal(size=(2, 4000, 3, 4))
    x = (own + shared[:, :1]) / 2**0.5
    left = x - x.mean(axis=2, keepdims=True)
    flips = np.array(list(product([1.0, -1.0], repeat=4)))
    flipped = np.abs(_t(left[:, None] * flips[:, None])).max(axis=2)
    quantile = np.quantile(flipped, 1 - LEVEL, axis=1, method="higher")
    missed = (np.abs(_t(x)).max(axis=1) > quantile).mean()
    assert missed == pytest.approx(0.09, abs=0.01)


def _t(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=-1) / x.std(axis=-1, ddof=1) * x.shape[-1] ** 0.5


MANY, PILOT, IMAGES = "10 methods, 8 seeds", "pilot of 8 seeds", "8 seeds, 1000 images"
HALF = f"{IMAGES}, 50% of the variance theirs"
LEVELS = "3 sources, 4 levels, deviation 1"


@pytest.mark.parametrize(
    ("name", "statistic", "setting"),
    [
        ("two_stage", "Stein's two stages", PILOT),
        ("against_baseline", "max-t, no effects", MANY),
        ("against_baseline", "simultaneous intervals", MANY),
        ("crossed", "on these images", HALF),
        ("crossed", "on images like these", HALF),
        ("components", "component of a source", LEVELS),
        ("components", "component of the rest", LEVELS),
    ],
)
def test_what_skewed_differences_miss_stands_in_the_docstring(name, statistic, setting):
    shares = [TOLD[statistic, kind, setting]["share"] for kind in ("exponential", "lognormal")]
    exponential, lognormal = (f"{100 * share:.0f}" for share in shares)
    text = " ".join((getattr(statistics, name).__doc__ or "").split())
    assert f"{exponential} and {lognormal} %" in text


@pytest.mark.slow
def test_right_and_wrong_answers_hold_the_level_of_seeds_and_images():
    random, nodes = np.random.default_rng(0), np.random.default_rng(1).normal(size=(200, 1))
    here = there = 0
    for _ in range(DRAWS):
        easy, effect = 1 + 1.5 * random.normal(size=500), 0.5 * random.normal(size=500)
        a, b = (
            random.random((8, 500)) < expit(easy + sign * effect + 0.1 * random.normal(size=(8, 1)))
            for sign in (1, -1)
        )
        result = statistics.crossed(a, b)
        above, below = (expit(easy + sign * effect + 0.1 * nodes).mean() for sign in (1, -1))
        truth = above - below
        here += not result.on_these.low <= truth <= result.on_these.high
        there += not result.on_like_these.low <= 0 <= result.on_like_these.high
    most = DRAWS * (LEVEL + 4 * (LEVEL * (1 - LEVEL) / DRAWS) ** 0.5)
    assert here <= most and there <= most
