"""Whether what a file tells of the methods of a comparison agrees with itself: what was edited by
hand, or put together from parts, would else be told as if it had been measured."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ROUNDING = 1e-5  # of an accuracy that was computed in float32


def check_coherent(entry: Mapping[str, Any]) -> None:
    """Raise ValueError, which names the place, where results.json tells of numbers for other seeds
    than there are, of seeds twice, of what is no number, or of one thing in two ways."""
    methods = [*entry["methods"].items(), *entry.get("unfinished", {}).items()]
    for name, method in methods:
        try:
            _check_method(method, entry["data"]["test"])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    least = min((len(method["seeds"]) for _, method in methods), default=None)
    pilot = entry.get("pilot")
    if pilot is not None and least is not None and not 2 <= pilot <= least:
        raise ValueError(f"pilot must lie in [2, {least}], the seeds, but it is {pilot}")


def _check_method(method: Mapping[str, Any], test: int) -> None:
    rows, curves = method["seeds"], method["curves"]
    seeds = [str(row["seed"]) for row in rows]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"each seed must be there once, but they are {', '.join(seeds)}")
    for metric, epochs in curves.items():
        if not epochs or any(len(values) != len(seeds) for values in epochs):
            raise ValueError(f"{metric} must have a number of each of {len(seeds)} seeds an epoch")
        for value in (value for values in epochs for value in values):
            _check_number(metric, value)
        for k, row in enumerate(rows):
            if row.get(metric, epochs[-1][k]) != epochs[-1][k]:
                raise ValueError(
                    f"{metric} of seed {seeds[k]} is {row[metric]} among the seeds, and "
                    f"{epochs[-1][k]} at the end of its curve"
                )
    if "answers" in method:
        _check_answers(method["answers"], curves["test_accuracy"][-1], seeds, test)


def _check_number(metric: str, value: Any) -> None:
    if value is None:  # not finite
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{metric} must hold numbers, but one is {value!r:.40}")


def _check_answers(
    answers: Mapping[str, Any], accuracy: Sequence[float | None], seeds: Sequence[str], test: int
) -> None:
    shape, bits = tuple(answers["shape"]), base64.b64decode(answers["bits"])
    if shape != (len(seeds), test):
        raise ValueError(
            f"answers must be those of {len(seeds)} seeds to {test} test examples, but they are "
            f"{shape}"
        )
    right = np.unpackbits(np.frombuffer(bits, np.uint8), count=math.prod(shape)).reshape(shape)
    for seed, told, share in zip(seeds, accuracy, right.mean(1), strict=True):
        if told is not None and abs(told - share) > ROUNDING:
            raise ValueError(
                f"test_accuracy of seed {seed} is {told}, and by its answers it is {share:.6g}"
            )
