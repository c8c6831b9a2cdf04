"""Which stages there are, in order of worth: what is asked of each on a GPU, and in a rehearsal."""

import shlex
from pathlib import Path
from typing import NamedTuple

from benchmarks.rehearsal.stage import Stage

NO_IMAGES = "no images were given; --root takes a folder of them, or an archive of one"
LADDER = "--device cuda --parts steps floor --groups fkd --members 1 8 32 128 --rounds 3"
RIVALS = "--device cuda --parts steps --members 8 32 128 --jax-members 1 8 32 --rounds 3"
FEW = "--parts steps --members 2 --jax-members 1 --rounds 1 --precisions fp32 --no-compile"
TABLE = "--methods ce kd cosine hint --dataset folder"
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


PLAN = (
    Planned(
        "suite",
        "benchmarks.rehearsal.suite",
        90,
        "--only 'gpu or captur or candidate'",
        "--only captured",
    ),
    Planned(
        "correctness",
        "benchmarks.rehearsal.correctness",
        150,
        "--device cuda",
        "--methods kd --members 2 --batch 4 --steps 2 --processes 1 --no-compile",
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
        "table-fp32",
        "fkd.compare",
        200,
        f"{TABLE} --device cuda --seeds 8",
        TABLE_OF_FEW,
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
        "ladder-fp32",
        "benchmarks.speed",
        120,
        f"{LADDER} --precisions fp32",
        f"{FEW} --groups fkd",
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
        "convolutions",
        "benchmarks.convolutions",
        150,
        "--device cuda --members 8 32 128 --precisions bf16 fp32 --rounds 5",
        "--members 2 --precisions fp32 --batch 2 --rounds 1",
    ),
    Planned(
        "kernels",
        "benchmarks.rehearsal.kernels",
        90,
        "--device cuda --members 32 --precision bf16",
        "--members 2 --precision fp32 --steps 2 --no-compile",
    ),
    Planned(
        "memory",
        "benchmarks.rehearsal.memory",
        150,
        "--device cuda --precisions bf16 --at-once 5",
        "--members 1 2 --precisions fp32 --compile none --at-once 2",
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


def stages(folder: Path, rehearse: bool, archive: Path | None, images: Path | None) -> list[Stage]:
    """The stages, each of which writes into a folder of its own in `folder`.

    Those that need images read them from `images`, and are left out without. An `archive` of them
    is unpacked there first, with what Python brings along.
    """
    every = []
    if archive is not None:
        unpack = ("-m", "tarfile", "--extract", str(archive), str(images))
        every.append(Stage("images", unpack, 60.0))
    for planned in PLAN:
        options = shlex.split(planned.rehearsed if rehearse else planned.measured)
        arguments = ["-m", planned.module, *options, "--output", str(folder / planned.name)]
        missing = ""
        if planned.needs_images and images is None:
            missing = NO_IMAGES
        elif planned.needs_images:
            arguments += ["--root", str(images)]
        every.append(Stage(planned.name, tuple(arguments), planned.seconds, missing))
    return every
