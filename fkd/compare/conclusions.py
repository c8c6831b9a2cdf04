"""What may be concluded from a comparison: pure functions of its results, in the units of these.

Seeds pair methods: differences are taken between students with the same seed. Shares such as
accuracy lie in [0, 1] and are told in points, 100 times as much.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from fkd.compare.results import Results
from fkd.ensemble import Seed
from fkd.statistics import (
    Bounds,
    Choice,
    Crossed,
    Paired,
    against_baseline,
    best_set,
    crossed,
    holm,
    interval,
    paired,
    setting_choice,
    two_stage,
)

# What is compared after the last epoch, and what people call it.
METRICS = {
    "test_accuracy": "test accuracy",
    "teacher_agreement": "agreement with the teacher",
    "calibration_error": "calibration error",
    "test_loss": "test loss",
}
LOWER_IS_BETTER = ("calibration_error", "test_loss")
LARGEST = 1e100  # of numbers that statistics are taken of
ROUNDING = 1e-6  # of what was computed in float32: differences that differ by less are the same


class Difference(NamedTuple):
    """By how much a method's mean is above the baseline's, in the metric's own unit.

    `low` and `high` bound it by itself, `joint_low` and `joint_high` hold for all methods at once,
    and `images` is on images like these. `p` is of the method by itself, `adjusted` and `holm` are
    held against a level for all. What cannot be known is None; the mean of what is not all finite
    is NaN.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    joint_low: float | None = None
    joint_high: float | None = None
    p: float | None = None
    adjusted: float | None = None
    holm: float | None = None
    images: Bounds | None = None

    def to_json(self) -> dict[str, Any]:
        """By name, as results.json holds it."""
        return self._asdict() | {"images": None if self.images is None else self.images._asdict()}


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

    One seed has means alone; of differences that are all the same, p and holm are None. A method
    whose numbers are not all finite has NaN and counts for none of the others. There is no entry
    where the baseline has no results, or where the metric was not kept.
    """
    table = _table(results, metric)
    if results.baseline not in table:
        return {}
    base = table.pop(results.baseline)
    found = {name: _same(values - base) for name, values in table.items()}
    told = {name: Difference(float("nan")) for name in found}
    usable = {name: values for name, values in found.items() if np.isfinite(values).all()}
    if not usable:
        return told
    x = np.stack(list(usable.values()))
    if x.shape[1] < 2 or results.factorial:
        return told | {name: Difference(float(row.mean())) for name, row in usable.items()}
    rows = _one_stage if results.pilot is None else _two_stages
    told |= dict(zip(usable, rows(x, confidence, results.pilot or 0), strict=True))
    if metric == "test_accuracy":
        for name, one in _crossed(results, confidence).items():
            if name in usable:
                told[name] = told[name]._replace(images=_no_surer(one.on_like_these, told[name]))
    return told


def _one_stage(x: np.ndarray, confidence: float, pilot: int) -> list[Difference]:
    """Of differences [methods, seeds] in one stage."""
    many, varies = against_baseline(x, confidence), np.ptp(x, axis=1) > 0
    own = [interval(row.tolist(), confidence) for row in x]
    return [
        Difference(
            mean=one.mean,
            low=one.low,
            high=one.high,
            joint_low=float(many.low[k]),
            joint_high=float(many.high[k]),
            p=float(many.p[k]) if varies[k] else None,
            adjusted=float(many.adjusted[k]),
            holm=float(many.holm[k]) if varies[k] else None,
        )
        for k, one in enumerate(own)
    ]


def _two_stages(x: np.ndarray, confidence: float, pilot: int) -> list[Difference]:
    """Of differences [methods, seeds] whose first seeds were a pilot."""
    own = two_stage(x, pilot, confidence)
    joint = two_stage(x, pilot, 1 - (1 - confidence) / len(x))
    varies, spread = np.ptp(x[:, :pilot], axis=1) > 0, x[:, :pilot].std(axis=1, ddof=1)
    t = np.divide(own.mean * x.shape[1] ** 0.5, spread, out=np.zeros_like(spread), where=varies)
    p = 2 * stats.t.sf(np.abs(t), pilot - 1)
    adjusted = holm(p)
    return [
        Difference(
            mean=float(own.mean[k]),
            low=float(own.low[k]),
            high=float(own.high[k]),
            joint_low=float(joint.low[k]),
            joint_high=float(joint.high[k]),
            p=float(p[k]) if varies[k] else None,
            adjusted=float(adjusted[k]),
            holm=float(adjusted[k]) if varies[k] else None,
        )
        for k in range(len(x))
    ]


def _no_surer(bounds: Bounds, own: Difference) -> Bounds:
    """Stein's interval may be the wider one, and the images' can be no surer than that."""
    assert own.low is not None and own.high is not None
    low, high = min(bounds.low, own.low), max(bounds.high, own.high)
    return bounds._replace(low=low, high=high)


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
    level = max(1 - 2 * (1 - confidence) / (len(names) - 1), 0.0)
    others = {name: np.delete(scores, k, axis=0) - scores[k] for k, name in enumerate(names)}
    return [n for n, x in others.items() if two_stage(x, results.pilot, level).low.max() <= 0]


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
    gains = {name: _gain(results, name) for name in results.methods}
    base = gains.pop(results.baseline)
    return {
        name: None if gain is None or base is None else paired(gain, base)
        for name, gain in gains.items()
    }


def _gain(results: Results, name: str) -> list[float] | None:
    method = results.methods[name]
    if len(method.curves["test_accuracy"]) < 2:
        return None
    gain = np.subtract(method.best("test_accuracy"), method.last("test_accuracy"))
    return gain.tolist() if _usable(gain) else None


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
        if one.test_accuracy is not None
        and _usable(np.array([one.validation_accuracy, one.test_accuracy], dtype=float))
    ]
    numbers = [k for k, _, _ in kept]
    if len(kept) < 2 or len(kept[0][1]) < 2 or swept.chosen not in numbers:
        return None
    validation, test = (np.array([row[i] for row in kept], dtype=float) for i in (1, 2))
    gap = validation - test
    optimism = float(gap[numbers.index(swept.chosen)].mean() - gap.mean())
    return setting_choice(validation, test)._replace(chosen=swept.chosen, optimism_of_mean=optimism)


def sentence(results: Results) -> str:
    """What may be concluded about test accuracy, in words: for all methods at once, at 95 %."""
    methods = list(results.methods)
    if not methods:
        return "No method has results, so nothing can be concluded."
    if results.factorial:
        return "The members share seeds, so no interval over them holds: see what varies instead."
    parts = _against(results)
    if len(methods) > 1 and results.seeds > 1:
        parts += _of_best(results)
    waiting = [
        name
        for name in results.config.get("methods", ())
        if name not in results.methods and name not in results.failed
    ]
    if waiting:
        parts.append(f"{_listed(waiting)} {_is(waiting)} not trained yet")
    if results.failed:
        parts.append(f"{_listed(list(results.failed))} failed")
    return "; ".join(parts) + "."


def _against(results: Results) -> list[str]:
    """Who can be told from the baseline, and who cannot, in clauses."""
    base, seeds = _listed([results.baseline]), results.seeds
    if results.baseline not in results.methods:
        return [f"{base}, from which differences are taken, has no results"]
    if len(results.methods) == 1:
        return [f"{base} has results alone, so there is nothing to tell it from"]
    every = differences(results)
    if seeds < 2:
        return [f"one seed cannot tell {_listed(list(every))} from {base}"]
    lost = [name for name, one in every.items() if not np.isfinite(one.mean)]
    told = {name: one for name, one in every.items() if _is_told(one)}
    ordered = sorted(told, key=lambda name: -told[name].mean)
    above = [name for name in ordered if told[name].mean > 0]
    below = [name for name in reversed(ordered) if told[name].mean < 0]
    clauses, joint = [], " simultaneously" if len(every) - len(lost) > 1 else ""
    for names, where in ((above, "above"), (below, "below")):
        each = [_claim(name, told[name], f" {where} {base}", joint) for name in names[:1]]
        each += [_short(name, told[name]) for name in names[1:]]
        if each:
            clauses.append(_joined(each))
            joint = ""
    rest = [name for name in every if name not in told and name not in lost]
    if rest:
        whole = len(rest) == len(every) > 1
        who = "no method can" if whole else f"{_listed(rest)} cannot"
        clauses.append(f"{who} be told from {base} by {seeds} seeds")
    if lost:
        clauses.append(f"the accuracy of {_listed(lost)} or {base} is not finite")
    return clauses


def _is_told(one: Difference) -> bool:
    """Whether zero lies outside of the bounds that hold for all methods at once. Of differences
    without a spread nothing is known, whatever their bounds."""
    if one.p is None or one.joint_low is None or one.joint_high is None:
        return False
    return one.joint_low > 0 or one.joint_high < 0


def _claim(name: str, one: Difference, where: str, joint: str) -> str:
    """`dist is 2.4 points above ce, between 1.8 and 2.9 simultaneously`."""
    who, (low, high) = _listed([name]), _away(one)
    return f"{who} is {_points(one.mean)} points{where}, between {low} and {high}{joint}"


def _short(name: str, one: Difference) -> str:
    """`pkt 1.3 (0.8 to 1.8)`."""
    low, high = _away(one)
    return f"{_listed([name])} {_points(one.mean)} ({low} to {high})"


def _away(one: Difference) -> list[str]:
    """The bounds for all methods at once as distances from zero, the nearer first."""
    assert one.joint_low is not None and one.joint_high is not None
    return [_points(bound) for bound in sorted((one.joint_low, one.joint_high), key=abs)]


def _joined(clauses: list[str]) -> str:
    """The first, and others of its kind after it."""
    first, *others = clauses
    return f"{first}, and {_listed(others)}" if others else first


def _of_best(results: Results) -> list[str]:
    """Which methods cannot be told from the best, in a clause, if that says anything."""
    names = best(results)
    if len(names) == 1:
        return [f"{_listed(names)} alone is the best"]
    if not names or len(names) == len(results.methods):
        return []
    return [f"{_listed(names)} cannot be told from the best"]


def _points(share: float) -> str:
    """A share's size in points: to a tenth, or to one figure where that is less.

    >>> _points(-0.0235), _points(0.00042)
    ('2.4', '0.04')
    """
    points = 100 * abs(share)
    return f"{points:.1f}" if points >= 0.1 or not points else f"{points:.1g}"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _table(results: Results, metric: str) -> dict[str, np.ndarray]:
    """A metric's numbers after the last epoch over the seeds that all methods have, by method; NaN
    for what is too large to be reckoned with."""
    methods = {name: m for name, m in results.methods.items() if metric in m.curves}
    shared = _shared_seeds(results)
    if not shared:
        return {}
    table = {}
    for name, method in methods.items():
        by_seed = dict(zip(method.seeds, method.last(metric), strict=True))
        values = np.array([by_seed[seed] for seed in shared], dtype=float)
        table[name] = np.where(np.abs(values) <= LARGEST, values, np.nan)
    return table


def _shared_seeds(results: Results) -> list[Seed]:
    """The seeds that all methods have, in the order of the first method's: while new seeds join,
    one may have more than another."""
    each = [method.seeds for method in results.methods.values()]
    return [seed for seed in each[0] if all(seed in seeds for seeds in each)] if each else []


def _same(differences: np.ndarray) -> np.ndarray:
    """Their mean in place of each where they differ by rounding alone."""
    if np.ptp(differences) >= ROUNDING:
        return differences
    return np.full_like(differences, differences.mean())


def _usable(values: np.ndarray) -> bool:
    return bool((np.abs(values) <= LARGEST).all())


def _crossed(results: Results, confidence: float) -> dict[str, Crossed]:
    if results.factorial:
        return {}
    shared, answers = _shared_seeds(results), {}
    for name, method in results.methods.items():
        if method.answers is not None:
            places = {seed: k for k, seed in enumerate(method.seeds)}
            answers[name] = method.answers[[places[seed] for seed in shared]]
    base = answers.pop(results.baseline, None)
    if base is None or min(base.shape) < 2:
        return {}
    return {name: crossed(own, base, confidence) for name, own in answers.items()}


def _listed(names: Sequence[str]) -> str:
    """Names in a line: `a`, `a and b`, `a, b and c`."""
    *most, last = (" ".join(name.split()) for name in names)
    return f"{', '.join(most)} and {last}" if most else last
