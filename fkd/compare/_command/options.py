"""The command line of a comparison, refused here where it makes no sense."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from fkd import _check
from fkd.compare._command.named import check_network, method_name
from fkd.compare._command.parser import early, parser, read
from fkd.compare._command.paths import file_to_read, folder_to_make, folder_to_read, path_of
from fkd.compare._command.resume import in_json, resumed
from fkd.compare._command.unused import check_unused
from fkd.compare._command.words import (
    parse_layers,
    parse_names,
    parse_seeds,
    parse_set,
    parse_sweep,
)
from fkd.compare._setup.asked import check_seeds, resolution_of
from fkd.compare.environment import installed_memory
from fkd.compare.recipes import MILESTONES, RECIPES, Training
from fkd.compare.vary import TEACHER, Factorial
from fkd.data import augmentations, datasets
from fkd.ensemble import Order
from fkd.execution import PRECISIONS, Compile, Layout, Plan
from fkd.methods import METHODS

COMPILE: dict[str, Compile] = {"auto": "auto", "yes": "step", "no": "none"}
ORDER: dict[str, Order | None] = {"auto": None, "shared": "shared", "own": "own"}
MOST = 2**31 - 1  # of whatever is counted
DEFAULT_SEEDS = tuple(range(8))
LARGEST_SIDE = 2**16 - 1  # of an image in pixels, as of a JPEG
# The library's arguments that have another name on the command line.
FLAGS = {
    "dropout": "--vary",
    "folder": "--output",
    "numbers": "--set",
    "plan": "--compile",
    "started": "--data-ranks",
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
    order: Order | None
    teacher_model: str
    student_model: str
    teacher: str
    teacher_member: int | None
    layer: dict[str, str]
    teacher_layer: dict[str, str]
    teacher_memory: float
    methods: tuple[str, ...]
    set: dict[str, float]
    recipe: str | None
    seeds: tuple[int, ...]
    resolution: float | None
    max_seeds: int
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
    data_ranks: int
    sweep: dict[str, tuple[float, ...]]
    validation: float
    output: str | None
    vary: tuple[str, ...] = ()
    levels: int | None = None
    teachers: int | None = None
    resume: Path | None = None
    checkpoint_minutes: float = 5.0
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.data is None:
            _check.known("--dataset", "data set", self.dataset, datasets.DATASETS)
        _check_count("--image-size", self.image_size, most=LARGEST_SIDE)
        _check.known("--channels", "number", str(self.channels), ("1", "3", "4"))
        _check.not_negative("--memory", memory=self.memory)
        if (self.mean is None) != (self.std is None):
            raise ValueError("--mean: it goes with --std; give both or neither")
        for flag, values in (("--mean", self.mean), ("--std", self.std)):
            if values is not None:
                self._check_channels(flag, values)
        names = [*augmentations.AUGMENTATIONS, *augmentations.MIXES]
        for name in self.augment:
            _check.known("--augment", "augmentation", name, names)
        _check_once("--augment", self.augment)
        check_network("--teacher-model", self.teacher_model, self.channels)
        check_network("--student-model", self.student_model, self.channels)
        if not self.methods:
            raise ValueError("--methods: there are none; give at least one")
        _check_once("--methods", [method_name(text) for text in self.methods])
        check_seeds("--seeds", self.seeds)
        try:
            resolution_of(self.resolution, self.max_seeds, self.seeds, self.methods)
        except ValueError as error:
            raise ValueError(in_flags(str(error))) from error
        _check_count("--epochs", self.epochs)
        if self.teacher_epochs is not None:
            _check_count("--teacher-epochs", self.teacher_epochs)
            if self.teacher != "train":
                raise ValueError(
                    "--teacher-epochs: it is for a teacher that is trained here, but --teacher "
                    f"gives {self.teacher}; leave one of them out"
                )
        _check_count("--batch-size", self.batch_size)
        self._check_batch()
        try:
            self.training.schedules(self.epochs, 1)
        except ValueError as error:
            raise ValueError(in_flags(str(error))) from error
        _check.known("--device", "device", self.device, ("auto", "cpu", "cuda"))
        _check.known("--precision", "precision", self.precision, PRECISIONS)
        _check.known("--layout", "layout", self.layout, ("auto", "vmap", "loop"))
        if self.chunk is not None:
            _check_count("--chunk", self.chunk)
        _check_count("--graph", self.graph, least=0)
        _check_count("--data-ranks", self.data_ranks)
        _check.not_negative("--teacher-memory", teacher_memory=self.teacher_memory)
        if not 0 < self.validation < 1:
            raise ValueError(
                "--validation: it is a share of the training set between 0 and 1, both excluded, "
                f"but it is {self.validation}"
            )
        _check.positive("--checkpoint-minutes", checkpoint_minutes=self.checkpoint_minutes)
        self._check_vary()
        self._check_teachers()
        self._check_device()
        self._check_paths()

    def _check_channels(self, flag: str, values: tuple[float, ...]) -> None:
        if len(values) != self.channels:
            raise ValueError(
                f"{flag}: there must be one number for each of {self.channels} channels, but there "
                f"are {len(values)}; --channels gives how many"
            )
        check = _check.scalar if flag == "--mean" else _check.positive
        for value in values:
            check(flag, value=value)

    def _check_batch(self) -> None:
        size = 4 * self.batch_size * self.channels * self.image_size**2 / 2**30
        have = installed_memory()
        if self.data is None and size > have:
            raise ValueError(
                f"--image-size: a batch of {self.batch_size} images of {self.image_size} x "
                f"{self.image_size} pixels takes {size:,.0f} GiB, and this machine has {have:,.0f};"
                " choose a smaller size, or fewer images by --batch-size"
            )

    def _check_vary(self) -> None:
        if not self.vary:
            if self.levels is not None:
                raise ValueError("--levels: it goes with --vary; give both or neither")
            return
        try:
            levels = self._factorial.levels
        except ValueError as error:
            raise ValueError(str(error).replace("Factorial", "--vary", 1)) from error
        if self.seeds != DEFAULT_SEEDS:
            raise ValueError(
                f"--seeds: with --vary the levels say which there are: each source has {levels}, "
                "from 0 on; leave --seeds out"
            )
        if self.sweep:
            raise ValueError(
                "--vary: it is of one setting of each method; leave --sweep out, and give numbers "
                "by --set"
            )
        if self.resolution is not None:
            raise ValueError(
                "--vary: its members are laid out as a whole, and --resolution would add some; "
                "leave one of them out"
            )
        if TEACHER in self.vary and self.teacher != "train":
            raise ValueError(
                f"--vary: teachers that vary are trained here, but --teacher gives {self.teacher}; "
                "leave one of them out"
            )

    def _check_teachers(self) -> None:
        if self.teachers is None:
            return
        _check_count("--teachers", self.teachers, least=2)
        if len(self.seeds) < 2:
            raise ValueError(
                "--seeds: --teachers tells what teachers change from what seeds do, but there is "
                "one seed; give two or more"
            )
        for given, why in (
            (
                self.teacher != "train",
                f"these are trained here, but --teacher gives {self.teacher}",
            ),
            (self.vary, "--vary has the source teacher for that"),
            (self.sweep, "--sweep would choose another setting with each; give numbers by --set"),
            (
                self.resolution is not None,
                "--resolution would take other seeds with each, and they must be the same with all",
            ),
        ):
            if given:
                raise ValueError(f"--teachers: {why}; leave one of them out")

    @property
    def _factorial(self) -> Factorial:
        return Factorial(self.vary, *[] if self.levels is None else [self.levels])

    @property
    def factorial(self) -> Factorial | None:
        """What varies, where that was asked for."""
        return self._factorial if self.vary else None

    def _check_paths(self) -> None:
        if self.root is not None:
            folder_to_read("--root", self.root)
        if self.output is not None and self.resume is None:
            folder_to_make("--output", self.output)
        if self.teacher != "train":
            file_to_read("--teacher", self.teacher)
        if self.teacher_member is not None:
            _check_count("--teacher-member", self.teacher_member, least=0)

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
    def teacher_file(self) -> Path | None:
        """The teacher's state_dict, or None where it is trained here."""
        return None if self.teacher == "train" else Path(self.teacher).expanduser()

    @property
    def asked(self) -> dict[str, Any]:
        """What results.json holds of it: all on which the results depend, in JSON's own types."""
        entry = asdict(self)
        for name in ("resume", "checkpoint_minutes", "data_ranks", "raw"):
            del entry[name]
        if self.order is None:  # the comparison's to choose, and to tell
            del entry["order"]
        if self.resolution is None:  # of a run that has one stage, nothing is told of a second
            del entry["resolution"], entry["max_seeds"]
        for name in ("teachers", "teacher_member"):
            if entry[name] is None:
                del entry[name]
        if self.factorial is None:
            del entry["vary"], entry["levels"]
        else:  # the members' seeds are the comparison's to tell
            del entry["seeds"]
            entry |= {"levels": self.factorial.levels, "order": "own"}
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
        raw = resumed(path_of("--resume", folder), given)
    else:
        raw = in_json(read(parser(recipe), given))
        del raw["resume"]
    try:
        config = _config(raw, None if folder is None else Path(folder).expanduser())
    except ValueError as error:
        if recipe is None:
            raise
        raise ValueError(f"{error} (--recipe {recipe} gives what no option here does)") from error
    check_unused(raw, in_json(vars(parser(raw["recipe"]).parse_args([]))))
    return config


