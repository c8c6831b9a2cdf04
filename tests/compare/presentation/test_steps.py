"""How steps were taken, by method and in words."""

from dataclasses import replace

from compare.comparison_records import method, record

from fkd.compare.presentation._caption import caption
from fkd.compare.presentation._steps import steps
from fkd.compare.report._comparison import part
from fkd.compare.results import Results, TeacherResults
from fkd.execution import Plan

EAGER = Plan("loop", compile="none", graph=0)
COMPILED = Plan("vmap", chunk=4, compile="step", graph=16)


def results_of(**plans: list[Plan]) -> Results:
    """Of a teacher that was trained by `EAGER`."""
    methods = {name: replace(method([0.4, 0.5]), plans=own) for name, own in plans.items()}
    return record(methods, teacher=TeacherResults(0.75, plans=[EAGER]))


def test_those_that_are_alike_stand_together():
    one = "vmap, 4 at once, compiled, 16 steps a CUDA graph"
    results = results_of(ce=[COMPILED], kd=[EAGER], dkd=[COMPILED], at=[COMPILED, EAGER])
    assert steps(results) == (
        f"{one} (ce and dkd); loop, not compiled (kd and teacher); "
        f"{one} and loop, not compiled (at)"
    )
    assert steps(results_of(ce=[EAGER], kd=[EAGER])) == "loop, not compiled"


def test_the_seconds_are_with_compilation_where_a_step_of_a_student_was_compiled():
    compiled, eager = "together, with compilation and without eva", "together, without evaluation"
    assert compiled in caption(results_of(ce=[EAGER], kd=[EAGER, COMPILED]))
    assert eager in caption(replace(results_of(ce=[EAGER]), compiled=True))  # by the teacher's
    # Of results from before it was kept, what is known of all trainings.
    old = results_of(ce=[])
    assert old.teacher
    old.teacher = replace(old.teacher, plans=[])
    assert steps(old) == "" and "Steps:" not in caption(old) and eager in caption(old)
    assert compiled in caption(replace(old, compiled=True))


def test_the_report_says_it_too():
    shown = part("r1", "mine", results_of(ce=[COMPILED], kd=[EAGER]))
    (row,) = [row for row in shown.environment.rows if row.head == "steps"]
    assert row.cells[0].endswith("graph (ce); loop, not compiled (kd and teacher)")
