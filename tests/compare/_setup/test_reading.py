"""What a comparison reads before it starts."""

import math

import pytest
from compare.small_comparisons import small, trained_elsewhere, vectors


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_teacher_that_diverged_is_refused_by_name(value):
    state = trained_elsewhere()
    state["last.weight"][0, 3] = value
    with pytest.raises(ValueError, match=r"^teacher_state: last\.weight must be finite, but"):
        small(vectors(), teacher_state=state)


def test_a_teachers_state_as_a_wrapper_saves_it_is_refused_with_what_to_give():
    state = trained_elsewhere()
    wrapped = {f"module.{name}": value for name, value in state.items()}
    with pytest.raises(ValueError, match=r"^teacher_state: .* with 'module.' before") as error:
        small(vectors(), teacher_state=wrapped)
    remedy = str(error.value).partition("without it: ")[2]
    assert eval(remedy, {"state": wrapped}).keys() == state.keys()