def _config(raw: dict[str, Any], folder: Path | None) -> Config:
    """The options as the parser reads them, with their words as values."""
    values = dict(raw)
    names = [name for text in values["methods"] for name in (METHODS if text == "all" else [text])]
    _check.known("--compile", "choice", values["compile"], COMPILE)
    _check.known("--order", "order", values["order"], ORDER)
    values["methods"] = tuple(names)
    values["augment"] = tuple(values["augment"])
    for name in ("mean", "std", "milestones"):
        values[name] = None if values[name] is None else tuple(values[name])
    values["seeds"] = parse_seeds(values["seeds"])
    values["vary"] = parse_names("--vary", values["vary"])
    values["sweep"] = parse_sweep(values["sweep"])
    values["set"] = parse_set(values["set"])
    values["layer"] = parse_layers("--layer", values["layer"])
    values["teacher_layer"] = parse_layers("--teacher-layer", values["teacher_layer"])
    values["compile"] = COMPILE[values["compile"]]
    values["order"] = ORDER[values["order"]]
    return Config(**values, resume=folder, raw=raw)


def _check_count(flag: str, value: int, least: int = 1, most: int = MOST) -> None:
    name = flag.removeprefix("--").replace("-", "_")
    _check.between(flag, least, most, **{name: value})


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
