"""How long a comparison will go on: numbers worked by hand, and a clock that is ours."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, trained_elsewhere, vectors

from fkd.compare import Comparison
from fkd.compare._job import course
from fkd.compare._job.forecast import Cost, Pace, Size, cost_of, left_of
from fkd.compare._job.record import timed


def seconds(first: float, steps: float, evaluation: float) -> dict[str, float]:
    return {"first_step": first, "steps": steps, "evaluation": evaluation}


def pace(*seen: tuple[int, dict[str, float]]) -> Pace:
    """Of three epochs of four steps by two members, each evaluated on six steps' examples; a step
    of both is six units of work."""
    made = Pace(steps=4, epochs=3, evaluation=6.0, size=Size(members=2, work=6.0))
    for step, each in seen:
        made.see(step, each)
    return made


def test_the_first_steps_say_nothing_of_the_pace():
    assert not pace((0, seconds(0, 0, 0)), (1, seconds(30, 0, 0))).known


def test_before_the_first_evaluation_it_is_a_forward_pass():
    seen = pace((0, seconds(0, 0, 0)), (1, seconds(30, 0, 0)), (3, seconds(30, 4, 0)))
    assert seen.known
    # 2 s a step, 9 of 12 to go; 6 x 2 / 3 = 4 s an evaluation, three to go
    assert seen.left == pytest.approx(9 * 2 + 3 * 4)
    assert seen.cost == Cost(30, 12 * 2, 3 * 4, Size(2, 6.0))


def test_an_evaluation_is_what_those_behind_took():
    seen = pace(
        (0, seconds(0, 0, 0)),
        (1, seconds(30, 0, 0)),
        (2, seconds(30, 2, 0)),
        (8, seconds(30, 14, 10)),
    )
    assert seen.left == pytest.approx(4 * 2 + 1 * 5)
    assert seen.cost == Cost(30, 12 * 2, 3 * 5, Size(2, 6.0))


def test_a_training_that_is_gone_on_with_has_the_pace_of_now():
    # 100 s a step until step 6, with one evaluation of 50 s: on another machine.
    seen = pace(
        (6, seconds(200, 500, 50)),
        (7, seconds(230, 500, 50)),
        (8, seconds(230, 502, 55)),
    )
    assert seen.left == pytest.approx(4 * 2 + 1 * 5)
    assert seen.cost == Cost(30, 12 * 2, 3 * 5, Size(2, 6.0))


def test_what_a_gpu_has_not_told_yet_does_not_count():
    first = [(0, seconds(0, 0, 0)), (1, seconds(30, 0, 0))]
    assert not pace(*first, (3, seconds(30, 0, 0))).known
    assert pace(*first, (3, seconds(30, 0, 0)), (5, seconds(30, 8, 4))).left == pytest.approx(
        7 * 2 + 2 * 4
    )


def test_trainings_to_come_cost_what_those_known_did():
    ended = cost_of(seconds(4, 10, 2), Size(members=4, work=20.0))
    assert ended == Cost(4, 10, 2, Size(4, 20.0))
    assert cost_of(seconds(4, 0, 0), Size(1, 1), 2).once == 2
    other = Cost(2, 5, 4, Size(4, 10.0))
    # 15 s for 30 units of work, and 6 s for the evaluation of 8 members
    expected = 2 * 3 + (8 + 64) * 15 / 30 + 24 * 6 / 8
    assert left_of([Size(8, 8.0), Size(16, 64.0)], [other, ended]) == pytest.approx(expected)
    assert left_of([], [ended]) == 0


def test_the_whole_comparison_is_forecast_by_a_steady_clock(monkeypatch):
    """A clock that goes on by one second whenever it is asked, whatever work a step is."""
    monkeypatch.setattr("fkd.compare.run.relative_work", lambda each: dict.fromkeys(each, 1.0))
    clock = SimpleNamespace(perf_counter=itertools.count(0.0).__next__)
    monkeypatch.setattr("fkd.compare._job.record.time", clock)
    monkeypatch.setattr(course, "time", clock)
    methods = ALL | {"again": ALL["ce"]}
    comparison = Comparison(
        Wide,
        Narrow,
        methods,
        vectors(),
        seeds=(3, 5),
        epochs=2,
        plan=EAGER,
        teacher_state=trained_elsewhere(),
    )
    estimates, told = set(), dict[str, dict[int, float | None]]()
    comparison.results.seconds["preparation"] = 1000.0
    for at in comparison.run():
        told.setdefault(at.what.partition(" ")[0], {})[at.step] = at.left
        estimated = comparison.results.seconds.get("estimated_total")
        assert (estimated is None) == all(
            left is None for of_one in told.values() for left in of_one.values()
        )
        if estimated is not None:
            estimates.add(estimated)
    # After each of the first epoch's four steps but the first; then it stays.
    assert len(estimates) == 3 and comparison.results.seconds["estimated_total"] in estimates
    assert min(estimates) > 1000 and comparison.results.seconds["total"] > 1000
    # A step takes one second of this clock, and so does an evaluation; before the first it is
    # taken for the forward passes of three steps' examples, of a third of a second each. Two
    # members take 1 + 8 + 2 seconds from beginning to end.
    assert told["ce"][1] is None
    assert told["ce"][2] == pytest.approx(6 + 2 + 2 * 11)
    assert told["ce"][5] == pytest.approx(3 + 1 + 2 * 11)
    # Of ce that ended it is known that its seven other steps took seven seconds.
    assert told["kd"][2] == pytest.approx(6 + 2 + (11 + 10) / 2)
    assert told["again"][7] == pytest.approx(1 + 1)


@pytest.mark.plain
def test_a_gpu_is_waited_for_after_the_first_steps_at_an_epochs_end_and_now_and_then(monkeypatch):
    waits: list[int] = []
    clock = SimpleNamespace(perf_counter=itertools.count(0.0, 0.2).__next__)
    monkeypatch.setattr("fkd.compare._job.record.time", clock)
    seen: list[int] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waits.append(seen[-1]))

    def training():
        for step in range(1, 10):
            seen.append(step)
            yield SimpleNamespace(epoch_ended=step == 9)

    record = SimpleNamespace(seconds=seconds(0, 0, 0))
    given = []
    for _ in timed(training(), [record], torch.device("cuda")):  # pyright: ignore
        given.append(dict(record.seconds))
    assert waits[0] == 1 and waits[-1] == 9 and 3 <= len(waits) < 9
    assert [k + 1 for k in range(1, 9) if given[k] != given[k - 1]] == waits[1:]
