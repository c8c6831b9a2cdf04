"""The saver: when a checkpoint is due, that it is written beside, and that no error stops it."""

import threading
from typing import Any, cast

import pytest
import torch

from fkd import checkpoint
from fkd.compare import _saver
from fkd.compare._saver import Saver
from fkd.compare._standing import Standing

pytestmark = pytest.mark.plain  # what stands for a standing is none
RARELY = 1e6  # minutes


class Stands:
    """What stands for a standing: its copy is its number."""

    def __init__(self, number: int):
        self.number = number

    def taken(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return {"x": torch.tensor(self.number)}, {"step": self.number}


def standing(number: int) -> Standing:
    return cast(Standing, Stands(number))


@pytest.fixture
def saver(tmp_path):
    saver = Saver(tmp_path / "checkpoint.safetensors", 2.0)
    yield saver
    saver.close()


def test_the_next_is_due_two_minutes_after_the_last(saver, monkeypatch):
    begin = saver._last
    monkeypatch.setattr(_saver.time, "monotonic", lambda: begin + 119.9)
    assert not saver.due
    monkeypatch.setattr(_saver.time, "monotonic", lambda: begin + 120.1)
    assert saver.due
    saver.save(standing(1))
    saver.wait()
    assert not saver.due
    monkeypatch.setattr(_saver.time, "monotonic", lambda: begin + 240.3)
    assert saver.due


def test_none_is_due_while_the_last_is_written(tmp_path, monkeypatch):
    saver = Saver(tmp_path / "checkpoint.safetensors", 1e-9)
    go_on, write = threading.Event(), checkpoint.write

    def slowly(*arguments):
        go_on.wait(60)
        write(*arguments)

    monkeypatch.setattr(checkpoint, "write", slowly)
    assert saver.due
    saver.save(standing(1))
    assert not saver.due and not saver.path.exists()
    go_on.set()
    saver.wait()
    assert saver.due and checkpoint.about(saver.path) == {"step": 1}
    saver.close()


def test_what_is_saved_is_the_last_and_is_removed_when_asked(saver):
    saver.remove()  # where there is none
    for number in (1, 2, 3):
        saver.save(standing(number))
    saver.wait()
    assert checkpoint.read(saver.path)["x"] == 3 and checkpoint.about(saver.path) == {"step": 3}
    saver.save(standing(4))
    saver.remove()
    assert list(saver.path.parent.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("dtype")])
def test_what_cannot_be_written_is_told_and_the_old_one_stays(error, saver, monkeypatch):
    saver.save(standing(1))
    saver.wait()

    def failing(*arguments):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", failing)
        saver.save(standing(2))
        saver.wait()
    assert saver.error is error and checkpoint.about(saver.path) == {"step": 1}
    saver.save(standing(3))
    saver.wait()
    assert saver.error is None and checkpoint.about(saver.path) == {"step": 3}


def test_a_mistake_of_ours_is_not_taken_for_a_full_disk(tmp_path, monkeypatch):
    def wrong(*arguments):
        raise KeyError("ours")

    saver = Saver(tmp_path / "checkpoint.safetensors", RARELY)
    monkeypatch.setattr(checkpoint, "write", wrong)
    saver.save(standing(1))
    with pytest.raises(KeyError, match="ours"):
        saver.wait()


def test_closing_waits_for_what_is_written(tmp_path):
    saver = Saver(tmp_path / "checkpoint.safetensors", RARELY)
    assert not saver.due
    saver.save(standing(7))
    saver.close()
    assert checkpoint.about(saver.path) == {"step": 7}
