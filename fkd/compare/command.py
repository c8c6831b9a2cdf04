"""The command line: a comparison of the tutorial's networks, told on the console and in files."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from fkd import checkpoint
from fkd._imported import imported
from fkd.compare import table
from fkd.compare._compiled_cache import keep_compiled
from fkd.compare._named import method, method_name, network
from fkd.compare._parser import BASELINE
from fkd.compare.environment import new_folder
from fkd.compare.options import Config, in_flags, parse
from fkd.compare.run import Comparison
from fkd.data import Data, augmentations, built, datasets
from fkd.model import state_dict

# The layers whose shapes are told, where a network has them.
LAYERS = {"hidden": "hidden representation", "feature_map": "feature map"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return 0, or 2 where it was refused, stopped or diverged."""
    console, errors = Console(), Console(stderr=True, style="bold red", soft_wrap=True)
    begin = time.perf_counter()
    try:
        config = parse(arguments)
        comparison = prepare(config, console)
        folder = _new_folder(config)
    except ValueError as error:
        errors.print(f"compare: {in_flags(str(error))}", markup=False)
        return 2
    results = comparison.results
    try:
        follow(comparison, folder, console)
    except (FloatingPointError, KeyboardInterrupt) as error:
        errors.print(f"compare: {str(error) or 'stopped'}", markup=False)
    except torch.OutOfMemoryError as error:
        text = "the GPU's memory is full; --chunk takes fewer members at once"
        errors.print(f"compare: {text}: {error}", markup=False)
    for name, failure in results.failed.items():
        errors.print(f"compare: {name}: {failure.reason}", markup=False)
    results.seconds["total"] = time.perf_counter() - begin
    if results.methods:  # of a run that was cut short, what was finished
        results.write(folder)
        results.draw(folder)
        table.show(console, table.table(results))
        for line in table.choices(results):
            console.print(line, markup=False, highlight=False)
        console.print(table.caption(results))
    if peak := results.environment.get("peak_memory"):
        console.print(f"Peak memory: {peak:.2f} GiB", highlight=False)
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0 if results.complete else 2


def prepare(config: Config, console: Console) -> Comparison:
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
    student = network("--student-model", config.student_model, classes, config.layer)
    layers = config.layer | config.teacher_layer
    teacher = network("--teacher-model", config.teacher_model, classes, layers)
    state = None
    if config.teacher != "train":
        state = checkpoint.load(config.teacher, like=teacher().state_dict())
    augment, mix = None, None
    if config.augment:
        augment, mix = augmentations.named(config.augment, config.image_size, classes)
    training = config.training
    with console.status("preparing"):
        comparison = Comparison(
            teacher,
            student,
            methods,
            data,
            seeds=config.seeds,
            epochs=config.epochs,
            optimizer=training.build(),
            schedules=training.schedules,
            numbers=config.set,
            augment=augment,
            mix=mix,
            sweep=config.sweep,
            validation=config.validation,
            teacher_state=state,
            teacher_epochs=config.teacher_epochs,
            teacher_memory=config.teacher_memory,
            baseline=BASELINE if BASELINE in methods else next(iter(methods)),
            order=config.order,
            precision=config.precision,
            plan=config.plan,
        )
    results = comparison.results
    results.seconds["data"] = seconds
    asked = json.loads(json.dumps(asdict(config)))
    results.config |= asked | {"lr": results.config["lr"], "training": training.title(config.set)}
    return comparison


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
    return data.to(config.torch_device).batched(config.batch_size)


def _new_folder(config: Config) -> Path:
    name = config.dataset if config.data is None else config.data.partition(":")[2]
    path = config.output or f"runs/{name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        return new_folder(path)
    except OSError as error:
        raise ValueError(f"--output: {path} cannot be made: {error}") from error


def follow(comparison: Comparison, folder: Path, console: Console) -> None:
    """Run the comparison with a bar, and write what is finished."""
    results = comparison.results
    _tell_networks(comparison, console)
    tasks: dict[str, TaskID] = {}
    saved = comparison.teacher is not None  # it is the user's own file
    accuracy_told, count = False, 0
    with _bar(console) as bar:
        for progress in comparison.run():
            if progress.what not in tasks:
                tasks[progress.what] = bar.add_task(progress.what, total=progress.steps)
            what = f"{progress.what}, compiling" if progress.compiling else progress.what
            bar.update(tasks[progress.what], completed=progress.step, description=what)
            if comparison.teacher and not saved:
                teacher = comparison.teacher
                checkpoint.save(
                    folder / "teacher.safetensors", state_dict(teacher.params, teacher.buffers)
                )
                saved = True
            if results.teacher and not accuracy_told:
                console.print(f"Teacher accuracy: {100 * results.teacher.accuracy:.2f} %")
                accuracy_told = True
            if len(results.methods) > count:
                results.write(folder)
                count = len(results.methods)


def _tell_networks(comparison: Comparison, console: Console) -> None:
    results = comparison.results
    for role, name in results.networks.items():
        count = results.parameters[role]
        console.print(f"{role.capitalize()} {name}: {count:,} parameters", highlight=False)
    for layer, title in LAYERS.items():
        for role, shapes in results.shapes.items():
            if layer in shapes:
                console.print(f"Shape of the {role}'s {title}: {shapes[layer]}")
    for note in comparison.notes:
        console.print(note, markup=False)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps, left"),
        TimeRemainingColumn(),
        console=console,
    )
