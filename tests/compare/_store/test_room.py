"""The room that a run takes on its disk, to the byte, and what is free there."""

import os
import shutil
from types import SimpleNamespace

import pytest
from compare._store.test_keep import RARELY, comparison
from compare.small_comparisons import trained_elsewhere

from fkd import checkpoint, optim
from fkd.compare import Comparison
from fkd.compare._job.standing import Standing
from fkd.compare._store.room import free_room, room_of
from fkd.optim import averaged

NARROW = 4 * (4 * 8 + 8 + 8 * 2 + 2)  # the bytes of a student's parameters
WIDE = 4 * (4 * 16 + 16 + 16 * 2 + 2)
ANSWERS = 5  # of thirty examples in base64, six a byte
# Adam's two averages, beside the parameters; then the steps that were taken, and the rate.
ADAM = 3 * NARROW


def bytes_of(path) -> int:
    return sum(tensor.nbytes for tensor in checkpoint.read(path).values())


def test_what_is_to_be_written_by_hand(tmp_path):
    room = room_of(comparison()._run, tmp_path)
    assert room.results == 4 * (NARROW + ANSWERS) + WIDE and room.more == 0  # 2 methods, 2 seeds
    assert 2 * 2 * ADAM < room.checkpoints < 2 * 2 * (ADAM + 100)
    given = comparison(teacher_state=trained_elsewhere(), resolution=0.1, max_seeds=10)
    room = room_of(given._run, tmp_path)
    assert room.results == 4 * (NARROW + ANSWERS) and room.more == 16 * (NARROW + ANSWERS)
    averages = comparison(optimizer=averaged(optim.adam(0.01)), teacher_state=trained_elsewhere())
    assert room_of(averages._run, tmp_path).results == 4 * (2 * NARROW + ANSWERS)
    live = comparison(teacher_state=trained_elsewhere(), teacher_memory=0.0, order="shared")
    room = room_of(live._run, tmp_path)  # both methods side by side
    assert 2 * 4 * ADAM < room.checkpoints < 2 * 4 * (ADAM + 100)


@pytest.mark.parametrize("optimizer", [optim.adam(0.01), averaged(optim.adam(0.01))])
def test_it_is_what_a_run_writes_and_what_is_there_is_not_written_again(optimizer, tmp_path):
    made, checkpoints = comparison(optimizer=optimizer), []
    room = room_of(made._run, tmp_path / "run")
    for progress in made.run(tmp_path / "run", checkpoint_minutes=RARELY):
        if isinstance(progress.standing, Standing):
            tensors, _ = progress.standing.taken()
            checkpoints.append(sum(x.nbytes for x in tensors.values()))
    files = [*(tmp_path / "run").glob("*.safetensors")]
    written = sum(map(bytes_of, files)) + 4 * ANSWERS
    assert room.results == written
    # Beside the states there are the sums of an epoch's metrics, and the step of a divergence.
    assert 0 <= 2 * max(checkpoints) - room.checkpoints <= 2 * 2 * 100
    again = comparison(optimizer=optimizer)
    assert room_of(again._run, tmp_path / "run").results == 0


def on_a_disk(monkeypatch: pytest.MonkeyPatch, free: int, total: int = 10**9) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free, total=total))


def test_less_room_than_results_take_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    made = comparison()
    room = room_of(made._run, tmp_path)
    on_a_disk(monkeypatch, room.results - 1)
    with pytest.raises(ValueError, match=r"^folder: .*/run is to hold .* GiB are free there; make"):
        made.run(tmp_path / "run")
    assert not os.listdir(tmp_path)
    on_a_disk(monkeypatch, room.results + room.checkpoints - 1)
    made = comparison()
    assert not any("nearly full" in note for note in made.notes)
    made.run(tmp_path / "run").close()
    assert "The disk is nearly full: " in made.notes[-1] and "of checkpoints as" in made.notes[-1]


def test_enough_room_is_not_told_of(tmp_path, monkeypatch):
    made: Comparison = comparison()
    on_a_disk(monkeypatch, sum(room_of(made._run, tmp_path)))
    made.run(tmp_path / "run").close()
    assert not any("full" in note for note in made.notes)


def test_what_the_system_does_not_tell_is_no_limit(tmp_path, monkeypatch):
    assert 0 <= free_room(tmp_path / "not" / "there") <= shutil.disk_usage(tmp_path).total
    on_a_disk(monkeypatch, 0, total=0)
    assert free_room(tmp_path) == float("inf")

    def unknown(place):
        raise OSError("not here")

    monkeypatch.setattr(shutil, "disk_usage", unknown)
    assert free_room(tmp_path) == float("inf")
