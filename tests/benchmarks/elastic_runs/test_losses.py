"""A loss comes at a moment of the run, and its cost is counted in steps that were taken twice."""

import random

from benchmarks.elastic_runs.losses import EARLY, Outcome, drawn, taken_twice
from benchmarks.elastic_runs.worker import TOLD, Life, Step, tell, told

WHOLE = Outcome(False, "", 0, 100, 0, 3.0, 5.0)


def test_what_workers_tell_is_read_back_in_order(tmp_path, monkeypatch):
    file = tmp_path / "told"
    assert told(file) == ([], [])
    monkeypatch.setenv(TOLD, str(file))
    lives = [Life(0, 2, 11, "7", 10), Life(1, 2, 12, "8", 10)]
    steps = [Step(11, "teacher", 1, 9), Step(11, "ce, kd", 1, 18)]
    for line in (lives[0], steps[0], lives[1], steps[1]):
        tell(line)
    assert told(file) == (lives, steps)


def test_only_steps_of_two_processes_are_taken_twice():
    first = [Step(11, "teacher", step, 9) for step in (0, 1, 2, 2, 3)]
    second = [Step(13, "teacher", step, 9) for step in (2, 3, 4)]
    reading = [Step(process, "the teacher reads each example once", 1, 1) for process in (11, 13)]
    assert taken_twice(first) == 0
    assert taken_twice([*first, *second, *reading]) == 2


def test_losses_are_drawn_from_all_of_a_run():
    draws = random.Random(0)
    many = [drawn(draws, "a worker", WHOLE) for _ in range(1000)]
    early = [loss for loss in many if loss.steps == 0]
    assert all(0 <= loss.delay <= WHOLE.first for loss in early)
    # Six deviations of a binomial law.
    assert abs(len(early) - 1000 * EARLY) < 6 * (1000 * EARLY * (1 - EARLY)) ** 0.5
    late = {loss.steps for loss in many if loss.steps}
    assert min(late) <= 5 and max(late) >= 95 and max(late) < WHOLE.steps
    assert {loss.rank for loss in many} == {0, 1}
