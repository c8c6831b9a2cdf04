"""Numbers as JSON holds them, which has no word for NaN and infinity, for seeds by their source,
and for bits."""

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fkd.ensemble import Seed, Seeds


def with_null(value: Any) -> Any:
    """A structure of dicts, lists and tuples with None for every number that is not finite.

    >>> with_null({"loss": [(0.5, math.inf)]})
    {'loss': [[0.5, None]]}
    """
    if isinstance(value, dict):
        return {key: with_null(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [with_null(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_nan(value: Any) -> Any:
    """A structure of numbers with NaN for every None.

    >>> with_nan({"loss": [[0.5, None]]})
    {'loss': [[0.5, nan]]}
    """
    if isinstance(value, dict):
        return {key: with_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_nan(inner) for inner in value]
    return math.nan if value is None else value


def with_seeds(told: Sequence[Any]) -> list[Seed]:
    """Seeds as JSON has them: of those by their source it makes lists."""
    return [Seeds(*seed) if isinstance(seed, list) else seed for seed in told]


def bits(answers: np.ndarray) -> str:
    """What is true and what is not, a bit each in the order of memory, in base64.

    >>> bits(np.array([[True, False, False], [False, False, True]]))
    'hA=='
    """
    return base64.b64encode(np.packbits(answers).tobytes()).decode()


def of_bits(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """What `bits` gave, bool in this shape.

    >>> of_bits("hA==", (2, 3)).tolist()
    [[True, False, False], [False, False, True]]
    """
    packed = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.unpackbits(packed, count=math.prod(shape)).astype(bool).reshape(shape)
