"""A first step's parts are what lies between the compiler's own counts, and together all of it."""

import pytest

from benchmarks.speed import first_step


def test_the_parts_are_the_differences_of_what_lies_within_each_other():
    names = (first_step.WHOLE, first_step.BEHIND, first_step.INDUCTOR, first_step.WAITING)
    counted = dict(zip(names, (8.0, 5.0, 3.0, 1.0), strict=True)) | {"else": 7.0}
    parts = first_step.parts(10.0, counted)
    assert parts == {"read": 3.0, "traced": 2.0, "lowered": 2.0, "compiled": 1.0, "rest": 2.0}
    assert list(parts) == list(first_step.PARTS)


def test_what_was_found_on_disk_waits_for_no_compiler():
    parts = first_step.parts(4.0, {first_step.WHOLE: 3.0, first_step.BEHIND: 2.0})
    assert parts["compiled"] == 0 and sum(parts.values()) == 4
    (column, *_, last) = first_step.table({"kd, warm": parts}).columns
    assert list(column.cells) == ["kd, warm"] and list(last.cells) == ["4.00"]


@pytest.mark.plain
@pytest.mark.slow
def test_each_is_taken_cold_and_then_warm(capsys):
    assert first_step.main(["--layouts", "loop", "--members", "1"]) == 0
    told = capsys.readouterr().out
    assert "kd, loop, cold" in told and "kd, loop, warm" in told
