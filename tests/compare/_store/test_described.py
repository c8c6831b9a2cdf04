"""What a thing is, also where a part of it has no name that another process knows."""

import subprocess
import sys
from dataclasses import dataclass
from functools import partial

import pytest
import torch

from fkd._digest import digest
from fkd.compare._store.described import described
from fkd.methods import Term, kd


def scaled(by: float):
    def scale(x):
        return by * x

    return scale


class Scale:
    def __init__(self, by: float):
        self.by = by

    def __call__(self, x):
        return self.by * x


@dataclass(frozen=True)
class Shift:
    by: float
    of: object


def distance(weight: float) -> dict[str, Term]:
    return {"own": Term(lambda student, teacher: (student - teacher).abs().mean(-1), weight=weight)}


def test_what_has_a_digest_is_it():
    assert described(kd()) == digest(kd()).hex()


@pytest.mark.parametrize(
    "make",
    [scaled, Scale, distance, lambda by: partial(scaled(1.0), by), lambda by: Shift(by, scaled(1))],
)
def test_numbers_beside_what_has_no_digest_are_seen(make):
    assert described(make(0.5)) == described(make(0.5))
    assert described(make(0.5)) != described(make(0.9))


def test_code_without_a_name_is_seen():
    assert described(lambda x: x.flip(-1)) != described(lambda x: x.flip(-2))
    assert described(lambda x: x + 1) != described(lambda x: x * 1)
    assert described(lambda x: [k for k in x if k]) != described(lambda x: [k for k in x if not k])


def test_one_that_holds_itself_has_an_end():
    def again(x):
        return again(x - 1) if x else torch.zeros(())

    assert described(again) == described(again)


def test_another_process_says_the_same():
    source = (
        "from fkd.compare._store.described import described\n"
        "print(described({'one': lambda x: x in {'a', 'b', 'c', 'd'}}))\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", source],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
