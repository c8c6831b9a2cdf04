"""Runs whose truth is known, and how many of them a statistic misses."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fkd.statistics import against_baseline, best_set, components, crossed, seeds_needed, two_stage

KINDS = ("normal", "exponential", "lognormal")
LEVEL = 0.05
EFFECT = 3.0  # of the methods that differ from the baseline, in deviations
HALF_WIDTH = 0.5  # that two stages ask for, in deviations


class Rate(NamedTuple):
    """How many of `draws` missed, of a statistic under a setting."""

    statistic: str
    kind: str
    setting: str
    missed: int
    draws: int

    @property
    def share(self) -> float:
        return self.missed / self.draws

    @property
    def error(self) -> float:
        """The standard error of the share of a statistic that holds its level just so."""
        return (LEVEL * (1 - LEVEL) / self.draws) ** 0.5


def drawn(
    kind: str, shape: tuple[int, ...], random: np.random.Generator
) -> Float[np.ndarray, "..."]:
    """Numbers of mean zero and deviation one."""
    if kind == "normal":
        return random.standard_normal(shape)
    if kind == "exponential":
        return random.standard_exponential(shape) - 1
    x = random.lognormal(size=shape)
    return (x - np.exp(0.5)) / ((np.e - 1) * np.e) ** 0.5


def differences(
    kind: str, methods: int, seeds: int, random: np.random.Generator
) -> Float[np.ndarray, "methods seeds"]:
    """Differences of mean zero, half of whose variance the methods share."""
    own, shared = drawn(kind, (methods, seeds), random), drawn(kind, (1, seeds), random)
    return (own + shared) / 2**0.5


def many(
    kind: str, methods: int, seeds: int, draws: int, flips: int, random: np.random.Generator
) -> Iterator[Rate]:
    """Of many methods: a false claim or a bound beyond the truth in any of them is one miss."""
    missed: Counter[str] = Counter()
    half = np.arange(methods) < methods // 2
    for draw in range(draws):
        x = differences(kind, methods, seeds, random)
        result = against_baseline(x, 1 - LEVEL, flips, seed=draw)
        missed["max-t, no effects"] += bool((result.adjusted <= LEVEL).any())
        missed["Holm, no effects"] += bool((result.holm <= LEVEL).any())
        missed["simultaneous intervals"] += bool(((result.low > 0) | (result.high < 0)).any())
        moved = against_baseline(x + EFFECT * half[:, None], 1 - LEVEL, flips, seed=draw)
        missed["max-t, half with effects"] += bool((moved.adjusted[~half] <= LEVEL).any())
        scores = differences(kind, methods, seeds, random)  # all are best; one is asked about
        missed["set of the best"] += not best_set(scores, 1 - LEVEL, flips, seed=draw).among[-1]
        apart = best_set(scores - EFFECT * half[:, None], 1 - LEVEL, flips, seed=draw)
        missed["set of the best, half below"] += not apart.among[-1]
    for name, number in missed.items():
        yield Rate(name, kind, f"{methods} methods, {seeds} seeds", number, draws)


def two_stages(kind: str, pilot: int, draws: int, random: np.random.Generator) -> Rate:
    """Of one method after Stein's two stages."""
    missed = 0
    for _ in range(draws):
        first = drawn(kind, (1, pilot), random)
        more = seeds_needed(first, HALF_WIDTH, 1 - LEVEL, max_seeds=10**4) - pilot
        x = np.concatenate([first, drawn(kind, (1, more), random)], axis=1)
        _, low, high = two_stage(x, pilot, 1 - LEVEL)
        missed += bool(low[0] > 0 or high[0] < 0)
    return Rate("Stein's two stages", kind, f"pilot of {pilot} seeds", missed, draws)


def seeds_and_images(
    kind: str, seeds: int, images: int, share: float, draws: int, random: np.random.Generator
) -> Iterator[Rate]:
    """Of seeds and images that cross. `share` of the mean's variance comes from the images."""
    setting = f"{seeds} seeds, {images} images, {share:.0%} of the variance theirs"
    here = there = 0
    for _ in range(draws):
        by_seed = ((1 - share) * seeds) ** 0.5 * drawn(kind, (seeds, 1), random)
        by_image = (share * images) ** 0.5 * drawn(kind, (images,), random)
        d = by_seed + by_image + drawn(kind, (seeds, images), random)
        result = crossed(d, np.zeros_like(d), 1 - LEVEL)
        here += not result.on_these.low <= by_image.mean() <= result.on_these.high
        there += not result.on_like_these.low <= 0 <= result.on_like_these.high
    yield Rate("on these images", kind, setting, here, draws)
    yield Rate("on images like these", kind, setting, there, draws)


def sources(
    kind: str, levels: int, deviation: float, draws: int, random: np.random.Generator
) -> Iterator[Rate]:
    """Of three sources with so many levels each, of one deviation beside a rest of one."""
    setting = f"3 sources, {levels} levels, deviation {deviation:g}"
    source = rest = 0
    for _ in range(draws):
        x = drawn(kind, (levels, levels, levels), random)
        for axes in ((levels, 1, 1), (1, levels, 1), (1, 1, levels)):
            x = x + deviation * drawn(kind, axes, random)
        result = components(x, ["init", "order", "dropout"], 1 - LEVEL)
        source += not result["init"].low <= deviation**2 <= result["init"].high
        rest += not result["rest"].low <= 1 <= result["rest"].high
    yield Rate("component of a source", kind, setting, source, draws)
    yield Rate("component of the rest", kind, setting, rest, draws)
