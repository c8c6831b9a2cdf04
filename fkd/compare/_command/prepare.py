"""From options to a comparison that is ready to run, and to the folder that it is kept in."""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from torch import Tensor

from fkd._imported import imported
from fkd.compare._accord import Accord
from fkd.compare._command.compiled_cache import keep_compiled
from fkd.compare._command.given_teacher import given_teacher
from fkd.compare._command.layers import layers_by_flag
from fkd.compare._command.named import method, method_name, network
from fkd.compare._command.options import Config
from fkd.compare._command.parser import BASELINE
from fkd.compare._command.resume import differences, kept_options
from fkd.compare._setup.estimate import check_data
from fkd.compare._setup.reading import example_batch
from fkd.compare.environment import may_restart, new_folder
from fkd.compare.run import TEACHER_SEED, Comparison
from fkd.data import Data, Mix, Resident, Source, Transform, augmentations, built, datasets
from fkd.distributed import Mesh


def prepare(
    config: Config,
    console: Console,
    mesh: Mesh | None = None,
    teacher_seed: int = TEACHER_SEED,
) -> Comparison:
    """The comparison that was asked for; raises ValueError for what makes no sense."""
    methods = {
        method_name(text): method(text, config.recipe, config.epochs) for text in config.methods
    }
    if config.compile != "none":
        keep_compiled()
    begin = time.perf_counter()
    with console.status(f"reading {config.data or config.dataset}"):
        data = _read(config)
    seconds = time.perf_counter() - begin
    classes = len(data.classes)
    with layers_by_flag(config.layer, config.teacher_layer):
        student = network("--student-model", config.student_model, classes, config.layer)
        layers = config.layer | config.teacher_layer
        teacher = network("--teacher-model", config.teacher_model, classes, layers)
    state = given_teacher(config, teacher, classes)
    augment, mix = augmented(config.augment, data)
    training = config.training
    with (
        console.status("preparing"),
        layers_by_flag(config.layer, config.teacher_layer),  # some are refused when a network runs
    ):
        comparison = Comparison(
            teacher,
            student,
            methods,
            data,
            seeds=config.seeds if config.factorial is None else config.factorial.seeds,
            resolution=config.resolution,
            max_seeds=config.max_seeds,
            epochs=config.epochs,
            optimizer=training.build(),
            schedules=training.schedules,
            numbers=config.set,
            augment=augment,
            mix=mix,
            sweep=config.sweep,
            validation=config.validation,
            teacher_state=state,
            teacher_seed=teacher_seed,
            teacher_epochs=config.teacher_epochs,
            teacher_memory=config.teacher_memory,
            baseline=BASELINE if BASELINE in methods else next(iter(methods)),
            order=config.order if config.factorial is None else "own",
            precision=config.precision,
            plan=config.plan,
            mesh=mesh,
        )
    results = comparison.results
    results.seconds["data"] = seconds
    words = {"lr": results.config["lr"], "training": training.title(config.set)}
    results.config |= config.asked | words
    return comparison


def augmented(names: Sequence[str], data: Data) -> tuple[Transform, Mix | None] | tuple[None, None]:
    """The augmentation and the mix of those names, for images of the data's size.

    Raises ValueError where examples are no images.
    """
    if not names:
        return None, None
    return augmentations.named(names, _side(data.train), len(data.classes))


def _side(source: Source) -> int:
    """The side of a source's images, the shorter one, as an augmentation sees them."""
    inputs = source.inputs if isinstance(source, Resident) else example_batch(source).inputs
    if not isinstance(inputs, Tensor) or inputs.ndim != 4:
        shape = tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ValueError(
            f"--augment: it takes images [channels, height, width], but an example is {shape}; "
            "leave it out, and let the data's own sources augment"
        )
    return min(inputs.shape[-2:])


def _read(config: Config) -> Data:
    try:
        if config.data is not None:
            data = built(imported(config.data), memory=config.memory)
        else:
            data = datasets.load(
                config.dataset,
                config.root,
                image_size=config.image_size,
                memory=config.memory,
                channels=config.channels,
                mean=config.mean,
                std=config.std,
            )
    except ValueError as error:
        if config.data is not None:
            raise ValueError(f"--data: {error}") from error
        raise ValueError(
            f"--dataset: {error}; --root gives the folder, and --dataset digits needs no download"
        ) from error
    check_data(data, config.torch_device)
    return data.to(config.torch_device).batched(config.batch_size)


def named_folder(config: Config) -> Path | None:
    """The folder that was named, with its run held against the options; None where none was."""
    if config.resume is not None:
        return config.resume
    if config.output is None:
        if may_restart():
            raise ValueError(
                "--output: torchrun may start this run again, and then it is to go on in its "
                "folder; name one, the same on every machine"
            )
        return None
    folder = Path(config.output).expanduser()
    if (folder / "run.json").exists():
        differing = differences(kept_options("--output", folder), config.raw)
        if differing:
            raise ValueError(
                f"--output: {folder} holds another run: {'; '.join(differing)}; ask for the same "
                "to go on with it, or give another folder"
            )
    return folder


def shared_folder(folder: Path | None, config: Config, accord: Accord) -> Path:
    """The folder that was named, or a new one, on every rank."""
    made = str(folder or _new_folder(config)) if accord.mesh.rank == 0 else ""
    return Path(accord.share("the folder", made)[0])


def _new_folder(config: Config) -> Path:
    name = config.dataset if config.data is None else config.data.partition(":")[2]
    path = f"runs/{name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        return new_folder(path)
    except OSError as error:
        raise ValueError(f"--output: {path} cannot be made: {error}") from error
