"""How numbers are told."""

import math

import pytest

from fkd.compare.presentation import _numbers


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0009, "<0.001"), (0.25, "0.250")])
def test_p_is_told_to_three_places(p, text):
    assert _numbers.p_value(p) == text


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_told_as_nothing(value):
    assert _numbers.number(value, "+") == "–"
    assert _numbers.bounds(value, 0.5) == ("–" if value is None else "[–, 50.00]")
