"""The command line: a comparison of the tutorial's networks, told on the console and in files."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
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

from fkd import checkpoint, optim
from fkd.compare import table
from fkd.compare._compiled_cache import keep_compiled
from fkd.compare.environment import new_folder
from fkd.compare.options import BASELINE, Config, in_flags, methods_of, parse
from fkd.compare.run import Comparison
from fkd.data import Data, datasets
from fkd.model import state_dict
from fkd.models import DeepNN, LightNN

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
    for name, reason in results.diverged.items():
        errors.print(f"compare: {name}: {reason}", markup=False)
    results.seconds["total"] = time.perf_counter() - begin
    if results.methods:  # of a run that was cut short, what was finished
        results.write(folder)
        results.draw(folder)
        table.show(console, table.table(results))
        for line in table.choices(results):
            console.print(line, markup=False, highlight=False)
        console.print(table.caption(results))
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0 if results.complete else 2


def prepare(config: Config, console: Console) -> Comparison:
    """The comparison that was asked for; raises ValueError for what makes no sense."""
    methods = methods_of(config)
    if config.compile != "none":
        keep_compiled()
    begin = time.perf_counter()
    with console.status(f"reading {config.dataset}"):
        data = _read(config)
    seconds = time.perf_counter() - begin
    classes = len(data.classes)
    teacher = partial(DeepNN, classes)
    state = None
    if config.teacher != "train":
        state = checkpoint.load(config.teacher, like=teacher().state_dict())
    with console.status("preparing"):
        comparison = Comparison(
            teacher,
            partial(LightNN, classes),
            methods,
            data,
            seeds=config.seeds,
            epochs=config.epochs,
            optimizer=optim.adam(config.lr),
            sweep=config.sweep,
            validation=config.validation,
            teacher_state=state,
            teacher_memory=config.teacher_memory,
            baseline=BASELINE if BASELINE in methods else next(iter(methods)),
            order=config.order,
            precision=config.precision,
            plan=config.plan,
        )
    comparison.results.seconds["data"] = seconds
    plain = json.loads(json.dumps(asdict(config)))
    comparison.results.config |= plain | {"optimizer": "Adam"}
    return comparison


def _read(config: Config) -> Data:
    try:
        data = datasets.load(config.dataset, config.root)
    except ValueError as error:
        raise ValueError(
            f"--dataset: {error}; --root gives the folder, and --dataset digits needs no download"
        ) from error
    return data.to(config.torch_device).batched(config.batch_size)


def _new_folder(config: Config) -> Path:
    path = config.output or f"runs/{config.dataset}-{datetime.now():%Y%m%d-%H%M%S}"
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
                checkpoint.save(folder / "teacher.pt", state_dict(teacher.params, teacher.buffers))
                saved = True
            if results.teacher and not accuracy_told:
                console.print(f"Teacher accuracy: {100 * results.teacher.accuracy:.2f} %")
                accuracy_told = True
            if len(results.methods) > count:
                results.write(folder)
                count = len(results.methods)


def _tell_networks(comparison: Comparison, console: Console) -> None:
    results = comparison.results
    for role, network in results.networks.items():
        count = results.parameters[role]
        console.print(f"{role.capitalize()} {network}: {count:,} parameters", highlight=False)
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
