"""What of a comparison is compiled: told while it lasts, and afterwards as it happened."""

from dataclasses import replace
from functools import partial

import pytest
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, small, trained_elsewhere, vectors

from fkd.compare import Comparison, Results
from fkd.execution import Plan
from fkd.train import train


def as_if_compiled(names, students, source, *, plan, **options):
    """`train`, which says of these students alone that the compiler took their steps."""
    for at in train(students, source, plan=EAGER, **options):
        told = {
            name: replace(one, compile="step") if name in names else one
            for name, one in at.plans.items()
        }
        yield replace(at, plans=told)


@pytest.mark.plain
def test_what_compiles_is_told_while_it_lasts_and_what_was_compiled_afterwards(
    monkeypatch, tmp_path
):
    monkeypatch.setattr("fkd.compare._setup.choices.why_not_compile", lambda device: None)
    monkeypatch.setattr("fkd.compare._job.course.train", partial(as_if_compiled, ["kd"]))
    plan = Plan(compile="step")
    comparison = Comparison(
        Wide,
        Narrow,
        ALL,
        vectors(),
        seeds=[0],
        epochs=1,
        teacher_state=trained_elsewhere(),
        plan=plan,
    )
    compiling = [(p.what[:2], p.step) for p in comparison.run(tmp_path) if p.compiling]
    assert compiling == [("ce", 0), ("kd", 0)]
    results = Results.read(tmp_path)
    plans = {name: method.plans for name, method in results.methods.items()}
    loop = Plan("loop", compile="none", graph=0)
    assert plans == {"ce": [loop], "kd": [replace(loop, compile="step")]}
    assert results.compiled
    assert results.seconds["first_steps"] == results.methods["kd"].seconds["first_step"]
    assert results.seconds["compiler_check"] >= 0
    told = "Steps: loop, not compiled (ce); loop, compiled (kd). Of the run's"
    assert told in (tmp_path / "table.md").read_text()


@pytest.mark.plain
def test_where_no_step_could_be_compiled_nothing_is_told_to_be(monkeypatch, tmp_path):
    monkeypatch.setattr("fkd.compare._setup.choices.why_not_compile", lambda device: None)
    monkeypatch.setattr("fkd.compare._job.course.train", partial(as_if_compiled, []))
    small(vectors(), epochs=1, plan=Plan(compile="step"), folder=tmp_path)
    results = Results.read(tmp_path)
    assert not results.compiled and "first_steps" not in results.seconds
    text = (tmp_path / "table.md").read_text()
    assert "together, without evaluation. Steps: loop, not compiled. 2" in text


@pytest.mark.plain
def test_how_steps_were_taken_before_a_run_was_stopped_is_told_behind_it(monkeypatch, tmp_path):
    loop = Plan("loop", compile="none", graph=0)
    compiled = replace(loop, compile="step")
    make = partial(Comparison, Wide, Narrow, ALL, vectors(), seeds=[0, 1], epochs=2, plan=EAGER)
    with monkeypatch.context() as patch:
        patch.setattr(
            "fkd.compare._job.course.train", partial(as_if_compiled, ["teacher", "ce", "kd"])
        )
        running = make().run(tmp_path)
        for progress in running:
            if progress.what.startswith("kd") and progress.step == 2:
                break
        running.close()
    (tmp_path / "results.json").unlink()  # as if a kill had come before it, but for the teacher's
    again = make()
    for _ in again.run(tmp_path):
        pass
    results = Results.read(tmp_path)
    assert results.teacher and results.teacher.plans == [compiled]
    assert results.methods["ce"].plans == [loop]  # trained anew
    assert results.methods["kd"].plans == [compiled, loop]
    assert results.compiled and results == again.results


@pytest.mark.plain
def test_without_a_compiler_it_goes_on_and_says_so(monkeypatch):
    monkeypatch.setattr(
        "fkd.compare._setup.choices.why_not_compile", lambda device: "there is none"
    )
    plan = Plan(compile="step")
    comparison = Comparison(Wide, Narrow, ALL, vectors(), epochs=1, seeds=[0], plan=plan)
    note = "Compilation is not possible here, going on without: there is none"
    assert comparison.notes == [note]
    for progress in comparison.run():
        assert not progress.compiling
    assert not comparison.results.compiled
