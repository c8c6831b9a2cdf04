"""The arithmetic on paper, by hand-worked numbers."""

import json

import pytest

from benchmarks.scalings.links import Cluster, Link
from benchmarks.scalings.projection import (
    Comparison,
    Step,
    Sums,
    batch_shared,
    measured_comparison,
    measured_step,
    members_each,
    members_shared,
    wall,
)

LINK = Link("made up", 1e9, 1e-6, 1e-6, "made up")
CLUSTER = Cluster(1024, LINK, LINK)
STEP = Step(fixed=1.0, each=0.5)
# 32 members on one GPU: 10 s of set-up, 20 of the teacher, 170 of the students.
RUN = Comparison(32, 10.0, 20.0, 170.0, STEP, bytes_read=12.5e9)


def test_a_step_is_a_line_through_two_ensembles():
    step = Step.through((32, 1.4), (128, 5.24))  # 3.84 over 96 members
    assert step.each == pytest.approx(0.04) and step.fixed == pytest.approx(0.12)
    assert step.seconds(8) == pytest.approx(0.44)


def test_a_comparison_of_other_members_and_epochs():
    assert RUN.seconds(32) == pytest.approx(200)
    assert RUN.seconds(66) == pytest.approx(30 + 170 * 2)  # a step of 34 instead of 17
    assert RUN.longer(10).seconds(32) == pytest.approx(10 + 200 + 1700)
    assert RUN.read(1) == 0 and RUN.read(9) == pytest.approx(8)  # a second a copy


def test_shared_members():
    assert members_shared(RUN, 32, 1) == pytest.approx(1)
    # Of 16 members a step takes 9 of 17, so 90 seconds; the other copy is read in one.
    assert members_shared(RUN, 32, 2) == pytest.approx(200 / (2 * (30 + 90 + 1)))
    # 33 over 2 is 17 for one of them: 9.5 of 17, 95 seconds, against 175 alone plus 30.
    assert members_shared(RUN, 33, 2) == pytest.approx(205 / (2 * (30 + 95 + 1)))
    assert members_shared(RUN, 32, 33) is None


def test_members_of_each_gpu():
    assert members_each(RUN, 1) == 1
    assert members_each(RUN, 201) == pytest.approx(0.5)  # 200 copies, 200 seconds


def test_a_shared_batch():
    sums = Sums(gradient=0.0)
    free = Cluster(1024, Link("free", 1e30, 0, 0, "made up"), LINK)
    # Four members, 3 s; halved, 1 + 1; the sum's own 6.6 µs are nothing beside that.
    assert batch_shared(STEP, 4, 128, sums, 2, free) == pytest.approx(3 / 4, rel=1e-4)
    # Five examples over two: three of five for one of them.
    assert batch_shared(STEP, 4, 5, sums, 2, free) == pytest.approx(3 / (2 * 2.2), rel=1e-4)
    assert batch_shared(STEP, 4, 128, sums, 129, free) is None
    # 2 · 1/2 of a gigabyte is one second; a small sum 6.6 µs and two hops.
    sums = Sums(gradient=1e9, small=1000)
    assert sums.seconds(2, CLUSTER) == pytest.approx(1 + 6.6e-6 + 2e-6 + 8.6e-3)
    assert sums.seconds(1, CLUSTER) == 0
    # Each of two ranks has a place of half a gigabyte, and the other's zeros.
    placed = Sums(gradient=0.0, small=3, place=5e8)
    assert placed.seconds(2, CLUSTER) == pytest.approx(4 * 8.6e-6 + 3)
    efficiency = batch_shared(STEP, 4, 128, sums, 2, CLUSTER)
    assert efficiency == pytest.approx(3 / (2 * 3.0086086))


def test_the_wall_is_the_last_power_of_two_that_is_half_used():
    assert wall(lambda ranks: 16 / (15 + ranks)) == 16
    assert wall(lambda ranks: 1.0 if ranks <= 8 else None) == 8
    assert wall(lambda ranks: 0.4 if ranks > 1 else 1.0) == 1
    assert wall(lambda ranks: 1.0, most=64) == 64


def test_what_was_measured_is_read(tmp_path):
    rows = [{"loop": "tutorial", "members": 1, "ms": 9.0}]
    rows += [{"loop": "fkd", "members": k, "ms": ms} for k, ms in ((1, 9.0), (2, 6.0), (4, 5.0))]
    (tmp_path / "speed.json").write_text(json.dumps({"steps": rows}))
    step = measured_step(tmp_path / "speed.json", (2, 4))  # 12 ms and 20 ms
    assert step.each == pytest.approx(4e-3) and step.fixed == pytest.approx(4e-3)
    kd = {"seconds": {"first_step": 3.0, "steps": 5.0, "evaluation": 1.0}}
    whole = {
        "config": {"seeds": [0, 1], "channels": 3, "image_size": 2},
        "data": {"train": 10, "test": 2},
        "seconds": {"teacher_training": 4.0, "total": 20.0, "first_steps": 6.0},
        "methods": {"ce": kd, "kd": kd},
    }
    (tmp_path / "results.json").write_text(json.dumps(whole))
    run = measured_comparison(tmp_path / "results.json", step)
    assert run == Comparison(2, 4.0, 4.0, 12.0, step, bytes_read=144)
