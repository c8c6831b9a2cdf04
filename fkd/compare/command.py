"""The command line: a comparison of the tutorial's networks, told on the console and in files."""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import torch
from rich.console import Console

from fkd import checkpoint
from fkd._imported import imported
from fkd.compare import table
from fkd.compare._compiled_cache import keep_compiled
from fkd.compare._console import READER_GONE, Display, consoles, reader_gone, tell
from fkd.compare._named import method, method_name, network
from fkd.compare._parser import BASELINE
from fkd.compare.environment import new_folder
from fkd.compare.options import Config, in_flags, parse
from fkd.compare.run import Comparison
from fkd.data import Data, augmentations, built, datasets
from fkd.model import state_dict


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return 0, or 2 where it was refused, stopped or diverged, or 141 where
    nobody reads the console any more."""
    console, errors = consoles()
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
    except BrokenPipeError:
        pass  # told by the exit code alone
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
    if reader_gone(console):
        return READER_GONE
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
    if config.teacher_file is not None:
        state = checkpoint.load(config.teacher_file, like=teacher().state_dict())
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
    words = {"lr": results.config["lr"], "training": training.title(config.set)}
    results.config |= config.asked | words
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
    tell(comparison, console)
    saved = comparison.teacher is not None  # it is the user's own file
    accuracy_told, count = False, 0
    with Display(console) as display:
        for progress in comparison.run():
            display.show(progress)
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
