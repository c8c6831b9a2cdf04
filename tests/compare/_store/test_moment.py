"""Moments: their parts count together or not at all, whatever is missing of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fkd.compare._store.moment import Moment, last_number, remove, whole_moments

TOKENS = ("01234567", "89abcdef")
moments = st.builds(
    Moment, st.integers(0, 12), st.integers(0, 10**9), st.sampled_from(TOKENS), st.integers(1, 4)
)


@given(drawn=st.lists(moments, max_size=5, unique_by=lambda one: one.number), data=st.data())
def test_a_moment_counts_where_every_part_is_there(drawn, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("moments")
    there: dict[Moment, set[int]] = {}
    for moment in drawn:
        there[moment] = data.draw(st.sets(st.integers(0, moment.parts - 1)), "parts")
        for part in there[moment]:
            moment.path(folder, part).touch()
    whole = {moment for moment, parts in there.items() if len(parts) == moment.parts}
    assert whole_moments(folder) == sorted(whole, key=lambda one: one.number, reverse=True)
    begun = [moment.number for moment, parts in there.items() if parts]
    assert last_number(folder) == max(begun, default=0)
    before = data.draw(st.integers(0, 14), "before")
    spared = data.draw(st.sets(st.integers(0, 12)), "spared")
    remove(folder, before, spared)
    assert set(folder.iterdir()) == {
        moment.path(folder, part)
        for moment, parts in there.items()
        for part in parts
        if moment.number >= before or moment.number in spared
    }


def test_names_tell_the_number_the_step_the_attempt_and_the_part():
    moment = Moment(7, 123, "01234567", 4)
    assert moment.path(Path("run"), 3) == Path(
        "run/checkpoint-0007-123-01234567-4-of-4.safetensors"
    )
    assert len(moment.paths(Path("run"))) == 4


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint.safetensors",
        "checkpoint-7-1-01234567-1-of-1.safetensors",
        "checkpoint-0007-1-01234567-1-of-1.safetensors.bak",
        ".checkpoint-0007-1-01234567-1-of-1.safetensors",
        "checkpoint-0007-1-mine-1-of-1.safetensors",
        "students-ce.safetensors",
    ],
)
def test_what_only_looks_like_one_is_none_and_stays(name, tmp_path):
    (tmp_path / name).write_text("mine")
    assert whole_moments(tmp_path) == [] and last_number(tmp_path) == 0
    remove(tmp_path, before=100)
    assert (tmp_path / name).read_text() == "mine"


def test_parts_of_two_attempts_or_two_steps_are_never_one_moment(tmp_path):
    for number, moment in enumerate(
        [
            Moment(3, 5, TOKENS[0], 3),
            Moment(3, 5, TOKENS[1], 3),
            Moment(3, 6, TOKENS[0], 3),
        ]
    ):
        moment.path(tmp_path, number).touch()
    Moment(3, 5, TOKENS[0], 2).path(tmp_path, 1).touch()
    assert whole_moments(tmp_path) == []
