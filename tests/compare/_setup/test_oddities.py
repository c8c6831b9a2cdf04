"""Odd data is told of, and other data is not."""

from dataclasses import replace

import pytest
import torch
from compare.small_comparisons import vectors
from torch import nn

from fkd.compare._setup.oddities import odd_logits, oddities
from fkd.data import Data, Resident
from fkd.model import functional


def test_of_what_is_as_it_should_be_nothing_is_said():
    assert oddities(vectors()) == []


def test_numbers_that_are_none():
    data = vectors()
    data.train.inputs[3, 1], data.train.inputs[7, 0] = float("nan"), float("inf")
    assert oddities(data) == [
        "2 of the training examples, the first of them number 3, hold infinite numbers or NaN in "
        "their inputs"
    ]


def test_a_class_without_examples():
    data = vectors()
    below = (data.test.targets["labels"] == 0).nonzero()[:, 0]
    assert oddities(replace(data, test=data.test.subset(below))) == [
        "There is no test example of class above"
    ]
    inputs = torch.randn(4, 2)
    source = Resident(inputs, {"labels": torch.zeros(4, dtype=torch.int64)})
    names = tuple("abcdefgh")
    told = oddities(Data("mine", names, source, replace(source, inputs=inputs + 1)))
    assert told[0] == "There is no training example of class b, c, d, e, f and 2 more"


def test_a_test_on_what_was_trained_on():
    data = vectors()
    [told] = oddities(replace(data, test=replace(data.train)))
    assert told.startswith("The test examples are the training examples")


def test_a_test_on_some_of_what_was_trained_on():
    data = vectors()
    train, test = data.train.inputs, data.test.inputs
    test[[2, 5]] = train[[7, 0]]
    assert oddities(data) == [
        f"Test examples that are training examples too: 2 of {len(test)}, of which is measured how "
        "well they are remembered"
    ]


def test_an_example_of_several_parts_is_another_where_one_differs():
    words, mask = torch.arange(12).reshape(4, 3), torch.ones(4, 3, dtype=torch.bool)
    labels = {"labels": torch.arange(4) % 2}
    train = Resident({"words": words, "mask": mask}, labels)
    other = Resident({"words": words.clone(), "mask": ~mask}, labels)
    assert oddities(Data("mine", ("even", "odd"), train, other)) == []
    other.inputs["mask"][1] = True
    [told] = oddities(Data("mine", ("even", "odd"), train, other))
    assert "training examples too: 1 of 4" in told


def test_how_examples_lie_in_memory_is_of_no_matter():
    images = torch.randint(256, (4, 3, 2, 5), dtype=torch.uint8)
    labels = {"labels": torch.arange(4) % 2}
    train = Resident(images.contiguous(memory_format=torch.channels_last), labels)
    test = Resident(images.flip(0), labels)
    [told] = oddities(Data("mine", ("even", "odd"), train, test))
    assert told.startswith("The test examples are the training examples")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_that_ends_in_a_softmax(dtype):
    model = functional(lambda: nn.Sequential(nn.Linear(2, 50), nn.Softmax(-1)), dtype)
    [told] = odd_logits("student", model, torch.randn(9, 2))
    assert told.startswith("The student's logits are probabilities")


@pytest.mark.parametrize(
    "last", [nn.Identity(), nn.LogSoftmax(-1), nn.Sigmoid(), nn.Unflatten(0, (3, 3)), nn.Flatten(0)]
)
def test_of_other_logits_and_of_none_nothing_is_said(last):
    model = functional(lambda: nn.Sequential(nn.Linear(2, 5), last))
    assert odd_logits("student", model, torch.randn(9, 2)) == []
    assert odd_logits("student", model, torch.full((9, 2), float("nan"))) == []
