"""A comparison of methods: every seed of each is paired with the same seed of every other.

A seed means the same initial weights under each method, and the same order of batches. The accuracy
is that of the last epoch; no epoch is chosen on the test set.
"""

import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fkd import _check, optim
from fkd.compare._accord import Accord
from fkd.compare._job.course import Run
from fkd.compare._job.progress import Progress
from fkd.compare._setup.asked import (
    TEACHER,
    check_arguments,
    check_classes,
    check_dropout,
    check_kinds,
    check_precision,
    check_ranks,
    check_start,
    config,
    hold_out,
    resolution_of,
    summary,
)
from fkd.compare._setup.choices import choose_compiling, choose_live, choose_order
from fkd.compare._setup.estimate import check_memory
from fkd.compare._setup.forward import relative_work
from fkd.compare._setup.oddities import odd_logits, oddities
from fkd.compare._setup.reading import (
    example_batch,
    module_of,
    parameters,
    shapes,
    teacher_of,
)
from fkd.compare._setup.task import (
    Build,
    Network,
    Recipe,
    SchedulesOf,
    Task,
    check_methods,
    context_of,
    schedules_of,
    teacher_candidates,
    with_numbers,
    without_teacher,
)
from fkd.compare._store.identity import identity
from fkd.compare._store.keep import kept, open_folder
from fkd.compare.environment import environment, idle_cores
from fkd.compare.results import Results
from fkd.data import Batch, Data, Mix, Source, Transform, steps_per_epoch
from fkd.distributed import Mesh
from fkd.ensemble import Order, Seed
from fkd.execution import PRECISIONS, Plan, fast_in_bfloat16, multiply_in
from fkd.methods import Method
from fkd.model import Tensors, functional
from fkd.optim import Optimizer
from fkd.schedules import Schedule
from fkd.teachers import Teacher

__all__ = ["Comparison", "Progress", "compare"]

TEACHER_SEED = 42


