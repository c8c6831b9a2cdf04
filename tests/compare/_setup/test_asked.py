"""What is asked of a comparison: names and seeds."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from compare.small_comparisons import EAGER, Narrow, Wide, small, trained_elsewhere, vectors
from torch import Tensor, nn

from fkd import methods
from fkd.compare import Comparison, Factorial
from fkd.compare._setup.asked import check_classes
from fkd.data import Data, Resident
from fkd.methods import Method


@pytest.mark.plain
def test_a_teachers_state_holds_tensors_alone():
    with pytest.raises(ValueError, match=r"^teacher_state: the entry 'weight' must be a torch"):
        small(vectors(), teacher_state={"weight": None})  # type: ignore[dict-item]
    held = {"epoch": 3, "model": trained_elsewhere()}
    with pytest.raises(ValueError, match=r"its 'model' is a mapping .* alone: state\['model'\]"):
        small(vectors(), teacher_state=held)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"a/b": methods.ce()}, "methods: 'a/b' must be another name: files are named after it"),
        ({"a\\b": methods.ce()}, r"methods: 'a\\\\b' must be another name: files are named"),
        ({"": methods.ce()}, "methods: a name must be text of 1 to 100 signs"),
        ({"x" * 101: methods.ce()}, "methods: a name must be text of 1 to 100 signs"),
        (
            {"名" * 67: methods.ce()},
            "methods: .* it takes 201 bytes in UTF-8, and may",
        ),
        ({"teacher": methods.ce()}, "methods: 'teacher' must be another name: the teacher goes"),
        ({"a\0b": methods.ce()}, "methods: a name must be text of 1 to 100 signs"),
        ({"\udcff": methods.ce()}, "methods: a name must be text of 1 to 100 signs"),
        ({3: methods.ce()}, "methods: a key of methods must be a str, but it is 3"),
        ({"loss": methods.ce()}, "methods: 'loss' must be another name: it is a metric's"),
        ({"test_accuracy": methods.ce()}, "methods: 'test_accuracy' must be another name"),
        (
            {"mine": {"seed": methods.ce()["ce"]}},
            "methods: 'seed' must be another name: it is a metric's",
        ),
        (
            {"mine": {"calibration_error": methods.ce()["ce"]}},
            "methods: 'calibration_error' must be another name: it is a metric's",
        ),
    ],
)
def test_a_name_that_is_no_files_or_a_metrics_is_refused(chosen: dict[str, Method], message):
    with pytest.raises(ValueError, match=f"^{message}"):
        small(vectors(), chosen)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "seeds: there must be at least one"),
        ([2**32], "seeds: there must be at least one, each once and from 0 to 4294967295"),
        ([1, 1], "seeds: there must be at least one, each once"),
        ([-1], "seeds: seed must be a whole number of at least 0"),
        ([1.0], "seeds: seed must be a whole number of at least 0"),
        ([True], "seeds: seed must be a whole number of at least 0"),
        ([np.int64(3)], "seeds: seed must be a whole number of at least 0"),
    ],
)
def test_seeds_that_are_none_or_anothers_are_refused(seeds, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        small(vectors(), seeds=seeds)


def test_the_greatest_seed_is_a_student_of_its_own():
    results = small(vectors(), {"ce": methods.ce()}, epochs=1, seeds=[0, 2**32 - 1])
    first, last = results.methods["ce"].curves["loss"][0]
    assert first != last


@pytest.mark.plain
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 0.0}, "resolution: resolution must be above zero and finite, but it is 0"),
        ({"resolution": -1.0}, "resolution: resolution must be above zero"),
        ({"resolution": float("nan")}, "resolution: resolution must be above zero and finite"),
        ({"resolution": "0.5"}, "resolution: resolution must be a number"),
        ({"seeds": [3]}, "resolution: how many seeds it takes is known from a pilot of at least "),
        ({"methods": {"kd": methods.kd()}}, "resolution: .* but there is one method, kd; give"),
        ({"max_seeds": 1}, "max_seeds: it bounds the seeds of the pilot too, which are 2, but it "),
        ({"max_seeds": 0}, "max_seeds: max_seeds must be a whole number of at least 1"),
        ({"max_seeds": 8.0}, "max_seeds: max_seeds must be a whole number"),
        ({"seeds": [0, 2**32 - 3]}, "max_seeds: 62 seeds beyond 4294967293 are not all below"),
        ({"baseline": "dkd"}, "baseline: method 'dkd' is not known"),
    ],
)
def test_a_resolution_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        small(vectors(), **{"resolution": 0.5} | options)


def test_a_number_that_is_swept_too_is_refused():
    options = {"numbers": {"kd.weight": 0.5}, "sweep": {"kd.weight": [0.1, 1.0]}}
    with pytest.raises(ValueError, match=r"^numbers: 'kd\.weight' is swept as well"):
        small(vectors(), **options)


def test_data_of_one_class_is_refused():
    source = vectors().train
    labels = {"labels": torch.zeros(40, dtype=torch.int64)}
    one = Resident(source.inputs, labels, batch_size=10)
    with pytest.raises(ValueError, match=r"^data: there is one class, 'only', so that"):
        small(Data("mine", ("only",), one, one))


def test_a_network_that_cannot_name_every_class_is_refused():
    data = replace(vectors(), classes=("below", "above", "neither"))
    with pytest.raises(ValueError, match=r"^teacher: its logits are of 2 classes, but the data"):
        small(data)
    with pytest.raises(ValueError, match=r"^student: its logits are of 2 classes, but the data"):
        check_classes("student", {"logits": torch.zeros(4, 2)}, data)
    check_classes("student", {"logits": torch.zeros(4, 1000)}, data)


class Fixed(nn.Module):
    """A student that is the same whatever the seed, and draws nothing unless it drops units."""

    def __init__(self, share: float = 0.0):
        super().__init__()
        self.drop, self.last = nn.Dropout(share), nn.Linear(4, 2)
        nn.init.eye_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(x))


def fixed(build: Callable[[], nn.Module] = Fixed, **options) -> Comparison:
    return Comparison(Wide, build, {"ce": methods.ce()}, vectors(), plan=EAGER, **options)


def test_seeds_that_make_one_student_are_refused():
    one = (
        r"^seeds: with each seed the student begins with the same weights, .* would be one student"
    )
    with pytest.raises(ValueError, match=one):
        fixed(order="shared")
    with pytest.raises(ValueError, match=one):
        fixed(seeds=Factorial(("init",), levels=2).seeds, order="own")
    assert not fixed(order="shared", seeds=[3]).notes
    assert not fixed(Narrow, order="shared").notes


@pytest.mark.parametrize(
    ("build", "order"), [(Fixed, "own"), (partial(Fixed, 0.5), "shared")], ids=["order", "dropout"]
)
def test_seeds_that_begin_alike_are_told_of(build, order):
    assert fixed(build, order=order).notes == [
        "With each seed the student begins with the same weights, as a pretrained one does: what "
        "is concluded is of these"
    ]
