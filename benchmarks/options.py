"""The command line of compare_methods.py, refused here where it makes no sense."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sweep
import torch

from fkd import _check, datasets
from fkd.ensemble import Layout, Order
from fkd.methods import METHODS
from fkd.train import STEPS_PER_GRAPH

# The dtype of each; tf32 is how a GPU multiplies numbers of float32.
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Config:
    """What was asked, refused here where it makes no sense."""

    dataset: str
    root: str | None
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    batch_size: int
    lr: float
    teacher: str
    device: str
    precision: str
    compile: bool
    layout: Layout
    chunk: int | None
    graph: int
    teacher_memory: float
    order: Order
    sweep: dict[str, tuple[float, ...]]
    validation: float
    output: str | None

    def __post_init__(self) -> None:
        _check.known("--dataset", "data set", self.dataset, datasets.DATASETS)
        for method in self.methods:
            _check.known("--methods", "method", method, [*METHODS, "all"])
        if "all" in self.methods:
            object.__setattr__(self, "methods", tuple(METHODS))
        for name, values in (("--methods", self.methods), ("--seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: each is to be named once, but {values} repeats one")
        _check.positive("--epochs", epochs=self.epochs)
        _check.positive("--batch-size", batch_size=self.batch_size)
        _check.positive("--lr", lr=self.lr)
        _check.known("--device", "device", self.device, ("auto", "cpu", "cuda"))
        _check.known("--precision", "precision", self.precision, PRECISIONS)
        _check.known("--layout", "layout", self.layout, ("auto", "vmap", "loop"))
        if self.chunk is not None:
            _check.positive("--chunk", chunk=self.chunk)
        _check.not_negative("--graph", graph=self.graph)
        _check.not_negative("--teacher-memory", teacher_memory=self.teacher_memory)
        _check.known("--order", "order", self.order, ("shared", "own"))
        if not 0 < self.validation < 1:
            raise ValueError(
                "--validation: it is a share of the training set between 0 and 1, both excluded, "
                f"but it is {self.validation}"
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "--device: cuda was asked for, but torch finds no GPU; use cpu or auto"
            )
        on_cpu = self.device == "cpu" or (self.device == "auto" and not torch.cuda.is_available())
        if on_cpu and self.precision not in precisions("cpu"):
            raise ValueError(
                f"--precision: {self.precision} is for a GPU, and this runs on the CPU; "
                f"choose from {', '.join(precisions('cpu'))}"
            )
        if self.teacher != "train" and not Path(self.teacher).is_file():
            raise ValueError(
                f"--teacher: there is no file {self.teacher}; give `train` or a checkpoint's path"
            )


def precisions(device: str) -> list[str]:
    """Those that a device, "cpu" or "cuda", computes in."""
    return [name for name in PRECISIONS if device == "cuda" or name != "tf32"]


def multiply_in(precision: str) -> None:
    """Let a GPU round the factors of float32 to TensorFloat-32 or not, in the whole process."""
    # The newer `fp32_precision` cannot be read back through these, which the compiler reads.
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def parse(arguments: Sequence[str] | None = None) -> Config:
    """The command line as a `Config`; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        description="Compare distillation methods over many seeds.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", default="digits", help=f"one of {', '.join(datasets.DATASETS)}")
    add("--root", help="the folder of images, or where downloads are kept (default: a cache)")
    add(
        "--methods",
        nargs="+",
        default=["ce", "kd", "cosine", "hint"],
        help=f"all, or some of {' '.join(METHODS)}",
    )
    add("--seeds", default="8", help="how many (8), or which (3,5,8)")
    add("--epochs", type=int, default=10, help="of the teacher too, if it is trained")
    add("--batch-size", type=int, default=128)
    add("--lr", type=float, default=1e-3, help="Adam's learning rate")
    add("--teacher", default="train", help="`train`, or the path of a DeepNN's state_dict")
    add("--device", default="auto", help="auto, cpu or cuda")
    add(
        "--precision",
        default="fp32",
        help="what students and teacher compute in: fp32, bf16, or on a GPU tf32",
    )
    add("--layout", default="auto", help="how members lie on the device: auto, vmap or loop")
    add("--chunk", type=int, help="how many members vmap takes at once (default: all)")
    add(
        "--graph", type=int, default=STEPS_PER_GRAPH, help="steps a CUDA graph holds, or 0 for none"
    )
    add(
        "--teacher-memory",
        type=float,
        default=4.0,
        metavar="GIB",
        help="the teacher's outputs are kept where they fit; else it is asked about each batch",
    )
    add("--order", default="shared", help="whether members share their batches: shared or own")
    add("--no-compile", dest="compile", action="store_false", help="run without torch.compile")
    add(
        "--sweep",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE,VALUE",
        help="train every setting of these, such as lr=3e-4,1e-3 kd.temperature=1,4, and report "
        "each method's best on a validation split",
    )
    add("--validation", type=float, default=0.2, help="the share of the training set for --sweep")
    add("--output", help="a new folder for the results (default: runs/DATASET-DATE)")
    given = vars(parser.parse_args(arguments))
    given["methods"] = tuple(given["methods"])
    given["seeds"] = parse_seeds(given["seeds"])
    given["sweep"] = sweep.parse(given["sweep"])
    return Config(**given)


def parse_seeds(text: str) -> tuple[int, ...]:
    """`8` as the seeds 0 to 7, `3,5,8` as those three, `3,` as that one."""
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = ()
    seeds = numbers if "," in text else tuple(range(sum(numbers)))
    if not seeds or min(numbers) < 0:
        raise ValueError(
            f"--seeds: it takes a count above zero (8) or a list of seeds (3,5,8), but got {text!r}"
        )
    return seeds