class Comparison:
    """A comparison that is ready to run: all that can be refused is refused when it is made.

    `teacher` and `student` build the networks, `methods` is what is compared, by name, and `data`
    has a batch size. Each method's students have the same `seeds`: whole numbers, or where the
    order is their own `fkd.ensemble.Seeds`, as `fkd.compare.Factorial` lays them out. With
    `order="own"` a seed means an order of batches too, and what augments them, the same under each
    method, so that what is concluded holds for others as well; with "shared" all seeds read one. By
    default it is their own where the training source is `Resident` and the teacher's outputs are
    kept, for otherwise each order would read the source, or ask the teacher, once more. Seeds that
    would all make one student, as of a pretrained network without dropout, are refused.
    `teacher_state` is the trained teacher's state_dict; without one, the teacher is first trained
    here, on the labels, for `teacher_epochs`, by default as many as the students.

    With a `resolution`, in points of accuracy, the seeds are those of a pilot. The next whole
    numbers join it, to as many in all, `max_seeds` at most, as let every method's difference from
    the baseline be known to so many points at 95 %, for all methods at once (Stein's two stages,
    `fkd.statistics.seeds_needed`). How many these are, and what they cost, goes into `notes` before
    they are trained, no more of them at once than the pilot's, so that they take no more memory. Of
    a sweep they are trained in the setting that the pilot has chosen.

    `schedules` multiply numbers by the step; a function (epochs, steps_per_epoch) -> schedules
    makes them for students and teacher alike. `numbers` are in place of the defaults of methods and
    optimizer, by name (`kd.weight`, `lr`). `augment` and `mix` change the training examples inside
    the step (`Resident.augmented`): teacher and students read the same.

    `sweep` lists the values of each hyperparameter that is swept, each method over those that it
    has. A method's best setting is chosen on a validation split, and has the results: `validation`
    is the share of a resident training source that is held out for it, or a source of its own. Each
    setting is tested once, after the choice, to tell what the choice was worth.

    The teacher's outputs are kept where they take no more than `teacher_memory` GiB and an example
    is the same whenever it is read; otherwise the teacher is asked about each batch. Differences
    are taken from `baseline`: by default the first method that asks for no teacher.

    Attributes: `results`, filled by `run`; `notes`, what a user should know before it runs, and
    while it does; `teacher`, the trained teacher once there is one.

    Raises ValueError, which begins with the argument's name, for what makes no sense, and for what
    takes more memory than is free.

    With a `mesh` of more ranks than one, all ranks make the same comparison, and run it together.
    The students of each method are dealt over the member ranks, and batches are split over the data
    ranks; every rank has the same results, and what one refuses all refuse.
    """

    def __init__(
        self,
        teacher: Build,
        student: Build,
        methods: Mapping[str, Method],
        data: Data,
        *,
        seeds: Sequence[Seed] = range(8),
        resolution: float | None = None,
        max_seeds: int = 64,
        epochs: int = 10,
        optimizer: Optimizer | None = None,
        schedules: Mapping[str, Schedule] | SchedulesOf | None = None,
        numbers: Mapping[str, float] | None = None,
        augment: Transform | None = None,
        mix: Mix | None = None,
        sweep: Mapping[str, Sequence[float]] | None = None,
        validation: float | Source = 0.2,
        teacher_state: Mapping[str, Tensor] | None = None,
        teacher_seed: int = TEACHER_SEED,
        teacher_epochs: int | None = None,
        teacher_memory: float = 4.0,
        baseline: str | None = None,
        order: Order | None = None,
        precision: str = "fp32",
        plan: Plan | None = None,
        mesh: Mesh | None = None,
    ):
        mesh = Mesh() if mesh is None else mesh
        _check.kind("mesh", Mesh, mesh=mesh)
        self._accord = Accord(mesh)
        with self._accord.together("the preparation"):
            seconds: dict[str, float] = {}
            check_kinds(
                teacher,
                student,
                methods,
                data,
                optimizer,
                schedules,
                numbers,
                augment,
                mix,
                sweep,
                validation,
                teacher_state,
                baseline,
                plan,
            )
            device = data.train.device
            self.notes = [*data.notes, *oddities(data)]
            check_arguments(
                methods, seeds, epochs, teacher_seed, teacher_epochs, teacher_memory, order
            )
            asked = resolution_of(resolution, max_seeds, seeds, methods)
            check_precision(precision, device)
            held_out = None
            if sweep:
                data, held_out = hold_out(data, validation)
            if augment is not None or mix is not None:
                data = replace(data, train=data.train.augmented(augment, mix))
            batch = example_batch(data.train)
            chosen, optimizer = with_numbers(methods, optimizer or optim.adam(), numbers or {})
            length = epochs if teacher_epochs is None else teacher_epochs
            steps = steps_per_epoch(data.train.examples, data.train.batch_size)
            own, of_teacher = schedules_of(schedules, steps, epochs, length)

            multiply_in(precision)
            dtype = PRECISIONS[precision]
            networks = {
                TEACHER: Network(teacher, functional(teacher, dtype), batch.inputs),
                "student": Network(student, functional(student, dtype), batch.inputs),
            }
            modules = {TEACHER: module_of(teacher, teacher_state), "student": module_of(student)}
            teacher_outputs = _outputs(TEACHER, networks, train=False)
            student_outputs = _outputs("student", networks, train=True)
            check_classes(TEACHER, teacher_outputs, data)
            check_classes("student", student_outputs, data)
            for role, network in networks.items():
                self.notes += odd_logits(role, network.model, batch.inputs)
            example = Batch(batch.inputs, batch.targets | teacher_outputs)
            task = Task(
                teacher=networks[TEACHER],
                student=networks["student"],
                methods=chosen,
                data=data,
                validation=held_out,
                recipe=Recipe(optimizer, own, sweep or {}, example),
                own=batch.targets,
                seeds=list(seeds),
                epochs=epochs,
                teacher_seed=teacher_seed,
                teacher_epochs=length,
                teacher_schedules=of_teacher,
                order=order or "own",
                plan=plan or Plan(),
                resolution=asked,
            )
            context = context_of(task, modules[TEACHER], student_outputs)
            candidates = check_methods(task, context)
            if baseline is None:
                baseline = without_teacher(task.methods, task.own)
            _check.known("baseline", "method", baseline, task.methods)
            check_ranks(task, mesh)
            check_dropout(task, candidates)
            task, notes = choose_live(task, teacher_outputs, teacher_memory)
            self.notes += notes
            task, notes = choose_order(task, order)
            self.notes += notes + check_start(task)
            task, notes = choose_compiling(task, teacher_state is not None, self._accord, seconds)
            self.notes += notes
            to_train = None if teacher_state is not None else teacher_candidates(task, context)
            self.notes += idle_cores(mesh.ranks) + check_memory(task, candidates, to_train, mesh)
            if dtype == torch.bfloat16 and not fast_in_bfloat16(device.type):
                self.notes.append(
                    "This processor has no instructions for bfloat16: bf16 is slower here than fp32"
                )
            self.results = Results(
                config=config(task, validation, teacher_state, teacher_memory, precision),
                environment=environment(mesh.member_ranks, mesh.data_ranks),
                data=summary(task, batch),
                device=str(device),
                baseline=baseline,
                parameters={role: parameters(network.model) for role, network in networks.items()},
                shapes={TEACHER: shapes(teacher_outputs), "student": shapes(student_outputs)},
                networks={role: type(module).__name__ for role, module in modules.items()},
                seconds=seconds,
                pilot=None if asked is None else len(seeds),
            )
            trained = None
            if teacher_state is not None:
                trained = teacher_of(task.teacher.model, teacher_state, device)
            self._config, self._teacher_state = dict(self.results.config), teacher_state
            work = relative_work({name: one.forward for name, one in candidates.items()})
            if to_train is not None:
                candidates[TEACHER] = to_train
            made = candidates if mesh.split is None else {}  # these are of whole batches
            self._run = Run(
                task, context, made, work, self.results, self._accord, self.notes, trained
            )

    @property
    def teacher(self) -> Teacher | None:
        """The trained teacher, once there is one."""
        return self._run.teacher

    def run(
        self,
        folder: str | Path | None = None,
        *,
        checkpoint_minutes: float = 5.0,
        options: Mapping[str, Any] | None = None,
    ) -> Generator[Progress]:
        """Train all there is to train, and put into `results` what is known as it comes.

        Each value says how far it is. A method that diverges or fails is recorded, and the others
        go on. In a `folder` all is kept as it comes, and where training stands each
        `checkpoint_minutes` and when the iterator is closed; table.md is written when the run ends,
        or stops otherwise than by a kill. A folder that holds the same run, cut short at whatever
        moment, goes on where that stood, and ends as it would have, bit for bit on the same
        machine; what was finished is not done again, and a method that failed otherwise than by
        divergence is tried again, from its checkpoint. A checkpoint also stays where what it holds
        could not be written, as where the disk was full, and is written when the run goes on.
        `options` are kept beside, for whoever started the run.

        Of a mesh of ranks each writes where its own students stand, into one folder on a disk that
        all of them see, and any other number of ranks goes on from there: bit for bit as well, but
        for rounding where batches are split among another number of ranks.

        Raises ValueError, before any work, where the folder holds another run or anything else, is
        in use, or lies on a disk with less room than the results take, and FloatingPointError where
        the teacher diverges, for then nothing can be compared; results, also those in the folder,
        say so among what failed, as `teacher`.
        """
        if folder is None:
            return self._run.progress()
        _check.positive("checkpoint_minutes", checkpoint_minutes=checkpoint_minutes)
        asked = identity(self._run.task, self._config, self._teacher_state)
        place = open_folder(self._run, Path(folder).expanduser(), asked, options)
        return kept(self._run, place, checkpoint_minutes)

    @property
    def accord(self) -> Accord:
        """What the ranks agree on: whoever runs the comparison asks it to stop."""
        return self._accord

    @property
    def troubles(self) -> list[str]:
        """What could not be written so far: each once, until the reason is another or it could."""
        return self._run.troubles

    @property
    def unwritten(self) -> list[str]:
        """The names of the files of results that could not be written: trained students, the
        teacher, numbers, a table. `troubles` say what became of each, and what to do."""
        return sorted(self._run.unwritten)


