"""What a comparison is to do, once it is known that everything fits together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fkd import _check, methods
from fkd.compare._setup.forward import Forward, forward
from fkd.compare._setup.stages import Resolution
from fkd.compare.sweep import Setting, settings
from fkd.data import Batch, Data, Resident, Source, steps_per_epoch
from fkd.distillation import Distillation, average_of, student_of
from fkd.distillation._distill import distill_known
from fkd.ensemble import Order, Seed
from fkd.execution import Plan
from fkd.methods import Context, Method
from fkd.model import Model, Tensors, check, functional, outputs_like
from fkd.optim import AverageState, Optimizer
from fkd.schedules import Schedule
from fkd.split import Split

Build = Callable[[], nn.Module]
# Of a run of so many epochs, each of so many steps.
SchedulesOf = Callable[[int, int], Mapping[str, Schedule]]


@dataclass(frozen=True)
class Network:
    """A network by the function that builds it, and as a pair of pure functions.

    What its outputs are for an example batch's `inputs`, on the meta device, is found out once,
    however many methods train it.
    """

    build: Build
    model: Model
    inputs: Any

    @cached_property
    def trained(self) -> Tensors:
        """The outputs in training."""
        return outputs_like(self.model, self.inputs, train=True)

    @cached_property
    def examined(self) -> Tensors:
        """The outputs in evaluation."""
        return outputs_like(self.model, self.inputs, train=False)

    @cached_property
    def tried(self) -> Tensors:
        """The outputs in training, of a network that has shown that it is a pure function."""
        check(self.model, self.inputs)
        return self.trained


@dataclass(frozen=True)
class Recipe:
    """How every student is trained, whatever the method.

    `batch` is an example of what a step reads, with the teacher's outputs among its targets.
    """

    optimizer: Optimizer
    schedules: Mapping[str, Schedule]
    sweep: Mapping[str, Sequence[float]]
    batch: Batch

    def grid(self, method: Method) -> list[Setting]:
        """Every setting of those swept numbers that the method has."""
        return settings(self.sweep, numbers(method, self.optimizer))

    def students(
        self, network: Network, method: Method, context: Context, split: Split | None = None
    ) -> "Candidates":
        """The students of a method, with those schedules and swept numbers that it has, who compute
        their part of each batch where it is split.

        Raises ValueError where the method does not fit the networks.
        """
        build = methods.wrapped(network.build, method, context)
        if build is not network.build:
            network = Network(build, functional(build, network.model.dtype), self.batch.inputs)
        names = numbers(method, self.optimizer)
        distillation = distill_known(
            network.model,
            network.tried,
            method,
            self.optimizer,
            self.batch,
            schedules={name: s for name, s in self.schedules.items() if name in names},
            context=context,
            split=split,
        )
        return Candidates(network, distillation, self.grid(method), self.batch)


class Sizes(NamedTuple):
    """The bytes of one student in training: of its `state`, and in that of its `params`; of the
    `student` itself, and of the running `average` of its weights, if there is one."""

    state: int
    params: int
    student: int
    average: int


def size_of(tree: Any) -> int:
    """The bytes of a tree's tensors."""
    return sum(leaf.nbytes for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


@dataclass(frozen=True)
class Candidates:
    """One method's students before they start: what they are, in what the method wraps around them,
    how they are trained, every setting, and an example `batch` of what a step reads."""

    network: Network
    distillation: Distillation
    grid: list[Setting]
    batch: Batch

    @cached_property
    def sizes(self) -> Sizes:
        """What one student takes."""
        state = self.distillation.init(0)
        averaged = isinstance(state.optimizer, AverageState)
        return Sizes(
            state=size_of(state),
            params=size_of(state.params),
            student=size_of(student_of(state)),
            average=size_of(average_of(state)) if averaged else 0,
        )

    @cached_property
    def forward(self) -> Forward:
        """What the forward pass of one student takes on a whole batch."""
        return forward(self.distillation, self.batch)


@dataclass(frozen=True)
class Task:
    """A comparison's arguments, checked.

    `data` is without the split that is held out for `validation`. `own` names the targets that the
    training source has by itself; what methods match beside them is of the teacher, which is asked
    about each batch where it is to be `live`. With a `resolution` the `seeds` are those of a pilot,
    which more may join.
    """

    teacher: Network
    student: Network
    methods: Mapping[str, Method]
    data: Data
    validation: Source | None
    recipe: Recipe
    own: Mapping[str, Tensor]
    seeds: Sequence[Seed]
    epochs: int
    teacher_seed: int
    teacher_epochs: int
    teacher_schedules: Mapping[str, Schedule]
    order: Order
    plan: Plan
    live: bool = False
    resolution: Resolution | None = None

    @property
    def wanted(self) -> list[str]:
        """The teacher's outputs that a method matches."""
        return sorted(targets_of(self.methods, self.own))

    @property
    def kept(self) -> Resident | None:
        """The training source, if the teacher's outputs are kept beside it."""
        train = self.data.train
        return train if isinstance(train, Resident) and self.wanted and not self.live else None

    def matched(self, source: Source, names: Iterable[str]) -> Source:
        """The training source with those of the teacher's outputs alone that these methods match.

        What else lies there would be read in each step, and be an input of what is compiled, which
        another comparison then would not find again.
        """
        if self.kept is None or not isinstance(source, Resident):
            return source
        wanted = targets_of({name: self.methods[name] for name in names}, self.own)
        return self.kept.with_targets({name: source.targets[name] for name in sorted(wanted)})

    @property
    def groups(self) -> list[list[str]]:
        """The methods that are trained side by side: a live teacher is asked once for all, where
        they read the same batches."""
        names = list(self.methods)
        together = self.live and self.order == "shared"
        return [names] if together else [[name] for name in names]

    def members(self, names: Sequence[str]) -> int:
        """How many students these methods have."""
        return len(self.seeds) * sum(len(self.recipe.grid(self.methods[name])) for name in names)

    @property
    def steps(self) -> int:
        """How many steps an epoch has."""
        return steps_per_epoch(self.data.train.examples, self.data.train.batch_size)

    def plan_of(self, members: int, epochs: int) -> Plan:
        """The plan of a method's students, so many on all ranks, with nothing left to choose."""
        return self.plan.settle(self.data.train.device, epochs * self.steps, members)

    # Of a streamed source the labels cost a pass over its files, so each is read once.
    @cached_property
    def test_labels(self) -> Tensor:
        """The test examples' classes, in order."""
        return labels_of(self.data.test)

    @cached_property
    def validation_labels(self) -> Tensor:
        """The same of the validation split, where there is one."""
        assert self.validation is not None
        return labels_of(self.validation)

    @property
    def teacher_recipe(self) -> Recipe:
        """How the teacher is trained: as the students, without a sweep."""
        return replace(self.recipe, schedules=self.teacher_schedules, sweep={})


def numbers(method: Method, optimizer: Optimizer) -> list[str]:
    """The names of all numbers that a sweep or a schedule may change: `lr`, `kd.weight`."""
    of_terms = [f"{name}.{key}" for name, term in method.items() for key in term.numbers]
    return [*optimizer.hyper, *of_terms]


def labels_of(source: Source) -> Tensor:
    """Every example's class, in order."""
    if isinstance(source, Resident):
        return source.targets["labels"]
    return torch.cat([batch.targets["labels"] for batch in source.in_order(source.batch_size)])


def with_numbers(
    chosen: Mapping[str, Method], optimizer: Optimizer, values: Mapping[str, float]
) -> tuple[dict[str, Method], Optimizer]:
    """The methods and the optimizer with these numbers in place of their own, wherever they have
    one of the name.

    Raises ValueError for a name that none has, and for a number that is negative or not finite.
    """
    known = [name for method in chosen.values() for name in numbers(method, optimizer)]
    for name, value in values.items():
        _check.known("numbers", "hyperparameter", name, dict.fromkeys(known))
        _check.not_negative("numbers", **{name: value})
    changed = {
        key: {name: term.with_numbers(name, values) for name, term in method.items()}
        for key, method in chosen.items()
    }
    own = {name: values.get(name, value) for name, value in optimizer.hyper.items()}
    return changed, optimizer._replace(hyper=own)


def schedules_of(
    schedules: Mapping[str, Schedule] | SchedulesOf | None, steps: int, epochs: int, teacher: int
) -> tuple[Mapping[str, Schedule], Mapping[str, Schedule]]:
    """The schedules of the students and of the teacher, who may train another number of epochs.

    Raises ValueError where schedules are those of one number alone and there are two.
    """
    if callable(schedules):
        return schedules(epochs, steps), schedules(teacher, steps)
    if schedules and teacher != epochs:
        raise ValueError(
            f"schedules: they are made for one length of training, but the students train {epochs} "
            f"epochs and the teacher {teacher}; give a function (epochs, steps_per_epoch) -> "
            "schedules"
        )
    return schedules or {}, schedules or {}


def targets_of(chosen: Mapping[str, Method], own: Mapping[str, Tensor]) -> set[str]:
    """What methods match beside a source's own targets: outputs of the teacher."""
    terms = [term for method in chosen.values() for term in method.values()]
    return {name for term in terms for name in term.targets} - set(own)


def takes_teacher(method: Method) -> bool:
    """Whether its students are made of the teacher itself, and not of its outputs' shapes alone."""
    return any(term.wrap is not None or "teacher" in term.needs for term in method.values())


def without_teacher(chosen: Mapping[str, Method], own: Mapping[str, Tensor]) -> str:
    """The first method that matches nothing of the teacher's, or the first of all."""
    names = (name for name, method in chosen.items() if not targets_of({name: method}, own))
    return next(names, next(iter(chosen)))


def context_of(task: Task, teacher: nn.Module, outputs: Tensors) -> Context:
    """What surrounds every student: the teacher as it is now, and the student's own outputs."""
    targets = task.recipe.batch.targets
    return Context(
        examples=task.data.train.examples,
        teacher=teacher,
        steps_per_epoch=task.steps,
        epochs=task.epochs,
        outputs={name: value.shape[1:] for name, value in outputs.items()},
        targets={name: value.shape[1:] for name, value in targets.items()},
    )


def check_methods(task: Task, context: Context) -> dict[str, Candidates]:
    """Each method's candidates.

    Raises ValueError for a method that does not fit, and a number that no method has or that it
    does not take.
    """
    recipe, chosen = task.recipe, task.methods
    names = [name for method in chosen.values() for name in numbers(method, recipe.optimizer)]
    for argument, mapping in (("sweep", recipe.sweep), ("schedules", recipe.schedules)):
        for name in mapping:
            _check.known(argument, "hyperparameter", name, dict.fromkeys(names))
    candidates = {}
    for name, method in chosen.items():
        try:
            students = recipe.students(task.student, method, context)
        except ValueError as error:
            raise ValueError(f"methods: {name}: {error}") from error
        for setting in filter(None, students.grid):  # its own numbers were tried in distill
            try:
                students.distillation.init(0, setting)
            except ValueError as error:
                raise ValueError(f"sweep: {name}: {error}") from error
        candidates[name] = students
    return candidates


def teacher_candidates(task: Task, context: Context, split: Split | None = None) -> Candidates:
    """The teacher that is to be trained, on the labels, under the mask that those of all methods
    have, if it is one."""
    terms = [term for method in task.methods.values() for term in method.values()]
    masks = {term.mask for term in terms if "labels" in term.targets}
    on_labels = methods.ce(mask=masks.pop() if len(masks) == 1 else None)
    return task.teacher_recipe.students(task.teacher, on_labels, context, split)
