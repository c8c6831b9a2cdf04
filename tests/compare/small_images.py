"""Whole runs of the command line on a few images."""

from pathlib import Path

from fkd.compare import command


def tiny(images: Path, teacher: Path | str, *more: str) -> list[str]:
    base = ["--dataset", "folder", "--root", str(images), "--teacher", str(teacher)]
    return [*base, "--epochs", "2", "--batch-size", "10", "--seeds", "3,5", "--no-compile", *more]


def run(*arguments: str) -> Path:
    assert command.main([*arguments, "--output", "out"]) == 0
    return Path("out")
