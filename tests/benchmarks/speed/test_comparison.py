"""What is timed beside what."""

import pytest

from benchmarks.speed.comparison import GROUPS, PARTS, Options, step_groups
from benchmarks.speed.sides import Side


@pytest.mark.parametrize("fast", [["fp32"], ["fp32", "bf16"]])
def test_every_group_of_steps_is_led_by_the_plain_loop(fast):
    options = Options("cpu", [1, 8], [2], 1, 0.5, list(PARTS), fast, GROUPS, "step")
    groups = list(step_groups(options))
    assert all(group[0] == Side("tutorial") for group in groups)
    for loop, members in (("fkd", [1, 8]), ("jax", [2]), ("hfta", [1, 8])):
        counts = [(s.precision, s.members) for group in groups for s in group if s.loop == loop]
        assert counts == [(precision, k) for precision in fast for k in members]
    # a process forked by a DataLoader and JAX never meet: a side is one or the other
    assert all(s.resident for group in groups for s in group if s.loop == "jax")
