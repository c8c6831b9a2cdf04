"""Valid calls of the statistics, by the name of a function within `fkd`."""

import numpy as np
from broken import (
    Argument,
    Call,
    as_good,
    listed,
    number,
    seed,
    strangers,
    to_break,
    whole,
)
from hypothesis import strategies as st

from fkd import statistics

SAMPLE = (0.5, 1.0, 2.5)
TABLE = np.random.default_rng(0).normal(size=(3, 5))
OTHER = np.random.default_rng(1).normal(size=(3, 5))
CONFIDENCE = number(0.9, most=1.0)


def _scored(values: tuple[float, ...]) -> Argument:
    wrong = [["1", "2", "3"], [[0.1, 0.2], [0.3]], [1j, 2j, 3j], [True, False, True]]
    return Argument(
        values,
        st.one_of(
            strangers("list", "array"),
            to_break("what does not fit", st.sampled_from([*wrong, [], [None], np.ones((3, 1))])),
            as_good("as an array", np.array(values), values),
        ),
    )


def _array(x: np.ndarray, *wrong: np.ndarray) -> Argument:
    """An array of real numbers, with some that do not fit."""
    shapes = [x[None], x[..., :0], x[0], np.ones(())]
    values = [np.full_like(x, value) for value in (np.nan, np.inf, -np.inf, 1e200)]
    kinds = [x.astype(complex), x.astype(str), x.astype(object)]
    return Argument(
        x,
        st.one_of(
            strangers("array"),
            to_break("of another shape", st.sampled_from(shapes)),
            to_break("not finite", st.sampled_from(values)),
            to_break("not real", st.sampled_from(kinds)),
            as_good("in Fortran's order", np.asfortranarray(x), x),
            *([to_break("what does not fit", st.sampled_from(wrong))] if wrong else []),
        ),
    )


def _lists(answer: object) -> object:
    """Arrays as lists, which can be compared."""
    if isinstance(answer, np.ndarray):
        return answer.tolist()
    if isinstance(answer, dict):
        return {key: _lists(value) for key, value in answer.items()}
    return tuple(_lists(value) for value in answer) if isinstance(answer, tuple) else answer


_MANY = {"confidence": CONFIDENCE, "flips": whole(99, most=10**6), "seed": seed()}
_CALLS = {
    "interval": {"values": _scored(SAMPLE), "confidence": CONFIDENCE},
    "paired": {
        "a": listed(SAMPLE, SAMPLE[:2], SAMPLE[:1], (SAMPLE,), (*SAMPLE, 0.1)),
        "b": _scored((0.1, 0.2, 0.4)),
        "confidence": CONFIDENCE,
    },
    "seeds_needed": {
        "pilot_differences": _array(TABLE, TABLE[:, :1]),
        "half_width": number(0.5),
        "confidence": CONFIDENCE,
        "max_seeds": whole(100, least=5),
    },
    "two_stage": {
        "differences": _array(TABLE, TABLE[:, :2]),
        "pilot": whole(3, least=2, most=5),
        "confidence": CONFIDENCE,
    },
    "against_baseline": {"differences": _array(TABLE, TABLE[:, :1])} | _MANY,
    "best_set": {"scores": _array(TABLE, TABLE[:1], TABLE[:, :1])} | _MANY,
    "holm": {
        "p": Argument(
            np.array([0.1, 0.9]),
            st.one_of(
                strangers("array"),
                to_break(
                    "what does not fit",
                    st.sampled_from([np.array([x, 0.5]) for x in (-0.1, 1.1, np.nan, np.inf)]),
                ),
                to_break("of another shape", st.sampled_from([np.ones((1, 2)), np.ones(0)])),
            ),
        )
    },
    "crossed": {
        "a": _array(TABLE, TABLE[:, :4], TABLE[:1]),
        "b": _array(OTHER, OTHER[:2]),
        "confidence": CONFIDENCE,
    },
    "components": {
        "values": _array(TABLE, TABLE[:, :1]),
        "sources": listed(["init", "order"], ["init"], ["init", "init"], ["init", "rest"]),
        "confidence": CONFIDENCE,
    },
    "mean_ranks": {"scores": _array(TABLE, TABLE[:1], TABLE[:, :1]), "confidence": CONFIDENCE},
    "setting_choice": {
        "validation": _array(TABLE, TABLE[:, :4], TABLE[:1]),
        "test": _array(OTHER, OTHER[:2]),
        "confidence": CONFIDENCE,
    },
    "epoch_choice": {"curves": _array(TABLE, TABLE[:, :1]), "confidence": CONFIDENCE},
}
STATISTICS = {
    f"statistics.{name}": Call(getattr(statistics, name), arguments, _lists)
    for name, arguments in _CALLS.items()
}
