"""A plan settles what it was left to choose, and says no to what it does not know."""

import pytest
import torch

from fkd.execution import Plan, pays

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_default_run_on_digits_is_not_worth_a_compilation():
    assert Plan().settle(CPU, steps=80, members=8) == Plan("loop", None, "none", 0)


def test_a_long_run_is_compiled_and_a_gpu_captures_it():
    assert Plan().settle(CPU, steps=3910, members=4) == Plan("loop", None, "step", 0)
    assert Plan().settle(CUDA, steps=3910, members=4) == Plan("vmap", None, "step", 16)


def test_one_member_is_wide_only_where_it_is_compiled():
    assert Plan().settle(CUDA, steps=3910, members=1) == Plan("loop", None, "none", 16)
    assert Plan().settle(CUDA, steps=4000, members=1) == Plan("vmap", None, "step", 16)


def test_what_was_asked_for_stays():
    asked = Plan("vmap", 3, "step", 5)
    assert asked.settle(CUDA, steps=1, members=1) == asked
    assert Plan("vmap", 3, "none", 5).settle(CPU, 10**6, 1) == Plan("vmap", 3, "none", 0)


def test_compiling_pays_by_the_steps_of_all_members():
    assert pays(4000, 1) and pays(40, 100)
    assert not pays(3999, 1)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "rows"}, "layout 'rows' is not known; choose from auto, vmap, loop"),
        ({"compile": "all"}, "compile 'all' is not known; choose from auto, step, none"),
        ({"chunk": 0}, "chunk must be a whole number of at least 1, but it is 0"),
        ({"graph": -1}, "graph must be a whole number of at least 0, but it is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Plan(**arguments)
