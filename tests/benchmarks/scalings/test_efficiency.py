"""Efficiencies by hand-worked numbers, and what is held against what."""

import pytest

from benchmarks.scalings.efficiency import by_clock, by_processor, pairs, sides
from benchmarks.scalings.launch import Timing
from benchmarks.scalings.sides import Side

BASE = Side("lightnn", 8, 128)


def test_every_axis_grows_and_is_shared():
    told = {
        row.name: (row.side.members, row.side.batch, row.side.ranks, row.side.threads, row.work)
        for row in pairs(BASE, cores=2)
    }
    assert told == {
        "members on 2, 8 each": (16, 128, 2, 1, 2),
        "members on 2, 16 shared": (16, 128, 2, 1, 1),
        "batch on 2, 128 each": (8, 256, 2, 1, 2),
        "batch on 2, 128 shared": (16, 128, 2, 1, 1),
        "one process, 2 threads": (16, 128, 1, 2, 1),
    }


def test_the_work_of_a_side_is_so_many_times_its_base():
    for row in pairs(BASE, cores=4):
        work = row.side.members * row.side.batch
        assert work == row.work * row.base.members * row.base.batch
        assert row.base.ranks == row.base.threads == 1
        assert row.ranks == row.side.ranks * row.side.threads


def test_members_are_on_as_many_processes_as_there_are_cores():
    assert [row.ranks for row in pairs(BASE, cores=4) if "members" in row.name] == [2, 2, 4, 4]
    assert all("threads" not in row.name for row in pairs(BASE, cores=1))


def test_a_side_is_timed_once():
    every = sides(pairs(BASE, cores=2))
    assert len(every) == len(set(every)) == 6


def test_where_the_work_grows():
    (row, *_) = pairs(BASE, cores=2)
    timings = {
        row.base: Timing(1.0, 1, wall=[10.0, 20.0, 30.0], processor=[8.0, 8.0, 8.0]),
        row.side: Timing(1.0, 1, wall=[20.0, 20.0, 40.0], processor=[20.0, 16.0, 32.0]),
    }
    # Twice the work on two processes: at best as long by the clock, and twice the processors' time.
    assert by_clock(row, timings) == (0.75, [0.5, 1.0, 0.75])
    assert by_processor(row, timings) == (0.8, [0.8, 1.0, 0.5])


def test_where_one_work_is_shared():
    row = pairs(BASE, cores=2)[1]
    timings = {
        row.base: Timing(1.0, 1, wall=[10.0], processor=[10.0]),
        row.side: Timing(1.0, 1, wall=[6.25], processor=[12.5]),
    }
    assert by_clock(row, timings).value == pytest.approx(0.8)  # at best 5
    assert by_processor(row, timings).value == pytest.approx(0.8)  # at best 10


def test_a_step_takes_as_long_as_its_slowest_rank_and_all_their_processors():
    timing = Timing(first=1.0, steps=4)
    timing.add([{"wall": 2.0, "processor": 1.0}, {"wall": 4.0, "processor": 3.0}])
    assert (timing.wall, timing.processor, timing.ms) == ([1000.0], [1000.0], 1000.0)
