"""Which stages there are, in order of worth: what is asked of each on a GPU, and in a rehearsal."""

import math
import shlex
from pathlib import Path
from typing import NamedTuple

from benchmarks.rehearsal.stage import Stage

METHODS = ("ce", "kd", "cosine", "hint")  # the tutorial's
NO_IMAGES = "no images were given; --root takes a folder of them, or an archive of one"
LADDER = "--device cuda --parts steps floor --groups fkd --members 1 8 32 128 --rounds 3"
RIVALS = "--device cuda --parts steps --members 32 --jax-members 1 32 --rounds 3"
FEW = (
    "--parts steps --members 2 --jax-members 1 --rounds 1 --seconds 0.01 --precisions fp32 "
    "--no-compile"
)
TABLE = f"--methods {' '.join(METHODS)} --dataset folder"
COMPILED = "--data benchmarks.rehearsal.noise:build --device cuda --teacher-epochs 1 --epochs 1"
COMPILED_FEW = "--device cpu --teacher-epochs 1 --epochs 1 --seeds 1 --no-compile"
TABLE_OF_FEW = f"{TABLE} --device cpu --seeds 2 --epochs 1 --batch-size 4 --no-compile"


class Planned(NamedTuple):
    """A module with a command line, its limit in seconds, and its options on a GPU and rehearsed
    on the CPU with everything shrunk."""

    name: str
    module: str
    seconds: float
    measured: str
    rehearsed: str
    needs_images: bool = False
    timed: bool = True


PLAN = (
    Planned(
        "images",
        "benchmarks.rehearsal.images",
        90,
        "",
        "",
        needs_images=True,
        timed=False,
    ),
    Planned(
        "suite",
        "benchmarks.rehearsal.suite",
        90,
        "--only 'gpu or captur or candidate'",
        "--only captured",
        timed=False,
    ),
    Planned(
        "correctness",
        "benchmarks.rehearsal.correctness",
        90,
        "--device cuda --processes 8",
        "--methods kd --members 2 --batch 4 --steps 2 --processes 1 --no-compile",
        timed=False,
    ),
    # The steps of the table are the same on any images: so they are compiled beside the rest.
    *(
        Planned(
            f"compile-{method}",
            "fkd.compare",
            90,
            f"{COMPILED} --methods {method} --seeds 32 --precision bf16",
            f"{COMPILED_FEW} --methods {method}",
            timed=False,
        )
        for method in METHODS
    ),
    Planned(
        "table-bf16",
        "fkd.compare",
        240,
        f"{TABLE} --device cuda --seeds 32 --precision bf16",
        f"{TABLE_OF_FEW} --precision bf16",
        needs_images=True,
    ),
    Planned(
        "ladder-bf16",
        "benchmarks.speed",
        120,
        f"{LADDER} --precisions bf16",
        f"{FEW} --groups fkd",
    ),
    Planned(
        "kernels",
        "benchmarks.rehearsal.kernels",
        90,
        "--device cuda --members 32 --precision bf16",
        "--members 2 --precision fp32 --steps 2 --no-compile",
    ),
    Planned(
        "convolutions",
        "benchmarks.convolutions",
        150,
        "--device cuda --members 8 32 --precisions bf16 --rounds 3",
        "--members 2 --precisions fp32 --batch 2 --rounds 1",
    ),
    Planned(
        "networks",
        "benchmarks.networks",
        240,
        "--device cuda --members 8 32 --precision bf16 --augment --rounds 3 --seconds 1",
        "--networks resnet8 --members 2 --batch-size 4 --augment --rounds 1 --seconds 0.05 "
        "--no-compile",
    ),
    Planned(
        "table-fp32",
        "fkd.compare",
        200,
        f"{TABLE} --device cuda --seeds 8",
        TABLE_OF_FEW,
        needs_images=True,
    ),
    Planned(
        "fused-by-hand",
        "benchmarks.speed",
        90,
        f"{RIVALS} --groups hfta --precisions bf16 fp32",
        f"{FEW} --groups hfta",
    ),
    Planned(
        "jax",
        "benchmarks.speed",
        120,
        f"{RIVALS} --groups jax --precisions bf16 fp32",
        f"{FEW} --groups jax",
    ),
    Planned(
        "memory",
        "benchmarks.rehearsal.memory",
        150,
        "--device cuda --precisions bf16 --at-once 5",
        "--members 1 2 --precisions fp32 --compile none --at-once 2",
    ),
    Planned(
        "ladder-fp32",
        "benchmarks.speed",
        120,
        f"{LADDER} --precisions fp32",
        f"{FEW} --groups fkd",
    ),
    Planned(
        "losses",
        "benchmarks.losses",
        90,
        "--device cuda --rounds 3",
        "--losses kl_divergence --rounds 1",
    ),
    Planned(
        "ladder-tf32",
        "benchmarks.speed",
        120,
        f"{LADDER} --precisions tf32",
        f"{FEW} --groups fkd",
    ),
    Planned(
        "live-teacher",
        "benchmarks.speed",
        90,
        f"{RIVALS} --groups live",
        f"{FEW} --groups live",
    ),
)


def stages(folder: Path, rehearse: bool, root: Path | None, images: Path | None) -> list[Stage]:
    """The stages, each of which writes into a folder of its own in `folder`.

    `root` is a folder of images or an archive of one, which the first stage unpacks into `images`.
    Where there is none, the stages that need it are left out.
    """
    every = []
    for planned in PLAN:
        options = shlex.split(planned.rehearsed if rehearse else planned.measured)
        arguments = ["-m", planned.module, *options]
        missing = ""
        if planned.needs_images and images is None:
            missing = NO_IMAGES
        elif planned.name == "images":
            arguments += ["--root", str(root), "--into", str(images)]
        elif planned.needs_images:
            arguments += ["--root", str(images)]
        arguments += ["--output", str(folder / planned.name)]
        # How long a CPU takes is no matter.
        seconds = math.inf if rehearse else planned.seconds
        every.append(Stage(planned.name, tuple(arguments), seconds, missing, planned.timed))
    return every
