"""Any numbers and any texts become what a picture can hold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fkd.compare.presentation import _drawable


@given(st.lists(st.floats() | st.none()))
def test_what_no_axis_can_hold_is_left_out_and_the_rest_as_it_is(shares):
    with np.errstate(over="ignore"):
        drawn = _drawable.percent(shares)
    for share, value in zip(shares, drawn, strict=True):
        if share is not None and abs(share) < 1e7:
            assert value == 100 * share
        else:
            assert np.isnan(value)


# A surrogate is what Python makes of a file's name that is no text.
@given(st.text(st.characters() | st.sampled_from(["\udce9", "\n", "\t"])))
def test_any_text_fits_its_lines(text):
    for line in _drawable.lines(text, 12, 3).split("\n"):
        assert len(line) <= 12
        line.encode()
    assert "\n" not in _drawable.name(text) and len(_drawable.name(text)) <= 40
