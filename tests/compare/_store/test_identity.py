"""Identity: two runs are one where all that results depend on is the same, and only there."""

import json
from dataclasses import replace

import pytest
import torch
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, trained_elsewhere, vectors

from fkd import methods, optim
from fkd.compare import Comparison
from fkd.compare._store.identity import differences, identity
from fkd.methods import Term


def identity_of(data=None, teacher=None, **options):
    options = {"seeds": (3, 5), "optimizer": optim.adam(0.01), "plan": EAGER} | options
    one = Comparison(
        options.pop("wide", Wide),
        options.pop("narrow", Narrow),
        options.pop("methods", ALL),
        data or vectors(),
        epochs=2,
        teacher_state=teacher,
        **options,
    )
    return json.loads(json.dumps(identity(one._run.task, one.results.config, teacher)))


def test_the_same_is_the_same():
    assert differences(identity_of(), identity_of()) == []
    given = trained_elsewhere()
    assert differences(identity_of(teacher=given), identity_of(teacher=given)) == []


def other_vectors(split: str):
    data = vectors()
    getattr(data, split).inputs[7, 1] += 1e-6
    return data


def shifted(x, key):
    return x + 1


def read_otherwise(split: str):
    data = vectors()
    return replace(data, **{split: replace(getattr(data, split), transform=shifted)})


def in_place(weight: float):
    return ALL | {"own": {"x": Term(lambda student, teacher: student - teacher, weight=weight)}}


class Narrower(Narrow):
    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.2)


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"methods": ALL | {"kd": methods.kd(temperature=3.0)}}, ["methods.kd is another"]),
        ({"narrow": Narrower}, ["networks.student is another"]),
        ({"data": other_vectors("train")}, ["the training examples are others"]),
        ({"data": other_vectors("test")}, ["the test examples are others"]),
        ({"data": read_otherwise("train")}, ["read.train.transform is another"]),
        ({"data": read_otherwise("test")}, ["read.test.transform is another"]),
        ({"augment": shifted}, ["read.train.augment is another"]),
    ],
)
def test_each_difference_is_told(changed, told):
    found = differences(identity_of(), identity_of(**changed))
    assert set(told) <= set(found)
    assert differences(identity_of(**changed), identity_of(**changed)) == []


def test_what_changes_beside_a_lambda_is_told():
    def of(weight, rate):
        schedules = {"lr": rate}
        return identity_of(methods=in_place(weight), schedules=schedules)

    def half(step):
        return 0.5 + 0.0 * step

    one = of(0.1, half)
    assert differences(one, of(0.1, half)) == []
    assert differences(one, of(0.9, half)) == ["methods.own.x.weight is another"]
    other = of(0.1, lambda step: 0.9 + 0.0 * step)
    assert "schedules.lr.code is another" in differences(one, other)


def test_a_teacher_of_other_parameters_is_another():
    one = trained_elsewhere()
    other = {name: value.clone() for name, value in one.items()}
    other["last.bias"][0] += 1e-6
    found = differences(identity_of(teacher=one), identity_of(teacher=other))
    assert found == ["the teacher's parameters are others"]


def test_on_what_lies_where_no_result_depends():
    data = vectors()
    moved = replace(data, train=data.train.to(torch.device("cpu")))
    assert differences(identity_of(data), identity_of(moved)) == []
    then = {"config": {"output": "a", "root": "x", "data_ranks": 1}}
    now = {"config": {"output": "b", "root": "y", "data_ranks": 2}}
    assert differences(then, now) == []


def test_differences_by_hand():
    digest = 64 * "a"
    then = {"config": {"lr": 0.1, "epochs": 2}, "methods": {"kd": digest}, "teacher": None}
    now = {"config": {"lr": 0.2, "seeds": [1]}, "methods": {"ce": digest}, "teacher": digest}
    assert differences(then, now) == [
        "config.lr was 0.1, and is 0.2",
        "config.epochs was 2, and is None",
        "config.seeds was None, and is [1]",
        "methods.kd is another",
        "methods.ce is another",
        "the teacher's parameters are others",
    ]
