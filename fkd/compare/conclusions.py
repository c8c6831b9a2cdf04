"""What may be concluded from a comparison: pure functions of its results, in the units of these.

Seeds pair methods: differences are taken between students with the same seed. Shares such as
accuracy lie in [0, 1] and are told in points, 100 times as much.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from fkd.compare._difference import (
    Difference,
    in_one_stage,
    in_two_stages,
    surely_above,
    without_rounding,
)
from fkd.compare._sentence import words
from fkd.compare.results import LARGEST, MethodResults, Results
from fkd.ensemble import Seed
from fkd.statistics import Choice, Crossed, Paired, best_set, crossed, paired, setting_choice

__all__ = [
    "METRICS",
    "Difference",
    "best",
    "differences",
    "epochs",
    "sentence",
    "setting",
    "variances",
]

# What is compared after the last epoch, and what people call it.
METRICS = {
    "test_accuracy": "test accuracy",
    "teacher_agreement": "agreement with the teacher",
    "calibration_error": "calibration error",
    "test_loss": "test loss",
}
LOWER_IS_BETTER = ("calibration_error", "test_loss")


def differences(
    results: Results, metric: str = "test_accuracy", confidence: float = 0.95
) -> dict[str, Difference]:
    """How each method differs from the baseline in a metric after the last epoch, by name.

    Over the seeds that all methods have. In one stage the interval is Student's t, paired by seed;
    that for all methods at once, and the p-values adjusted for all, are `against_baseline`'s. After
    a pilot both intervals are Stein's (`two_stage`), each of m methods' at 1 − (1 − confidence) / m
    for all at once; p is that of the same t, and `adjusted` is Holm's too, for flips of signs
    change how many seeds the pilot asks for. Intervals on images like these (`crossed`) are of
    accuracy alone, where answers were kept, and never narrower than a method's own.

    One seed has means alone; of differences that are all the same, the p-values are None. A method
    whose numbers are not all finite has NaN and counts for none of the others. There is no entry
    where the baseline has no results, or where the metric was not kept.
    """
    table = _table(results, metric)
    if results.baseline not in table:
        return {}
    base = table.pop(results.baseline)
    found = {name: without_rounding(values - base) for name, values in table.items()}
    told = {name: Difference(float("nan")) for name in found}
    usable = {name: values for name, values in found.items() if np.isfinite(values).all()}
    if not usable:
        return told
    x = np.stack(list(usable.values()))
    if x.shape[1] < 2 or results.factorial:
        return told | {name: Difference(float(row.mean())) for name, row in usable.items()}
    if results.pilot is None:
        rows = in_one_stage(x, confidence)
    else:
        rows = in_two_stages(x, results.pilot, confidence)
    told |= dict(zip(usable, rows, strict=True))
    if metric == "test_accuracy":
        for name, one in _crossed(results, confidence).items():
            if name in usable:
                told[name] = told[name].on_images(one.on_like_these)
    return told


def best(results: Results, metric: str = "test_accuracy", confidence: float = 0.95) -> list[str]:
    """The methods that cannot be told from the best in a metric, in their order.

    Of calibration error and loss the lowest is the best. In one stage it is `best_set`. After a
    pilot a method is left out where Stein's one-sided bound of another's difference from it, at
    1 − (1 − confidence) / (methods − 1), is above zero. Of one seed all are in it; methods whose
    numbers are not all finite never are.
    """
    table = _table(results, metric)
    usable = {name: values for name, values in table.items() if np.isfinite(values).all()}
    names = list(usable)
    if len(names) < 2 or len(usable[names[0]]) < 2 or results.factorial:
        return names
    scores = np.stack([usable[name] for name in names])
    if metric in LOWER_IS_BETTER:
        scores = -scores
    if results.pilot is None:
        among = best_set(scores, confidence).among
        return [name for name, kept in zip(names, among, strict=True) if kept]
    others = {name: np.delete(scores, k, axis=0) - scores[k] for k, name in enumerate(names)}
    return [name for name, x in others.items() if not surely_above(x, results.pilot, confidence)]


def variances(results: Results) -> dict[str, Crossed]:
    """Of each method's difference from the baseline in accuracy, what of its variance comes from
    seeds, from test images and from the rest, where answers were kept of two seeds and more."""
    return _crossed(results, 0.95)


def epochs(results: Results) -> dict[str, Paired | None]:
    """What choosing each seed's best epoch on the test set would add to each method's difference
    from the baseline in accuracy: paired(best of a − last of a, best of b − last of b).

    None where the students were tested after the last epoch alone, and where numbers are not
    finite.
    """
    if results.baseline not in results.methods or results.factorial:
        return {}
    shared = _shared_seeds(results)
    gains = {name: _gain(method, shared) for name, method in results.methods.items()}
    base = gains.pop(results.baseline)
    return {
        name: None if gain is None or base is None else _paired(without_rounding(gain - base))
        for name, gain in gains.items()
    }


def _paired(differences: np.ndarray) -> Paired:
    if len(differences) > 1 and np.ptp(differences) == 0:
        mean = float(differences[0])
        return Paired(mean, mean, mean, None)
    return paired(differences.tolist(), [0.0] * len(differences))


def _gain(method: MethodResults, seeds: Sequence[Seed]) -> np.ndarray | None:
    """By how much each seed's best test accuracy is above its last."""
    if len(method.curves["test_accuracy"]) < 2 or not seeds:
        return None
    best, last = method.best("test_accuracy"), method.last("test_accuracy")
    gain = _of_seeds(method, best, seeds) - _of_seeds(method, last, seeds)
    return gain if np.isfinite(gain).all() else None


