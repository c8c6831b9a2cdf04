"""A run that four processes began, and that any number of them goes on with, to the same end."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from compare._store.test_keep import measured, students
from compare.small_comparisons import ALL, EAGER, Narrow, Wide, vectors

from benchmarks._launched import launched
from fkd import checkpoint, optim
from fkd.compare import Comparison, Results
from fkd.compare._store.moment import whole_moments
from fkd.distributed import Mesh, started

RARELY = 1e6  # minutes
CUT = 19  # values: in the training of the second of the methods' first epoch
SEEDS, RATES = (3, 5, 8), (0.001, 0.01)  # six members, of which a rank may have none of the chosen

pytestmark = [pytest.mark.slow, pytest.mark.plain]


def comparison(mesh: Mesh) -> Comparison:
    return Comparison(
        Wide,
        Narrow,
        ALL,
        vectors(),
        seeds=SEEDS,
        sweep={"lr": RATES},
        resolution=0.01,
        max_seeds=4,  # of which two ranks train the last each for itself
        epochs=2,
        optimizer=optim.averaged(optim.adam(), decay=0.9),
        plan=EAGER,
        mesh=mesh,
    )


def run(folder: str, cut: int | None = None) -> list[str]:
    """Begin a run or go on with it, and stop after so many values, on this rank of several."""
    with started() as mesh:
        one = comparison(mesh)
        training = one.run(folder, checkpoint_minutes=RARELY)
        for number, _ in enumerate(training):
            if number == cut:
                break
        training.close()
        return one.notes + one.troubles


def cut_and_refused(folder: str) -> list[list[str]]:
    """On four ranks: a run that is stopped, and one in the same folder of another question."""
    with started() as mesh:
        one = comparison(mesh)
        training = one.run(folder, checkpoint_minutes=RARELY)
        for number, _ in enumerate(training):
            if number == CUT:
                break
        training.close()
        two = Comparison(Wide, Narrow, ALL, vectors(), seeds=range(4), plan=EAGER, mesh=mesh)
        try:
            two.run(folder)
        except ValueError as error:
            return [one.troubles, [str(error)]]
        return [one.troubles, []]


def run_to_full_disk(folder: str) -> list[list[str]]:
    """A run to its end, on a disk that takes no students of the first method."""

    def full(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name.endswith("s-ce.safetensors"):  # and no averages
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, *arguments, **options)

    write = checkpoint.write
    checkpoint.write = full  # pyright: ignore[reportPrivateImportUsage]
    with started() as mesh:
        one = comparison(mesh)
        for _ in one.run(folder, checkpoint_minutes=RARELY):
            pass
        return [one.unwritten, sorted(map(str, one._run.spared))]


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The folder of a run on four processes that was stopped, and what they were told."""
    folder = tmp_path_factory.mktemp("four") / "run"
    return folder, launched(cut_and_refused, 4, str(folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run on one process in one go."""
    folder = tmp_path_factory.mktemp("one") / "run"
    run(str(folder))
    return folder


def assert_ended_as(whole: Path, folder: Path) -> None:
    one, other = Results.read(whole), Results.read(folder)
    assert one.complete and other.resumed == 1 and measured(one) == measured(other)
    assert one.seeds == 4
    assert students(whole).keys() == students(folder).keys()
    assert all(torch.equal(x, students(folder)[name]) for name, x in students(whole).items())
    assert not [*folder.glob("checkpoint-*"), *folder.glob(".*.fkd-partial")]


def test_four_processes_write_one_moment_and_refuse_another_run_together(cut):
    folder, told = cut
    for troubles, refused in told:
        assert troubles == [] and "is another: config.methods" not in refused[0]
        assert "folder: the run in" in refused[0] and "is another" in refused[0]
    [moment] = whole_moments(folder)
    assert moment.parts == 4
    owners = [{key[:7] for key in checkpoint.read(path)} for path in moment.paths(folder)]
    numbers = [[0, 1], [2, 3], [4], [5]]
    assert owners == [{f"ce.{k:04d}" for k in own} for own in numbers]


def test_one_process_goes_on_with_it(cut, whole, tmp_path):
    folder = Path(shutil.copytree(cut[0], tmp_path / "run"))
    assert any("Going on with the run" in note for note in run(str(folder)))
    assert_ended_as(whole, folder)


def test_students_that_two_processes_could_not_write_one_process_writes(whole, tmp_path):
    told = launched(run_to_full_disk, 2, str(tmp_path / "run"))
    assert told[0] == told[1] and told[0][0] == ["students-ce.safetensors"]
    assert [one.parts for one in whole_moments(tmp_path / "run")] == [1, 2]  # of two rounds
    notes = run(str(tmp_path / "run"))
    assert sum(note.count("ce: ended, and to be written") for note in notes) == 2
    one, other = Results.read(whole), Results.read(tmp_path / "run")
    assert other.resumed == 0 and measured(one) == measured(other)
    back, like = students(tmp_path / "run"), students(whole)
    assert back.keys() == like.keys() and all(torch.equal(x, like[k]) for k, x in back.items())
    assert not [*(tmp_path / "run").glob("checkpoint-*"), *(tmp_path / "run").glob(".*-partial")]


def test_two_processes_go_on_with_it(cut, whole, tmp_path):
    folder = Path(shutil.copytree(cut[0], tmp_path / "run"))
    told = launched(run, 2, str(folder))
    assert all(any("Going on with the run" in note for note in notes) for notes in told)
    assert_ended_as(whole, folder)
