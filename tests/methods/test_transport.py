"""The method of moved probability: the authors' numbers, and where its cost is from."""

import pytest
import torch

from fkd import methods


def test_the_papers_numbers_are_the_defaults():
    term = methods.wkd_l()["wkd-l"]
    assert term.hyper == {"gamma": 600.0, "temperature": 8.0, "regularization": 0.05}
    assert term.weight == 1.0


def test_a_cost_that_is_given_needs_no_teacher():
    assert methods.wkd_l()["wkd-l"].needs == ("teacher",)
    assert methods.wkd_l(cost=torch.eye(3))["wkd-l"].needs == ()


@pytest.mark.plain
def test_no_regularization_is_refused():
    with pytest.raises(ValueError, match="wkd-l: regularization must be above zero"):
        methods.wkd_l(regularization=0.0)


@pytest.mark.plain
def test_costs_that_the_iterations_do_not_reach_are_refused():
    methods.wkd_l(cost=2.5 * torch.eye(3))
    methods.wkd_l(cost=3 * torch.eye(3), regularization=0.06)
    with pytest.raises(ValueError, match=r"wkd-l: cost must be at most 50 times regularization"):
        methods.wkd_l(cost=2.6 * torch.eye(3))
