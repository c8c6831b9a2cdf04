"""What the command line's kinds of several teachers have in common: refused, stopped, gone on."""

import os
import signal
from pathlib import Path

import pytest

from fkd.compare import command


def tiny(images: Path, *more: str) -> list[str]:
    base = ["--dataset", "folder", "--root", str(images), "--batch-size", "10", "--epochs", "1"]
    return [*base, "--no-compile", "--methods", "ce", "kd", *more]


def refused(
    arguments: str, message: str, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says so, and leaves nothing; {} among its arguments is the teacher's file."""
    asked = [word.format(teacher) for word in arguments.split()]
    assert command.main([*asked, "--output", "out"]) == 2
    assert f"compare: {message}" in " ".join(capsys.readouterr().err.split())
    assert not Path("out").exists()


def stopped(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM stops the command at kd's first step with the second teacher, and it says how to go
    on with the folder `out`."""
    real, runs = command.Comparison.run, []

    def run(self, *places, **options):
        training = real(self, *places, **options)
        runs.append(places[0])
        try:
            for progress in training:
                yield progress
                if len(runs) == 2 and progress.what.startswith("kd") and progress.step == 1:
                    os.kill(os.getpid(), signal.SIGTERM)
        finally:
            training.close()

    with monkeypatch.context() as patch:
        patch.setattr(command.Comparison, "run", run)
        assert command.main([*arguments, "--output", "out"]) == 143
    told = " ".join(capsys.readouterr().err.split())
    assert "stopped by SIGTERM; to go on: python -m fkd.compare --resume out" in told
