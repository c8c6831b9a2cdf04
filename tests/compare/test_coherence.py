"""A file of results that was edited by hand is refused where it no longer agrees with itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compare.comparison_records import method, record

from fkd.compare._json import bits
from fkd.compare.results import Results

RIGHT = np.arange(60).reshape(3, 20) % 3 > 0


def told() -> dict[str, Any]:
    """The structure of a comparison whose second method has its answers."""
    one = method(RIGHT.mean(1).tolist())
    object.__setattr__(one, "answers", RIGHT)
    return record({"ce": method([0.5, 0.6, 0.7]), "kd": one}).to_json()


def test_what_was_measured_agrees_with_itself():
    Results.from_json(told())
    # Of a number that is not finite both places say nothing.
    Results.from_json(record({"ce": method([0.5, float("nan"), 0.7])}).to_json())


def curve(entry: dict[str, Any]) -> Any:
    return entry["methods"]["kd"]["curves"]["test_accuracy"]


def another_end(entry: dict[str, Any]) -> None:
    curve(entry)[-1][1] = 0.99


def another_row(entry: dict[str, Any]) -> None:
    entry["methods"]["kd"]["seeds"][1]["test_accuracy"] = 0.99


def both_places(entry: dict[str, Any]) -> None:
    another_end(entry)
    another_row(entry)


def fewer(entry: dict[str, Any]) -> None:
    del curve(entry)[0][0]


def no_epochs(entry: dict[str, Any]) -> None:
    curve(entry).clear()


def a_word(entry: dict[str, Any]) -> None:
    curve(entry)[0][0] = "0.5"


def a_seed_twice(entry: dict[str, Any]) -> None:
    entry["methods"]["kd"]["seeds"][1]["seed"] = 0


def other_answers(entry: dict[str, Any]) -> None:
    entry["methods"]["kd"]["answers"]["bits"] = bits(~RIGHT)


def other_images(entry: dict[str, Any]) -> None:
    entry["methods"]["kd"]["answers"]["shape"] = [3, 19]


def a_longer_pilot(entry: dict[str, Any]) -> None:
    entry["pilot"] = 4


@pytest.mark.parametrize(
    "edit, message",
    [
        (another_end, "kd: test_accuracy of seed 1 is 0.65 among the seeds, and 0.99 at the end"),
        (another_row, "kd: test_accuracy of seed 1 is 0.99 among the seeds, and 0.65 at the end"),
        (both_places, "kd: test_accuracy of seed 1 is 0.99, and by its answers it is 0.65"),
        (fewer, "kd: test_accuracy must have a number of each of 3 seeds an epoch"),
        (no_epochs, "kd: test_accuracy must have a number of each of 3 seeds an epoch"),
        (a_word, "kd: test_accuracy must hold numbers, but one is '0.5'"),
        (a_seed_twice, "kd: each seed must be there once, but they are 0, 0, 2"),
        (other_answers, "kd: test_accuracy of seed 0 is 0.65, and by its answers it is 0.35"),
        (other_images, r"kd: answers must be those of 3 seeds to 20 test examples, .*\(3, 19\)"),
        (a_longer_pilot, r"pilot must lie in \[2, 3\], the seeds, but it is 4"),
    ],
)
def test_what_no_longer_does_is_refused(edit: Callable[[dict[str, Any]], None], message: str):
    entry = told()
    edit(entry)
    with pytest.raises(ValueError, match=f"^{message}"):
        Results.from_json(entry)
