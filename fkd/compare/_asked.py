"""What was asked of a comparison: checked before any work, and as its results tell it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fkd import _check
from fkd.compare._task import Task
from fkd.compare.results import DataSummary
from fkd.data import Batch, Data, Source
from fkd.execution import PRECISIONS
from fkd.methods import Method


def check_arguments(
    methods: Mapping[str, Method],
    seeds: Sequence[int],
    epochs: int,
    teacher_epochs: int | None,
    teacher_memory: float,
    order: str,
) -> None:
    if not methods:
        raise ValueError("methods: there are none; give at least one")
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise ValueError(
            f"seeds: there must be at least one, each zero or more and once, not {list(seeds)}"
        )
    _check.positive("epochs", epochs=epochs)
    if teacher_epochs is not None:
        _check.positive("teacher_epochs", teacher_epochs=teacher_epochs)
    _check.not_negative("teacher_memory", teacher_memory=teacher_memory)
    _check.known("order", "order", order, ("shared", "own"))


def check_precision(precision: str, device: torch.device) -> None:
    _check.known("precision", "precision", precision, PRECISIONS)
    if precision == "tf32" and device.type != "cuda":
        raise ValueError("precision: tf32 is for a GPU, and this runs on the CPU; choose fp32")


def hold_out(data: Data, validation: float | Source) -> tuple[Data, Source]:
    """The validation split, and the data without it, before anything reads them."""
    if not isinstance(validation, int | float):
        return data, validation
    try:
        return data.hold_out(validation)
    except ValueError as error:
        raise ValueError(f"validation: {error}") from error


def summary(task: Task, batch: Batch) -> DataSummary:
    data = task.data
    pictures = isinstance(batch.inputs, Tensor) and batch.inputs.ndim == 4
    return DataSummary(
        name=data.name,
        classes=len(data.classes),
        train=data.train.examples,
        test=data.test.examples,
        validation=task.validation.examples if task.validation else 0,
        unit="images" if pictures else "examples",
    )


def config(
    task: Task,
    validation: float | Source,
    teacher_state: Mapping[str, Tensor] | None,
    teacher_memory: float,
    precision: str,
) -> dict[str, Any]:
    """What was asked, under the names that results.json has always had."""
    recipe, plan, train = task.recipe, task.plan, task.data.train
    return {
        "dataset": task.data.name,
        "root": None,
        "methods": list(task.methods),
        "seeds": list(task.seeds),
        "epochs": task.epochs,
        "teacher_epochs": task.teacher_epochs if teacher_state is None else None,
        "batch_size": train.batch_size,
        "optimizer": None,  # a chain of transformations has no name
        "lr": recipe.optimizer.hyper.get("lr"),
        "schedules": list(recipe.schedules),
        "teacher": "train" if teacher_state is None else "given",
        "device": str(train.device),
        "precision": precision,
        "compile": plan.compile,
        "layout": plan.layout,
        "chunk": plan.chunk,
        "graph": plan.graph,
        "teacher_memory": teacher_memory,
        "order": task.order,
        "sweep": {name: list(values) for name, values in recipe.sweep.items()},
        "validation": validation if isinstance(validation, int | float) else None,
        "output": None,
    }
