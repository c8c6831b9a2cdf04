"""Which stages there are, in order of worth: what is asked of each on a GPU, and in a rehearsal.

First comes what no GPU has measured yet, or not with this code. The seconds beside each stage are
what it took on an H100 or an H200 with 16 cores. A step of 32 LightNNs was compiled there in 25 to
30 s beside three others and in 10 to 15 s alone; one core should take 60, and a step of ResNet-20
took 88 on all. A process that imports torch and finds the GPU takes 10 s. A stage's limit is a
little more than its seconds. What a stage leaves of its time goes to those behind it.
"""

import math
import shlex
from pathlib import Path
from typing import NamedTuple

from benchmarks.rehearsal.stage import Stage

METHODS = ("ce", "kd", "cosine", "hint")  # the tutorial's
NO_IMAGES = "no images were given; --root takes a folder of them, or an archive of one"
LADDER = "--device cuda --parts steps floor --groups fkd --members 1 8 32 128 --rounds 3"
RIVALS = "--device cuda --parts steps --members 32 --rounds 3"
FEW = (
    "--parts steps --members 2 --jax-members 1 --rounds 1 --seconds 0.01 --precisions fp32 "
    "--no-compile"
)
TABLE = f"--methods {' '.join(METHODS)} --dataset folder"
TABLE_OF_FEW = f"{TABLE} --device cpu --seeds 2 --epochs 1 --batch-size 4 --no-compile"
# What no GPU has measured yet, in whole or with this code: the first stages, to be had in two calls
# where a GPU is lent for a quarter of an hour. The limits of each come to so many minutes.
UNMEASURED = {
    9: ("suite", "images", "table-bf16", "table-again", "networks"),
    4: ("fused-by-hand", "table-fp32"),
}


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
    # 116 s: each race of the convolutions 20, and tests of one shape in Triton 1 to 8 each; since
    # then two more blocks are compiled.
    Planned(
        "suite",
        "benchmarks.rehearsal.suite",
        155,
        "--only 'execution or gpu or captur or candidate'",
        "--only captured",
        timed=False,
    ),
    # 52 to 59 s beside others, most of it 60,000 JPEGs.
    Planned(
        "images",
        "benchmarks.rehearsal.images",
        90,
        "",
        "",
        needs_images=True,
        timed=False,
    ),
    # 84 s with an order for each seed, of which the first steps took 33: their kernels had been
    # compiled before, but in graphs of other batches. Where nothing had been, 48.
    Planned(
        "table-bf16",
        "benchmarks.rehearsal.parts",
        140,
        f"{TABLE} --device cuda --seeds 32 --precision bf16",
        f"{TABLE_OF_FEW} --precision bf16",
        needs_images=True,
    ),
    # The same once more, to find all that was compiled and tuned: 65 s by what the parts come to.
    Planned(
        "table-again",
        "benchmarks.rehearsal.parts",
        90,
        f"{TABLE} --device cuda --seeds 32 --precision bf16",
        f"{TABLE_OF_FEW} --precision bf16",
        needs_images=True,
    ),
    # 88 s to the first step of 32 students, most of it one graph; of 8 what is compiled has never
    # come to its end, and what is not is known.
    Planned(
        "networks",
        "benchmarks.networks",
        150,
        "--device cuda --members 8 --precision bf16 --augment --rounds 3 --seconds 0.5 --no-eager",
        "--networks resnet8 --members 2 --batch-size 4 --augment --rounds 1 --seconds 0.05 "
        "--no-compile",
    ),
    Planned(
        "fused-by-hand",
        "benchmarks.speed",
        70,
        f"{RIVALS} --groups hfta --precisions bf16 fp32",
        f"{FEW} --groups hfta",
    ),
    # 75 s of steps as measured without the compiler, 20 for the teacher, 50 for four graphs.
    Planned(
        "table-fp32",
        "benchmarks.rehearsal.parts",
        170,
        f"{TABLE} --device cuda --seeds 8",
        TABLE_OF_FEW,
        needs_images=True,
    ),
    # What follows is measured already, or answers less.
    # 86 s for three graphs.
    Planned(
        "kernels",
        "benchmarks.rehearsal.kernels",
        100,
        "--device cuda --members 32 --precision bf16",
        "--members 1 --precision fp32 --steps 1 --no-compile",
    ),
    # 70 s: as measured in bf16, 28 of them four graphs at once.
    Planned(
        "ladder-fp32",
        "benchmarks.speed",
        100,
        f"{LADDER} --precisions fp32",
        f"{FEW} --groups fkd",
    ),
    Planned(
        "ladder-bf16",
        "benchmarks.speed",
        100,
        f"{LADDER} --precisions bf16",
        f"{FEW} --groups fkd",
    ),
    # 67 s by eight processes.
    Planned(
        "correctness",
        "benchmarks.rehearsal.correctness",
        100,
        "--device cuda --processes 8",
        "--methods kd --members 2 --batch 4 --steps 2 --processes 1 --no-compile",
        timed=False,
    ),
    # 42 s.
    Planned(
        "jax",
        "benchmarks.speed",
        60,
        f"{RIVALS} --groups jax --precisions bf16 --jax-members 32 1",
        f"{FEW} --groups jax",
    ),
    # 32 s: nothing is compiled. A compiled step's peaks are told by the ladders.
    Planned(
        "memory",
        "benchmarks.rehearsal.memory",
        40,
        "--device cuda --precisions bf16 --compile none --at-once 5",
        "--members 1 2 --precisions fp32 --compile none --at-once 2",
    ),
    Planned(
        "live-teacher",
        "benchmarks.speed",
        90,
        f"{RIVALS} --groups live",
        f"{FEW} --groups live",
    ),
    Planned(
        "convolutions",
        "benchmarks.convolutions",
        150,
        "--device cuda --members 8 32 --precisions bf16 --rounds 3",
        "--members 2 --precisions fp32 --batch 2 --rounds 1",
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
        100,
        f"{LADDER} --precisions tf32",
        f"{FEW} --groups fkd",
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
