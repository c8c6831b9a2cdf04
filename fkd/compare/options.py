"""The command line of a comparison, refused here where it makes no sense."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fkd import _check
from fkd._imported import imported
from fkd.data import datasets
from fkd.ensemble import Order
from fkd.execution import PRECISIONS, Compile, Layout, Plan
from fkd.methods import METHODS, Method, Term

BASELINE = "ce"
DEFAULT_METHODS = (BASELINE, "kd", "cosine", "hint")
COMPILE: dict[str, Compile] = {"auto": "auto", "yes": "step", "no": "none"}
# The library's arguments that have another name on the command line.
FLAGS = {"data": "--dataset", "plan": "--compile", "teacher_state": "--teacher"}

EXAMPLES = """\
examples:
  Four methods and eight seeds on scikit-learn's digits:
      %(prog)s

  On your own images, ROOT/train/<class>/* and ROOT/test/<class>/*:
      %(prog)s --dataset folder --root ROOT --methods ce kd hint --seeds 16

  With the same chance for each method, its best setting chosen on a validation split:
      %(prog)s --sweep lr=3e-4,1e-3,3e-3 kd.temperature=1,2,4,8

  A method of your own, a function `mine` in mypackage/mymodule.py that returns a Method:
      %(prog)s --methods ce kd mypackage.mymodule:mine
"""


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
    compile: Compile
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
        _check_once("--methods", [method_name(text) for text in self.methods])
        _check_once("--seeds", self.seeds)
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
        self._check_device()
        if self.teacher != "train" and not Path(self.teacher).is_file():
            raise ValueError(
                f"--teacher: there is no file {self.teacher}; give `train` or a checkpoint's path"
            )

    def _check_device(self) -> None:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "--device: cuda was asked for, but torch finds no GPU; use cpu or auto"
            )
        if self.precision == "tf32" and self.torch_device.type != "cuda":
            raise ValueError(
                "--precision: tf32 is for a GPU, and this runs on the CPU; choose fp32 or bf16"
            )

    @property
    def torch_device(self) -> torch.device:
        """The device that is meant."""
        cuda = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        return torch.device("cuda" if cuda else "cpu")

    @property
    def plan(self) -> Plan:
        """How members lie on the hardware."""
        return Plan(layout=self.layout, chunk=self.chunk, compile=self.compile, graph=self.graph)


def parse(arguments: Sequence[str] | None = None) -> Config:
    """The command line as a `Config`; raises ValueError for what makes no sense."""
    values = vars(parser().parse_args(arguments))
    names = [name for text in values["methods"] for name in (METHODS if text == "all" else [text])]
    _check.known("--compile", "choice", values["compile"], COMPILE)
    values["methods"] = tuple(names)
    values["seeds"] = parse_seeds(values["seeds"])
    values["sweep"] = parse_sweep(values["sweep"])
    values["compile"] = COMPILE[values["compile"]]
    return Config(**values)


class _Format(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Every option with its default, but for those that say it; the examples as they stand."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_it = action.default is None or "(default: " in (action.help or "")
        return action.help if says_it else super()._get_help_string(action)


def parser() -> argparse.ArgumentParser:
    """The options in groups."""
    whole = argparse.ArgumentParser(
        prog="python -m fkd.compare",
        description="Compare distillation methods over many seeds: which one helps, and how sure "
        "are we?",
        epilog=EXAMPLES,
        formatter_class=_Format,
    )
    _add_data(whole)
    _add_methods(whole)
    _add_training(whole)
    _add_hardware(whole)
    _add_sweep(whole)
    output = whole.add_argument_group("output")
    output.add_argument(
        "--output", help="a new folder for the results (default: runs/DATASET-DATE)"
    )
    return whole


def _add_data(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("data").add_argument
    add("--dataset", default="digits", help=f"one of {', '.join(datasets.DATASETS)}")
    add("--root", help="the folder of images, or where downloads are kept (default: a cache)")
    add("--batch-size", type=int, default=128, help="the examples of a step")
    add("--order", default="shared", help="whether members share their batches: shared or own")


def _add_methods(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("methods").add_argument
    add(
        "--methods",
        nargs="+",
        default=list(DEFAULT_METHODS),
        metavar="METHOD",
        help="all, or some of these, or mypackage.mymodule:function for one of your own: "
        + f"{' '.join(METHODS)} (default: {' '.join(DEFAULT_METHODS)})",
    )
    add("--teacher", default="train", help="`train`, or the path of a DeepNN's state_dict")
    add(
        "--teacher-memory",
        type=float,
        default=4.0,
        metavar="GIB",
        help="the teacher's outputs are kept where they fit; else it is asked about each batch",
    )


def _add_training(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("training").add_argument
    add("--seeds", default="8", help="how many (8), or which (3,5,8)")
    add("--epochs", type=int, default=10, help="of the teacher too, if it is trained")
    add("--lr", type=float, default=1e-3, help="Adam's learning rate")


def _add_hardware(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("hardware").add_argument
    add("--device", default="auto", help="auto, cpu or cuda")
    add(
        "--precision",
        default="fp32",
        help="what students and teacher compute in: fp32, bf16, or on a GPU tf32",
    )
    add(
        "--compile",
        default="auto",
        help="whether to use torch.compile: yes, no, or auto, which is where it pays",
    )
    add(
        "--no-compile",
        dest="compile",
        action="store_const",
        const="no",
        default=argparse.SUPPRESS,
        help="the same as --compile no",
    )
    add("--layout", default="auto", help="how members lie on the device: auto, vmap or loop")
    add("--chunk", type=int, help="how many members vmap takes at once (default: all)")
    add("--graph", type=int, default=Plan().graph, help="steps a CUDA graph holds, or 0 for none")


def _add_sweep(whole: argparse.ArgumentParser) -> None:
    add = whole.add_argument_group("sweep").add_argument
    add(
        "--sweep",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE,VALUE",
        help="train every setting of these, such as lr=3e-4,1e-3 kd.temperature=1,4, and report "
        "each method's best on a validation split (default: none)",
    )
    add("--validation", type=float, default=0.2, help="the share of the training set for --sweep")


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


def parse_sweep(items: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """`["lr=1e-4,1e-3", "kd.weight=0.5"]` as the values of each name."""
    swept: dict[str, tuple[float, ...]] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            values = tuple(float(part) for part in text.split(",") if part.strip())
        except ValueError:
            values = ()
        if not name or not values or not all(map(math.isfinite, values)):
            raise ValueError(f"--sweep: it takes items such as lr=1e-4,3e-4, but got {item!r}")
        if name in swept or len(set(values)) != len(values):
            raise ValueError(f"--sweep: each name and value is to be given once, but got {item!r}")
        swept[name] = values
    return swept


def method_name(text: str) -> str:
    """The name in the results of a method on the command line.

    >>> method_name("mypackage.mymodule:my_method")
    'my-method'
    """
    module, colon, function = text.partition(":")
    if colon and module and function:
        return function.replace("_", "-")
    _check.known("--methods", "method", text, [*METHODS, "all", "mypackage.mymodule:function"])
    return text


def methods_of(config: Config) -> dict[str, Method]:
    """The methods by name, those of the user's own imported.

    Raises ValueError for one that cannot be imported, is no function without required arguments, or
    does not return a mapping of Terms.
    """
    return {method_name(text): _method(text) for text in config.methods}


def _method(text: str) -> Method:
    function: Callable[[], Any] = _function(text) if ":" in text else METHODS[text]
    try:
        method = function()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"--methods: {text}() raised {type(error).__name__}: {error}; it must be a function "
            "without required arguments that returns a Method"
        ) from error
    terms = list(method.values()) if isinstance(method, Mapping) else []
    if not terms or not all(isinstance(term, Term) for term in terms):
        raise ValueError(
            f"--methods: {text} must return a Method, a mapping from a term's name to a "
            f"fkd.methods.Term, but it returned {method!r:.200}"
        )
    return dict(method)


def _function(text: str) -> Callable[[], Any]:
    """The user's own function of that name."""
    try:
        function = imported(text)
    except ValueError as error:
        raise ValueError(f"--methods: {error}") from error
    if not callable(function):
        raise ValueError(
            f"--methods: {text} must be a function that returns a Method, but it is a "
            f"{type(function).__name__}"
        )
    return function


def _check_once(flag: str, values: Sequence[object]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{flag}: each is to be named once, but {tuple(values)} repeats one")


def in_flags(message: str) -> str:
    """An error of the library, which begins with an argument's name, with the flag in its place.

    >>> in_flags("batch_size: it is too large")
    '--batch-size: it is too large'
    """
    argument, colon, reason = message.partition(": ")
    if colon and argument in FLAGS:
        return f"{FLAGS[argument]}: {reason}"
    if colon and argument in Config.__annotations__:
        return f"--{argument.replace('_', '-')}: {reason}"
    return message
