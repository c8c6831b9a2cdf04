"""Whether a difference is one of these test images: seeds and images as crossed random effects."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from scipy import stats

from fkd.statistics._numbers import level, same_shape, table


class Bounds(NamedTuple):
    """The bounds of an interval, and the degrees of freedom of its Student's t."""

    low: float
    high: float
    degrees: float


class Crossed(NamedTuple):
    """The mean difference; the variances of seeds, of images and of the rest, as one seed on one
    image shows them; the interval on these images, and that on images like these."""

    difference: float
    seeds: float
    images: float
    rest: float
    on_these: Bounds
    on_like_these: Bounds


def crossed(
    a: Shaped[np.ndarray, "seeds images"],
    b: Shaped[np.ndarray, "seeds images"],
    confidence: float = 0.95,
) -> Crossed:
    """How `a` differs from `b`, by seed and image, on these images and on images like these.

    Both hold what each seed's student made of each image: whether it was right, or a loss. Their
    difference d is split as d[s, i] = mean + seed[s] + image[i] + rest[s, i], all random. With the
    mean squares M of seeds (S − 1 degrees of freedom), images (I − 1) and rest, the components are

        rest = M_rest,  seeds = (M_seeds − M_rest) / I,  images = (M_images − M_rest) / S

    which are told as they are where they are negative. The variance of the mean is

        on these images      M_seeds / (S I)                          with S − 1 degrees of freedom
        on images like these (M_seeds + max(M_images − M_rest, 0)) / (S I)     with Satterthwaite's

    The first is the paired t interval of the seeds' means. The second is never told to be surer
    than that: its moment estimate would be, by chance, where images do not matter.

    Both hold their level for normal effects, and of right and wrong answers to 500 images. Of
    exponential and lognormal ones, with 8 seeds, 1,000 images and half of the variance from each,
    95 % intervals miss 9 and 16 % of the time on these images, 5 and 8 % on images like these
    (`benchmarks/coverage.py`).

    Searle, Casella and McCulloch, "Variance Components" (1992), Section 4.3; Satterthwaite, "An
    approximate distribution of estimates of variance components" (1946); for seeds and images that
    cross, Owen, "The pigeonhole bootstrap" (2007), Section 2. Raises ValueError for fewer than two
    seeds or images, two shapes, and what is neither bool nor a finite real number.

    >>> a = np.array([[True, True, True, False], [True, True, False, True]])
    >>> b = np.array([[True, False, False, False], [True, False, False, False]])
    >>> result = crossed(a, b)
    >>> result.difference, round(result.images, 4), round(result.rest, 4)
    (0.5, 0.0, 0.3333)
    """
    first, second = _answers("a", a), _answers("b", b)
    same_shape("crossed", a=first, b=second)
    level("crossed", confidence)
    d = first - second
    seeds, images = d.shape
    mean, by_seed, by_image = d.mean(), d.mean(axis=1), d.mean(axis=0)
    rest = d - by_seed[:, None] - by_image + mean
    of_seeds = images * float(by_seed.var(ddof=1))
    of_images = seeds * float(by_image.var(ddof=1))
    of_rest = float(np.square(rest).sum()) / ((seeds - 1) * (images - 1))
    parts = [(of_seeds, seeds - 1.0)]
    if of_images > of_rest:
        parts += [(of_images, images - 1.0), (-of_rest, (seeds - 1.0) * (images - 1.0))]
    return Crossed(
        float(mean),
        (of_seeds - of_rest) / images,
        (of_images - of_rest) / seeds,
        of_rest,
        _bounds(float(mean), parts[:1], d.size, confidence),
        _bounds(float(mean), parts, d.size, confidence),
    )


def _answers(name: str, values: np.ndarray) -> np.ndarray:
    if isinstance(values, np.ndarray) and values.dtype == np.bool_:
        values = values.astype(np.float64)
    return table("crossed", name, values, "seeds images", (2, 2))


def _bounds(mean: float, parts: list[tuple[float, float]], size: int, confidence: float) -> Bounds:
    """Of a sum of mean squares with their degrees of freedom, which the mean's variance is of."""
    total = sum(square for square, _ in parts)
    spread = sum(square * square / degrees for square, degrees in parts)
    degrees = total * total / spread if spread else parts[0][1]
    half = float(stats.t.ppf((1 + confidence) / 2, degrees)) * (total / size) ** 0.5
    return Bounds(mean - half, mean + half, degrees)
