"""The command line of a comparison, refused here where it makes no sense."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from fkd import _check
from fkd.compare._named import check_network, method_name
from fkd.compare._parser import early, parser
from fkd.compare._resume import in_json, resumed
from fkd.compare.recipes import MILESTONES, RECIPES, Training
from fkd.data import augmentations, datasets
from fkd.ensemble import Order
from fkd.execution import PRECISIONS, Compile, Layout, Plan
from fkd.methods import METHODS

COMPILE: dict[str, Compile] = {"auto": "auto", "yes": "step", "no": "none"}
# The library's arguments that have another name on the command line.
FLAGS = {
    "numbers": "--set",
    "plan": "--compile",
    "student": "--student-model",
    "teacher": "--teacher-model",
    "teacher_state": "--teacher",
}


@dataclass(frozen=True)
class Config:
    """What was asked, refused here where it makes no sense.

    `resume` is the folder of the run that goes on. `raw` holds the options as the parser reads
    them, in JSON's own types: what is kept with a run, so that it can go on.
    """

    dataset: str
    data: str | None
    root: str | None
    image_size: int
    channels: int
    memory: float
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    augment: tuple[str, ...]
    batch_size: int
    order: Order
    teacher_model: str
    student_model: str
    teacher: str
    layer: dict[str, str]
    teacher_layer: dict[str, str]
    teacher_memory: float
    methods: tuple[str, ...]
    set: dict[str, float]
    recipe: str | None
    seeds: tuple[int, ...]
    epochs: int
    teacher_epochs: int | None
    optimizer: str
    lr: float | None
    momentum: float | None
    nesterov: bool
    weight_decay: float | None
    clip_norm: float | None
    ema: float | None
    schedule: str
    milestones: tuple[float, ...] | None
    warmup_epochs: int
    device: str
    precision: str
    compile: Compile
    layout: Layout
    chunk: int | None
    graph: int
    sweep: dict[str, tuple[float, ...]]
    validation: float
    output: str | None
    resume: Path | None = None
    checkpoint_minutes: float = 5.0
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.data is None:
            _check.known("--dataset", "data set", self.dataset, datasets.DATASETS)
        _check.positive("--image-size", image_size=self.image_size)
        _check.known("--channels", "number", str(self.channels), ("1", "3", "4"))
        _check.not_negative("--memory", memory=self.memory)
        if (self.mean is None) != (self.std is None):
            raise ValueError("--mean: it goes with --std; give both or neither")
        names = [*augmentations.AUGMENTATIONS, *augmentations.MIXES]
        for name in self.augment:
            _check.known("--augment", "augmentation", name, names)
        _check_once("--augment", self.augment)
        check_network("--teacher-model", self.teacher_model)
        check_network("--student-model", self.student_model)
        _check_once("--methods", [method_name(text) for text in self.methods])
        _check_once("--seeds", self.seeds)
        _check.positive("--epochs", epochs=self.epochs)
        if self.teacher_epochs is not None:
            _check.positive("--teacher-epochs", teacher_epochs=self.teacher_epochs)
            if self.teacher != "train":
                raise ValueError(
                    "--teacher-epochs: it is for a teacher that is trained here, but --teacher "
                    f"gives {self.teacher}; leave one of them out"
                )
        _check.positive("--batch-size", batch_size=self.batch_size)
        try:
            self.training.schedules(self.epochs, 1)
        except ValueError as error:
            raise ValueError(in_flags(str(error))) from error
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
        _check.positive("--checkpoint-minutes", checkpoint_minutes=self.checkpoint_minutes)
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
    def asked(self) -> dict[str, Any]:
        """What results.json holds of it: all on which the results depend, in JSON's own types."""
        entry = asdict(self)
        for name in ("resume", "checkpoint_minutes", "raw"):
            del entry[name]
        return in_json(entry)

    @property
    def torch_device(self) -> torch.device:
        """The device that is meant."""
        cuda = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        return torch.device("cuda" if cuda else "cpu")

    @property
    def plan(self) -> Plan:
        """How members lie on the hardware."""
        return Plan(layout=self.layout, chunk=self.chunk, compile=self.compile, graph=self.graph)

    @property
    def training(self) -> Training:
        """How the networks are trained; raises ValueError for what makes no sense."""
        return Training(
            optimizer=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            ema=self.ema,
            schedule=self.schedule,
            milestones=MILESTONES if self.milestones is None else self.milestones,
            warmup_epochs=self.warmup_epochs,
        )


def parse(arguments: Sequence[str] | None = None) -> Config:
    """The command line as a `Config`; raises ValueError for what makes no sense.

    With --resume, the options are those of the run that goes on.
    """
    given = None if arguments is None else list(arguments)
    recipe, folder = early(given)
    if recipe is not None:
        _check.known("--recipe", "recipe", recipe, RECIPES)
    if folder is not None:
        raw = resumed(folder, given)
    else:
        raw = in_json(vars(parser(recipe).parse_args(given)))
        del raw["resume"]
    return _config(raw, folder)


def _config(raw: dict[str, Any], folder: str | None) -> Config:
    """The options as the parser reads them, with their words as values."""
    values = dict(raw)
    names = [name for text in values["methods"] for name in (METHODS if text == "all" else [text])]
    _check.known("--compile", "choice", values["compile"], COMPILE)
    values["methods"] = tuple(names)
    values["augment"] = tuple(values["augment"])
    for name in ("mean", "std", "milestones"):
        values[name] = None if values[name] is None else tuple(values[name])
    values["seeds"] = parse_seeds(values["seeds"])
    values["sweep"] = parse_sweep(values["sweep"])
    values["set"] = parse_set(values["set"])
    values["layer"] = parse_layers("--layer", values["layer"])
    values["teacher_layer"] = parse_layers("--teacher-layer", values["teacher_layer"])
    values["compile"] = COMPILE[values["compile"]]
    return Config(**values, resume=None if folder is None else Path(folder), raw=raw)


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


def parse_sweep(
    items: Sequence[str], flag: str = "--sweep", example: str = "lr=1e-4,3e-4"
) -> dict[str, tuple[float, ...]]:
    """`["lr=1e-4,1e-3", "kd.weight=0.5"]` as the values of each name."""
    swept: dict[str, tuple[float, ...]] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            values = tuple(float(part) for part in text.split(",") if part.strip())
        except ValueError:
            values = ()
        if not name or not values or not all(map(math.isfinite, values)):
            raise ValueError(f"{flag}: it takes items such as {example}, but got {item!r}")
        if name in swept or len(set(values)) != len(values):
            raise ValueError(f"{flag}: each name and value is to be given once, but got {item!r}")
        swept[name] = values
    return swept


def parse_set(items: Sequence[str]) -> dict[str, float]:
    """`["kd.weight=0.9"]` as the number of each name."""
    numbers: dict[str, float] = {}
    for name, values in parse_sweep(items, "--set", "kd.weight=0.9").items():
        if len(values) != 1:
            raise ValueError(
                f"--set: {name} is to have one value, but got {len(values)}; --sweep takes several"
            )
        numbers[name] = values[0]
    return numbers


def parse_layers(flag: str, items: Sequence[str]) -> dict[str, str]:
    """`["feature_map=layer3"]` as the node of each name."""
    layers: dict[str, str] = {}
    for item in items:
        name, _, node = item.partition("=")
        if not name or not node or name in layers:
            raise ValueError(
                f"{flag}: it takes items such as feature_map=layer3, each name once, but got "
                f"{item!r}"
            )
        layers[name] = node
    return layers


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
