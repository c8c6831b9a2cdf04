"""Methods that change the logits first: the papers' numbers."""

import pytest

from fkd import methods


def test_the_papers_numbers_are_the_defaults():
    assert [term.weight for term in methods.hard().values()] == [0.5, 0.5]
    assert [term.weight for term in methods.logit_standardised().values()] == [9.0, 0.1]
    assert [term.weight for term in methods.norm_kd().values()] == [0.9, 0.1]
    assert methods.norm_kd()["norm-kd"].hyper == {"temperature": 2.0}
    assert (methods.ttm()["ttm"].weight, methods.ttm()["ttm"].hyper) == (45.0, {"gamma": 0.1})
    assert (methods.wttm()["wttm"].weight, methods.wttm()["wttm"].hyper) == (4.0, {"gamma": 0.2})


def test_a_power_of_zero_is_refused():
    with pytest.raises(ValueError, match="ttm: gamma must be above zero"):
        methods.ttm(gamma=0.0)