def setting(results: Results, method: str) -> Choice | None:
    """What choosing the setting of a sweep on validation was worth on the test set, among the
    settings of which no seed diverged; `chosen` is its number among all.

    None where the method was not swept, or what was tested of it does not allow to say: fewer than
    two such settings or seeds.
    """
    swept = results.methods[method].sweep
    if swept is None:
        return None
    kept = [
        (k, one.validation_accuracy, one.test_accuracy)
        for k, one in enumerate(swept.settings)
        if one.test_accuracy is not None and _usable([one.validation_accuracy, one.test_accuracy])
    ]
    numbers = [k for k, _, _ in kept]
    if len(kept) < 2 or len(kept[0][1]) < 2 or swept.chosen not in numbers:
        return None
    validation, test = (np.array([row[i] for row in kept], dtype=float) for i in (1, 2))
    gap = validation - test
    optimism = float(gap[numbers.index(swept.chosen)].mean() - gap.mean())
    with warnings.catch_warnings(action="ignore"):  # SciPy's, of what is the same but for rounding
        choice = setting_choice(validation, test)
    return choice._replace(chosen=swept.chosen, optimism_of_mean=optimism)


def sentence(results: Results) -> str:
    """What may be concluded about test accuracy, in words: for all methods at once, at 95 %."""
    return words(results, differences(results), best(results))


def _table(results: Results, metric: str) -> dict[str, np.ndarray]:
    """A metric's numbers after the last epoch over the seeds that all methods have, by method."""
    methods = {name: m for name, m in results.methods.items() if metric in m.curves}
    shared = _shared_seeds(results)
    if not shared:
        return {}
    return {name: _of_seeds(one, one.last(metric), shared) for name, one in methods.items()}


def _of_seeds(method: MethodResults, values: Sequence[float], seeds: Sequence[Seed]) -> np.ndarray:
    """The numbers of these seeds, of one for each seed that a method has; NaN for what is too large
    to be reckoned with."""
    by_seed = dict(zip(method.seeds, values, strict=True))
    x = np.array([by_seed[seed] for seed in seeds], dtype=float)
    return np.where(np.abs(x) <= LARGEST, x, np.nan)


def _shared_seeds(results: Results) -> list[Seed]:
    """The seeds that all methods have, in the order of the first method's: while new seeds join,
    one may have more than another."""
    each = [method.seeds for method in results.methods.values()]
    return [seed for seed in each[0] if all(seed in seeds for seeds in each)] if each else []


def _usable(rows: Sequence[Sequence[float | None]]) -> bool:
    """Whether no number is missing or too large."""
    return bool((np.abs(np.array(rows, dtype=float)) <= LARGEST).all())


def _crossed(results: Results, confidence: float) -> dict[str, Crossed]:
    if results.factorial:
        return {}
    shared, answers = _shared_seeds(results), {}
    for name, method in results.methods.items():
        if method.answers is not None:
            answers[name] = method.answers[[method.seeds.index(seed) for seed in shared]]
    base = answers.pop(results.baseline, None)
    if base is None or min(base.shape) < 2:
        return {}
    return {name: crossed(own, base, confidence) for name, own in answers.items()}
