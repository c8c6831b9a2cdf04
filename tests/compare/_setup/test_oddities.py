"""Odd data is told of, and other data is not."""

from dataclasses import replace

import torch
from compare.small_comparisons import vectors

from fkd.compare._setup.oddities import oddities
from fkd.data import Data, Resident


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
