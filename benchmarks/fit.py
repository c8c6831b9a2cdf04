"""Students of one or several methods in training, with a bar that tells how far they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import sweep
from options import Config
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from fkd import optim
from fkd.data import normalize, steps_per_epoch
from fkd.distillation import State, distill
from fkd.ensemble import ensemble
from fkd.methods import Method
from fkd.model import Model, Tensors, outputs_like
from fkd.train import Students, Trained, train_together


@dataclass(frozen=True)
class Job:
    """A method's students: every seed of every setting."""

    student: Model
    method: Method
    seeds: Sequence[int]
    on_epoch: Callable[[State], Tensors]
    grid: Sequence[sweep.Setting] = ({},)


def fit(
    what: str,
    jobs: Mapping[str, Job],
    images: Tensor,
    targets: Tensors,
    config: Config,
    console: Console,
    *,
    compile: bool,
    teacher: tuple[Model, Tensors, Tensors] | None = None,
) -> dict[str, Trained | FloatingPointError]:
    """Train the jobs side by side; `teacher` is asked about each batch, where its outputs are not
    among `targets`."""
    batch = normalize(images[: config.batch_size])
    matched = {name: target[: config.batch_size] for name, target in targets.items()}
    if teacher:
        matched |= outputs_like(teacher[0], batch, train=False)
    steps = steps_per_epoch(len(images), config.batch_size)
    students = {}
    for name, job in jobs.items():
        rule = distill(
            *(job.student, job.method, optim.adam(config.lr), batch, matched),
            steps_per_epoch=steps,
        )
        how = {"layout": config.layout, "chunk": config.chunk, "order": config.order}
        members = ensemble(rule, **how, compile=compile)
        # a setting that diverges is a finding of a sweep
        diverged = "keep" if len(job.grid) > 1 else "raise"
        seeds, hyper = sweep.members(job.grid, job.seeds)
        students[name] = Students(members, seeds, hyper, job.on_epoch, diverged)
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("steps, left"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console) as progress:
        description = f"{what}, compiling" if compile else what
        task = progress.add_task(description, total=config.epochs * steps)
        return train_together(
            *(students, images, targets),
            epochs=config.epochs,
            batch_size=config.batch_size,
            teacher=partial(_ask, *teacher) if teacher else None,
            order=config.order,
            graph=config.graph,
            on_step=partial(progress.update, task, advance=1, description=what),
        )


def _ask(teacher: Model, params: Tensors, buffers: Tensors, x: Tensor) -> Tensors:
    return teacher.apply(params, buffers, x, train=False)[0]
