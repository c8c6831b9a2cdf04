"""The command line: every stage in turn, and what each came to."""

import argparse
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from benchmarks._output import new_folder
from benchmarks.rehearsal import stage, summary
from benchmarks.rehearsal.stage import Outcome
from benchmarks.rehearsal.stages import PLAN, stages
from fkd import _check


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    names = [planned.name for planned in PLAN]
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu.py",
        description="All that is measured on a GPU, stage by stage in order of worth.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="that all may take together")
    parser.add_argument(
        "--root",
        help="a folder of images, ROOT/train/<class>/* and ROOT/test/<class>/*, or an archive of "
        "train and test",
    )
    parser.add_argument(
        "--stages",
        nargs="+",
        default=names,
        choices=names,
        metavar="NAME",
        help="some of them, run in the order of worth",
    )
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, with everything shrunk"
    )
    parser.add_argument("--output", help="a new folder for the results (default: runs/gpu-DATE)")
    parser.add_argument(
        "--cache",
        type=Path,
        help="a folder that keeps for another call what was unpacked, decoded and compiled",
    )
    parser.add_argument(
        "--archive", type=Path, help="a .tar.gz of the results without weights, after each stage"
    )
    values = parser.parse_args(arguments)
    _check.positive("--minutes", minutes=values.minutes)
    if not values.rehearse and not torch.cuda.is_available():
        raise ValueError("gpu: torch finds no GPU here; use --rehearse to try all on the CPU")
    if values.root is not None and not Path(values.root).exists():
        raise ValueError(
            f"--root: there is no {values.root}; give a folder of images or an archive"
        )
    return values


def pack(folder: Path, archive: Path) -> None:
    """All files but the students' and teachers' weights in one, whole or as it was before."""
    part = archive.with_name(f"{archive.name}.part")
    with tarfile.open(part, "w:gz") as packed:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.suffix != ".safetensors":
                packed.add(file, file.relative_to(folder))
    part.replace(archive)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages; return 0 where all were done, 1 where one was not, 2 where it was refused."""
    console, errors = Console(), Console(stderr=True, style="bold red", soft_wrap=True)
    try:
        values = parse(arguments)
        folder = new_folder(values.output, "gpu").absolute()
    except ValueError as error:
        errors.print(str(error), markup=False)
        return 2
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:
        cache = Path(own if values.cache is None else values.cache).absolute()
        root = Path(values.root).absolute() if values.root else None
        images = cache / "images" if root and root.is_file() else root
        every = [
            one
            for one in stages(folder, values.rehearse, root, images)
            if one.name in values.stages
        ]
        # What was compiled or decoded for one stage is there for the next.
        os.environ.setdefault("FKD_CACHE", str(cache / "fkd"))
        outcomes: list[Outcome] = []
        for outcome in stage.run(every, folder, 60.0 * values.minutes):
            outcomes.append(outcome)
            why = f": {outcome.why}" if outcome.why else ""
            told = f"{outcome.name}: {outcome.ended}, {outcome.seconds:.0f} s{why}"
            console.print(told, markup=False, soft_wrap=True, highlight=False)
            if outcome.ended in ("failed", "out of time"):
                lines = stage.tail(folder / f"{outcome.name}.log")
                console.print("\n".join(lines), markup=False, soft_wrap=True, highlight=False)
            try:
                summary.write(folder, outcomes, values.minutes, values.rehearse)
                if values.archive is not None:
                    pack(folder, values.archive)
            except Exception as error:  # what is told is no reason to measure nothing more
                errors.print(f"summary: {type(error).__name__}: {error}", markup=False)
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0 if all(outcome.ended == "done" for outcome in outcomes) else 1
