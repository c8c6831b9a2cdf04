"""Whatever cannot be written of a run stays in a checkpoint, and is written when it can be."""

import errno
import fnmatch
import os
from pathlib import Path

import pytest
import torch
from compare._store.test_keep import (
    ALWAYS,
    KINDS,
    RARELY,
    comparison,
    measured,
    students,
    whole_runs,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fkd import checkpoint
from fkd.compare import Comparison, Results, _record_file
from fkd.compare._job import course
from fkd.compare._store.saver import Saver
from fkd.train import train

KIND = "a running average"


def failing(write, files: str, number: int):
    """A writer to which the disk is full, or what the number says, at files of this form."""

    def fails(path, *arguments, **options):
        if fnmatch.fnmatch(Path(path).name, files):
            raise OSError(number, os.strerror(number), str(path))
        return write(path, *arguments, **options)

    return fails


def run(folder: Path, kind: str = KIND) -> Comparison:
    one = comparison(**KINDS[kind])
    for _ in one.run(folder, checkpoint_minutes=RARELY):
        pass
    return one


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return measured(run(folder).results), students(folder)


@pytest.fixture
def steps(monkeypatch):
    """The steps that are taken, by what is trained."""
    taken: dict[str, int] = {}

    def counted(students, *arguments, **options):
        for at in train(students, *arguments, **options):
            for name in students:
                taken[name] = taken.get(name, 0) + 1
            yield at

    monkeypatch.setattr(course, "train", counted)
    return taken


@pytest.mark.parametrize(
    "files, number",
    [
        ("students-ce.safetensors", errno.EACCES),
        ("averages-kd.safetensors", errno.EIO),
        ("students-*.safetensors", errno.EROFS),
        ("teacher.safetensors", errno.ENOSPC),
        ("results.json", errno.EDQUOT),
        ("[!c]*", errno.ENOSPC),  # all but the checkpoints
    ],
)
def test_what_cannot_be_written_is_written_later_and_not_trained_again(
    files, number, whole, steps, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    made = comparison(**KINDS[KIND])
    training = made.run(folder, checkpoint_minutes=RARELY)
    with monkeypatch.context() as patch:
        for module in (checkpoint, _record_file):
            patch.setattr(module, "write", failing(module.write, files, number))
        for _ in training:
            pass
    told = files.replace("averages", "students")  # behind which they are written
    assert made.unwritten and all(fnmatch.fnmatch(file, told) for file in made.unwritten)
    assert all(
        any(line.startswith(f"{folder / file} is not written: ") for line in made.troubles)
        for file in made.unwritten
    )
    assert measured(made.results) == whole[0]
    assert list(folder.glob("checkpoint-*"))
    steps.clear()
    again = run(folder)
    assert steps == {} and again.unwritten == again.troubles == []
    assert measured(again.results) == measured(Results.read(folder)) == whole[0]
    assert students(folder).keys() == whole[1].keys()
    assert all(torch.equal(x, whole[1][name]) for name, x in students(folder).items())
    assert (folder / "teacher.safetensors").exists() and (folder / "table.md").exists()
    assert len(list(folder.glob("averages-*"))) == 2
    assert not [*folder.glob("checkpoint-*"), *folder.glob(".*.fkd-partial")]


class Disk:
    """A disk that is full now and then, whatever is written to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.full = False
        for module in (checkpoint, _record_file):
            monkeypatch.setattr(module, "write", self._writer(module.write))

    def _writer(self, write):
        def to_disk(path, *arguments, **options):
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            write(path, *arguments, **options)

        return to_disk


def test_a_disk_that_stays_full_is_told_once_and_when_it_has_room_again(tmp_path, monkeypatch):
    monkeypatch.setattr(Saver, "due", True)
    disk, full = Disk(monkeypatch), {"kd": range(2, 5), "ce": range(2, 7)}
    one, notes = comparison(), dict[str, list[str]]()
    for progress in one.run(tmp_path / "run", checkpoint_minutes=ALWAYS):
        what = progress.what[:2]
        disk.full = progress.step in full.get(what, ())
        notes[what] = list(one.notes)
    reason = f"cannot be written: [Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}"
    # Of ce five checkpoints in a row, of kd three.
    assert one.troubles == [f"the checkpoint {reason}"] * 2
    assert one.notes.count("the checkpoint can be written again") == 2
    assert notes["ce"].count("the checkpoint can be written again") == 1


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    return whole_runs(tmp_path_factory)


def told_lost(run: Comparison) -> set[str]:
    """The files of which a run told that no checkpoint holds what is missing."""
    parts = [line.partition(" is not written: no checkpoint holds it") for line in run.troubles]
    return {Path(path).name for path, told, _ in parts if told}


@pytest.mark.slow
@settings(max_examples=6, phases=[Phase.generate])
@given(data=st.data())
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full_for_a_while_loses_nothing_that_a_checkpoint_has(
    kind, wholes, tmp_path_factory, data
):
    expected, parameters, count = wholes[kind]
    folder = tmp_path_factory.mktemp("full") / "run"
    first = data.draw(st.integers(0, count), "first")
    last = data.draw(st.integers(first, count + 1), "last")
    stop = data.draw(st.integers(first, count + 1), "stop")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        one = comparison(**KINDS[kind])
        training = one.run(folder, checkpoint_minutes=ALWAYS)
        for number, _ in enumerate(training):
            disk.full = first <= number < last
            if number == stop:
                break
        training.close()
        lost = told_lost(one)
    last_one = run(folder, kind)
    assert last_one.results.complete
    # It is told again of a file whose first students are lost, and whose new ones are there.
    assert set(last_one.unwritten) == told_lost(last_one) <= lost
    assert measured(last_one.results) == expected == measured(Results.read(folder))
    back = students(folder)
    missing = {name.partition(".safetensors")[0] for name in parameters.keys() - back.keys()}
    assert {f"{name}.safetensors" for name in missing} <= lost
    assert all(torch.equal(x, parameters[name]) for name, x in back.items())
    assert not [*folder.glob("checkpoint-*"), *folder.glob(".*.fkd-partial")]
