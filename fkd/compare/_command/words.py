"""Words of the command line that hold several values: seeds, numbers and layers by name."""

import math
from collections.abc import Sequence

import numpy as np

from fkd import _check

MOST_SEEDS = 2**20  # of a count, which stands for as many numbers


def parse_seeds(text: str) -> tuple[int, ...]:
    """`8` as the seeds 0 to 7, `3,5,8` as those three, `3,` as that one."""
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0 or (numbers == (0,) and "," not in text):
        raise ValueError(
            "--seeds: it takes a count above zero (8) or a list of seeds (3,5,8), but got "
            f"{text!r:.100}"
        )
    if "," in text:
        return numbers
    if numbers[0] > MOST_SEEDS:
        raise ValueError(f"--seeds: there may be {MOST_SEEDS:,} at most, but got {text!r:.100}")
    return tuple(range(numbers[0]))


def parse_names(flag: str, text: str | None) -> tuple[str, ...]:
    """`init,order` as these two; none where the option was not given."""
    names = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text is not None and not names:
        raise ValueError(f"{flag}: it takes names such as init,order, but got {text!r:.100}")
    return names


def parse_sweep(
    items: Sequence[str], flag: str = "--sweep", example: str = "lr=1e-4,3e-4"
) -> dict[str, tuple[float, ...]]:
    """`["lr=1e-4,1e-3", "kd.weight=0.5"]` as the values of each name."""
    swept: dict[str, tuple[float, ...]] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            values = tuple(float(part) for part in text.split(",") if part.strip())
        except ValueError:
            values = ()
        if not name or not values or not all(map(math.isfinite, values)):
            raise ValueError(f"{flag}: it takes items such as {example}, but got {item!r:.100}")
        for value in values:
            _check.scalar(f"{flag}: {item!r:.100}", number=value)
        if name in swept or len(set(np.array(values, np.float32).tolist())) != len(values):
            raise ValueError(
                f"{flag}: each name and value, in float32, is to be given once, but got "
                f"{item!r:.100}"
            )
        swept[name] = values
    return swept


def parse_set(items: Sequence[str]) -> dict[str, float]:
    """`["kd.weight=0.9"]` as the number of each name."""
    numbers: dict[str, float] = {}
    for name, values in parse_sweep(items, "--set", "kd.weight=0.9").items():
        if len(values) != 1:
            raise ValueError(
                f"--set: {name} is to have one value, but got {len(values)}; --sweep takes several"
            )
        numbers[name] = values[0]
    return numbers


def parse_layers(flag: str, items: Sequence[str]) -> dict[str, str]:
    """`["feature_map=layer3"]` as the node of each name."""
    layers: dict[str, str] = {}
    for item in items:
        name, _, node = item.partition("=")
        if not name or not node or name in layers:
            raise ValueError(
                f"{flag}: it takes items such as feature_map=layer3, each name once, but got "
                f"{item!r}"
            )
        layers[name] = node
    return layers