def compare(
    teacher: Build,
    student: Build,
    methods: Mapping[str, Method],
    data: Data,
    *,
    seeds: Sequence[Seed] = range(8),
    resolution: float | None = None,
    max_seeds: int = 64,
    epochs: int = 10,
    optimizer: Optimizer | None = None,
    schedules: Mapping[str, Schedule] | SchedulesOf | None = None,
    numbers: Mapping[str, float] | None = None,
    augment: Transform | None = None,
    mix: Mix | None = None,
    sweep: Mapping[str, Sequence[float]] | None = None,
    validation: float | Source = 0.2,
    teacher_state: Mapping[str, Tensor] | None = None,
    teacher_seed: int = TEACHER_SEED,
    teacher_epochs: int | None = None,
    teacher_memory: float = 4.0,
    baseline: str | None = None,
    order: Order | None = None,
    precision: str = "fp32",
    plan: Plan | None = None,
    mesh: Mesh | None = None,
    folder: str | Path | None = None,
    checkpoint_minutes: float = 5.0,
) -> Results:
    """Compare methods, and return what was measured: see `Comparison` for the arguments, and
    `Comparison.run` for `folder`, in which a run is kept and gone on with.

    A method that failed stands in the results' `failed`, and `complete` is False. What could not be
    written into the folder, as where a disk is full, is told by a RuntimeWarning each. Raises
    ValueError, before any work, for what makes no sense, and FloatingPointError where the teacher
    diverges.
    """
    comparison = Comparison(
        teacher,
        student,
        methods,
        data,
        seeds=seeds,
        resolution=resolution,
        max_seeds=max_seeds,
        epochs=epochs,
        optimizer=optimizer,
        schedules=schedules,
        numbers=numbers,
        augment=augment,
        mix=mix,
        sweep=sweep,
        validation=validation,
        teacher_state=teacher_state,
        teacher_seed=teacher_seed,
        teacher_epochs=teacher_epochs,
        teacher_memory=teacher_memory,
        baseline=baseline,
        order=order,
        precision=precision,
        plan=plan,
        mesh=mesh,
    )
    for _ in comparison.run(folder, checkpoint_minutes=checkpoint_minutes):
        pass
    for trouble in comparison.troubles:
        warnings.warn(f"compare: {trouble}", RuntimeWarning, stacklevel=2)
    return comparison.results


def _outputs(role: str, networks: Mapping[str, Network], *, train: bool) -> Tensors:
    """The outputs of a network in form, or a ValueError that begins with its role."""
    try:
        return networks[role].trained if train else networks[role].examined
    except ValueError as error:
        raise ValueError(f"{role}: {error}") from error
