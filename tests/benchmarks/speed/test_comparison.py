"""What is timed beside what."""

import pytest

from benchmarks.speed import comparison
from benchmarks.speed.sides import Side


@pytest.mark.parametrize("fast", [["fp32"], ["fp32", "bf16"]])
def test_every_group_of_steps_is_led_by_the_plain_loop(fast, monkeypatch):
    monkeypatch.setattr(comparison, "precisions", lambda device: fast)
    groups = list(comparison.step_groups("cpu", [1, 8], [2]))
    assert all(group[0] == Side("tutorial") for group in groups)
    for loop, members in (("fkd", [1, 8]), ("jax", [2])):
        counts = [(s.precision, s.members) for group in groups for s in group if s.loop == loop]
        assert counts == [(precision, k) for precision in fast for k in members]
    # a process forked by a DataLoader and JAX never meet: a side is one or the other
    assert all(s.resident for group in groups for s in group if s.loop == "jax")
