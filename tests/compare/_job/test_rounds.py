"""Which seeds are trained when: rounds of results made by hand, and one run against another."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from compare._store.test_keep import comparison, measured, students
from compare.comparison_records import method
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, small, trained_elsewhere, vectors

from fkd.compare import Comparison, Results
from fkd.compare._accord import Accord
from fkd.compare._job import course
from fkd.compare._job.forecast import Cost, Size
from fkd.compare._job.rounds import Rounds
from fkd.compare.failure import Failure
from fkd.compare.results import TeacherResults
from fkd.distributed import Mesh
from fkd.execution import Plan
from fkd.train import train

ALONE = Accord(Mesh())
THREE = ALL | {"again": ALL["kd"]}
CHEAP: dict[str, Any] = {"epochs": 2, "plan": EAGER, "teacher_state": trained_elsewhere()}
GAP = Failure("error", "KeyError: a user's own mistake")


@pytest.fixture
def rounds() -> Rounds:
    """Of three methods with a pilot of four seeds, none of which has been trained."""
    made = Comparison(
        Wide, Narrow, THREE, vectors(), seeds=range(4), resolution=1.0, max_seeds=10, **CHEAP
    )
    assert made.results.pilot == 4
    assert made.results.config["resolution"] == 1.0 and made.results.config["max_seeds"] == 10
    return made._run.rounds


def put_pilot(rounds: Rounds, *names: str) -> None:
    """Pilots that ask for 30 seeds, of whom ten are allowed."""
    pilots = {
        "ce": method([0.5] * 4),
        "kd": method([0.51, 0.52, 0.53, 0.54]),
        "again": method([0.5, 0.51, 0.5, 0.51]),
    }
    rounds.put({name: pilots[name] for name in names}, {})


def members(rounds: Rounds, **under_way: int) -> list[int]:
    """How many students each training has that is to come."""
    return [size.members for size in rounds.to_come(under_way)]


def of_seeds(*seeds: int):
    return replace(method([0.5] * len(seeds)), seeds=list(seeds))


def test_no_round_has_more_seeds_than_the_pilot(rounds):
    put_pilot(rounds, "ce", "kd")
    assert rounds.decide(ALONE) == [] and rounds.ends == [4] and not rounds.decided
    put_pilot(rounds, "again")
    [told] = rounds.decide(ALONE)
    assert told.startswith("The pilot of 4 seeds asks for 30 to know every difference to 1 point ")
    # Six trainings of one second each, and 18 students of (2.5 + 0.25) / 4 each.
    assert told.endswith("; 6 more seeds of 3 methods, about 18 seconds")
    assert rounds.ends == [4, 8, 10] and rounds.decide(ALONE) == []
    assert [rounds.lacking("kd", k) for k in range(3)] == [[], [4, 5, 6, 7], [4, 5, 6, 7, 8, 9]]
    assert members(rounds) == [4, 2] * 3 and members(rounds, kd=4) == [4, 2, 2, 4, 2]
    assert rounds.to_come({})[2] == Size(4, 4 * rounds.work["kd"])
    rounds.put({"kd": of_seeds(4, 5, 6, 7)}, {})
    assert rounds.lacking("kd") == [8, 9] and not rounds.has_ended("kd")
    assert rounds.costs()[1] == Cost(1.0, 5.0, 0.5, rounds.size({"kd": 8}))  # of two trainings


def test_seeds_that_are_known_stay_as_they_are_and_have_their_places(rounds):
    put_pilot(rounds, "ce", "kd", "again")
    rounds.decide(ALONE)
    rounds.put({"kd": of_seeds(4, 5, 6, 7)}, {})
    before = rounds.results.methods["kd"]
    for seeds in ((0, 1, 2, 3), (4, 5, 6, 7)):  # brought back, for they were not written
        rounds.put({"kd": of_seeds(*seeds)}, {})
        assert rounds.results.methods["kd"] is before and rounds.place(seeds) == seeds[0]


def test_a_method_that_failed_in_the_pilot_takes_no_part(rounds):
    put_pilot(rounds, "ce", "kd")
    rounds.put({}, {"again": GAP})
    [told] = rounds.decide(ALONE)
    assert "asks for 17 to know the difference" in told and "6 more seeds of 2 methods" in told
    assert rounds.lacking("again") == [] and members(rounds) == [4, 2] * 2


def test_a_method_that_fails_later_keeps_what_was_measured_and_the_number_stays(rounds):
    put_pilot(rounds, "ce", "kd", "again")
    rounds.decide(ALONE)
    rounds.put({"ce": of_seeds(4, 5, 6, 7)}, {"kd": GAP})
    results = rounds.results
    assert list(results.methods) == ["ce", "again"] and list(results.unfinished) == ["kd"]
    back = Results.from_json(results.to_json())
    assert back.unfinished == results.unfinished and list(rounds.measured) == list(THREE)
    again = Rounds(rounds.task, back, rounds.work)
    assert again.ends == [4] and again.decide(ALONE) and again.ends == rounds.ends


def test_where_one_method_has_more_seeds_than_another_they_are_written_and_drawn(rounds, tmp_path):
    put_pilot(rounds, "ce", "kd")
    rounds.put({"ce": of_seeds(4, 5)}, {})
    rounds.results.teacher = TeacherResults(0.9)
    rounds.results.write(tmp_path)
    rounds.results.draw(tmp_path)
    back = Results.read(tmp_path).methods
    assert [len(one.seeds) for one in back.values()] == [6, 4]


def test_a_checkpoint_of_seeds_that_ended_is_none_to_go_on_from(rounds):
    put_pilot(rounds, "ce")
    assert rounds.have_ended({"ce": [0, 1, 2, 3]})
    assert not rounds.have_ended({"ce": [4, 5, 6, 7]}) and not rounds.have_ended({"kd": [0, 1]})
    rounds.put({}, {"kd": Failure("diverged", "the loss became infinite")})
    assert rounds.have_ended({"kd": [0, 1, 2, 3]})


def test_a_run_of_one_stage_has_one_round():
    made = Comparison(Wide, Narrow, ALL, vectors(), seeds=(3, 5), **CHEAP)
    rounds = made._run.rounds
    assert rounds.ends == [2] and rounds.decided and rounds.decide(ALONE) == []
    assert made.results.pilot is None and "resolution" not in made.results.config


def test_seeds_that_join_are_those_of_a_run_of_all_at_once(tmp_path, monkeypatch):
    """Bit for bit where members are computed one by one, also if a method failed between."""
    loop: dict[str, Any] = {"plan": Plan("loop", compile="none")} | {
        "teacher_state": trained_elsewhere()
    }
    stages = {"resolution": 0.1, "max_seeds": 5} | loop

    def failing(trained, *arguments, **options) -> Iterator:
        if "kd" in trained and 6 in trained["kd"].seeds:
            raise KeyError("a user's own mistake")
        return train(trained, *arguments, **options)

    monkeypatch.setattr(course, "train", failing)
    one = comparison(**stages)
    left: dict[bool, list[float | None]] = {False: [], True: []}
    for progress in one.run(tmp_path / "run"):
        left["pilot" in progress.what].append(progress.left)
    # How long the whole takes is not known before it is known how many seeds there are to be.
    assert not any(left[True]) and any(left[False])
    assert one.results.failed["kd"].kind == "error" and not one.results.complete
    assert one.results.methods["ce"].seeds == [3, 5, 6, 7, 8]
    assert Results.read(tmp_path / "run").unfinished["kd"].seeds == [3, 5]
    monkeypatch.setattr(course, "train", train)
    again = comparison(**stages)
    values = [progress.what for progress in again.run(tmp_path / "run")]
    assert not [what for what in values if what.startswith("ce") or "pilot" in what]
    notes = "\n".join(again.notes)
    assert "ce: ended; kd: 2 seeds ended" in notes and "3 more seeds of 2 methods" in notes
    whole = small(vectors(), seeds=(3, 5, 6, 7, 8), folder=tmp_path / "whole", **loop)
    ended, expected = measured(again.results)["methods"], measured(whole)["methods"]
    for name, one in expected.items():
        for key in ("seeds", "curves", "answers"):
            assert ended[name][key] == one[key]
    every = students(tmp_path / "whole")
    assert students(tmp_path / "run").keys() == every.keys()
    assert all(x.equal(every[name]) for name, x in students(tmp_path / "run").items())
