"""The command line in a folder that a run has: it goes on, says what is there, or is refused."""

import errno
import os
import signal
from pathlib import Path

import pytest
from compare.small_images import run, tiny

from fkd import checkpoint
from fkd.compare import Results, command

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_a_second_run_does_not_overwrite_the_first(images, teacher, capsys):
    arguments = tiny(images, teacher, "--methods", "ce", "--epochs", "1", "--output", "out")
    assert command.main(arguments) == 0
    first = Path("out/results.json").read_bytes()
    # The same command says what is there; another is refused with the difference.
    curves = Results.read("out").methods["ce"].curves
    assert command.main(arguments) == 0
    assert "ce: ended" in capsys.readouterr().out
    assert Results.read("out").methods["ce"].curves == curves
    first = Path("out/results.json").read_bytes()
    assert command.main([*arguments, "--epochs", "2"]) == 2
    assert "the run has --epochs 1, and now --epochs 2 is asked for" in capsys.readouterr().err
    assert Path("out/results.json").read_bytes() == first
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    assert command.main([*arguments[:-1], "mine"]) == 2
    assert "--output: mine is not empty and holds no run" in capsys.readouterr().err
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


def test_a_run_that_torchrun_may_start_again_needs_a_folder_to_find_again(monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert command.main(["--dataset", "digits"]) == 2
    assert "compare: --output: torchrun may start this run again" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.plain
def test_students_that_a_full_disk_could_not_take_are_written_later(
    images, teacher, monkeypatch, capsys
):
    def full(path, *arguments, **options):
        if path.name == "students-kd.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, *arguments, **options)

    write = checkpoint.write
    arguments = [*tiny(images, teacher, "--methods", "ce", "kd"), "--output", "out"]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", full)
        assert command.main(arguments) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "students-kd.safetensors cannot be written: [Errno 28] No space left" in told
    assert "out/students-kd.safetensors is not written: what it was to hold stays in" in told
    assert "as by room on the disk, and: python -m fkd.compare --resume out" in told
    assert len(list(Path("out").glob("checkpoint-*"))) == 1
    assert not Path("out/students-kd.safetensors").exists()
    before = Results.read("out")
    assert before.complete
    assert command.main(["--resume", "out"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "kd: ended, and to be written from a checkpoint" in told
    assert checkpoint.members("out/students-kd.safetensors") == [0, 1]
    assert not list(Path("out").glob("checkpoint-*"))
    after = Results.read("out")
    assert after.methods == before.methods and after.resumed == 0  # none was trained again


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code", "flag"),
    [("SIGINT", 130, "--resume"), ("SIGTERM", 143, "--output"), ("SIGHUP", 129, "--resume")],
)
def test_a_run_that_a_signal_stops_goes_on(name, code, flag, images, teacher, monkeypatch, capsys):
    arguments = [*tiny(images, teacher, "--methods", "ce", "kd"), "--output", "out"]
    whole = run(*arguments[:-2]).rename("whole")
    real = command.Comparison.run

    def stopped(self, *places, **options):
        training = real(self, *places, **options)
        try:
            for number, progress in enumerate(training):
                if number == 5:  # inside an epoch of the first method
                    os.kill(os.getpid(), getattr(signal, name))
                yield progress
        finally:
            training.close()

    monkeypatch.setattr(command.Comparison, "run", stopped)
    assert command.main(arguments) == code
    told = capsys.readouterr().err
    assert f"stopped by {name}; to go on: python -m fkd.compare --resume out" in told
    assert len(list(Path("out").glob("checkpoint-*-1-of-1.safetensors"))) == 1
    monkeypatch.setattr(command.Comparison, "run", real)
    assert command.main(["--resume", "out"] if flag == "--resume" else arguments) == 0
    assert "Going on with the run in out" in capsys.readouterr().out
    one, other = Results.read("out"), Results.read(whole)
    assert one.complete and one.resumed == 1
    for method in ("ce", "kd"):
        assert one.methods[method].curves == other.methods[method].curves
