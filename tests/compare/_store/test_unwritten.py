"""Whatever cannot be written of a run stays in a checkpoint, and is written when it can be."""

import errno
import fnmatch
import os
from pathlib import Path

import pytest
import torch
from compare._store.test_keep import KINDS, RARELY, comparison, measured, students

from fkd import checkpoint
from fkd.compare import Comparison, Results, _record_file
from fkd.compare._job import course
from fkd.train import train

KIND = "a running average"
AT_THE_END = 2**40  # of a method's steps, behind which none is taken


def failing(write, files: str, number: int):
    """A writer to which the disk is full, or what the number says, at files of this form."""

    def fails(path, *arguments, **options):
        if fnmatch.fnmatch(Path(path).name, files):
            raise OSError(number, os.strerror(number), str(path))
        return write(path, *arguments, **options)

    return fails


def run(folder: Path, minutes: float = RARELY, **options) -> Comparison:
    one = comparison(**KINDS[KIND] | options)
    for _ in one.run(folder, checkpoint_minutes=minutes):
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


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize(
    "files",
    [
        "students-ce.safetensors",
        "averages-kd.safetensors",
        "students-*.safetensors",
        "teacher.safetensors",
        "results.json",
        "[!c]*",  # all but the checkpoints
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
        any(line.startswith(f"{file} is not written: ") for line in made.troubles)
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
