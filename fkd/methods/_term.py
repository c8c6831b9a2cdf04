"""A term: one thing that a student must match, as data; and what surrounds it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fkd import _check, losses
from fkd.schedules import Schedule, by_epoch, linear_warmup

Build = Callable[[], nn.Module]
Head = Callable[..., nn.Module]  # from shapes: torch.Size, or a tuple of them; and what it needs
Align = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of an output and its target
EpochSchedule = Callable[[int], Schedule]  # from the number of steps that an epoch has


@dataclass(frozen=True)
class Context:
    """What surrounds a student in training: all that a term may need beside the shapes it joins.

    `examples` is how many the training set has, `steps_per_epoch` how many steps an epoch has, and
    `teacher` the trained teacher's module, whose layers a term may copy. `outputs` and `targets`
    are the shapes, without the batch axis, of what the student gives and of what it may match.
    """

    examples: int | None = None
    teacher: nn.Module | None = None
    steps_per_epoch: int = 1
    outputs: Mapping[str, torch.Size] = field(default_factory=dict)
    targets: Mapping[str, torch.Size] = field(default_factory=dict)

    def need(self, name: str) -> Any:
        """The field of that name; raises ValueError where nobody gave it."""
        value = getattr(self, name)
        if value is None or value == {}:
            raise ValueError(
                f"it needs `{name}` of the context, which was not given: pass "
                f"context=Context({name}=...)"
            )
        return value


NEEDS = tuple(part.name for part in fields(Context))


@dataclass(frozen=True)
class Term:
    """`weight` · mean of `loss(*student outputs, *targets, **hyper)` over the batch.

    `student` names one of the student's outputs or several, `target` one or several of the targets:
    `labels`, `index` (the examples' numbers in the data set), or outputs of the teacher. The two
    sides may name different layers.

    `align(output, target)` brings each pair of them to one form, before the head and the loss: a
    function of `fkd.heads.align`, or none where shapes are taken as they are.

    `head(student_shape, target_shape)`, given shapes without their batch axis (tuples of them where
    there are several names), builds a module that is trained with the student and dropped at the
    end. What it needs beyond shapes, `needs` names: those fields of the `Context` are passed on by
    keyword. The head takes the student's outputs and returns one tensor that stands in their place;
    with `joint`, it takes the targets too and returns all that the loss takes, as a dict by
    argument; after the targets it takes those hyperparameters, as scalars, that `head_hyper` names.

    `schedules` lets a number follow the steps: for `weight`, or for a hyperparameter, a function
    from the steps of an epoch to a schedule, which multiplies the number.

    `wrap(student, context)` makes the module that is trained, and kept, in the student's place.

    Raises ValueError for a weight that is negative or not finite, and for a name in `head_hyper`,
    `needs` or `schedules` that is not known.
    """

    loss: Callable[..., Tensor]
    student: str | tuple[str, ...] = "logits"
    target: str | tuple[str, ...] = "logits"
    weight: float = 1.0
    hyper: Mapping[str, float] = field(default_factory=dict)
    head: Head | None = None
    joint: bool = False
    align: Align | None = None
    head_hyper: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    schedules: Mapping[str, EpochSchedule] = field(default_factory=dict)
    wrap: Callable[[nn.Module, Context], nn.Module] | None = None

    def __post_init__(self) -> None:
        _check.not_negative("Term", weight=self.weight)
        for name in self.head_hyper:
            _check.known("Term", "head_hyper", name, self.hyper)
        for name in self.needs:
            _check.known("Term", "need", name, NEEDS)
        for name in self.schedules:
            _check.known("Term", "schedule of", name, self.numbers)

    @property
    def students(self) -> tuple[str, ...]:
        """The names of the student's outputs."""
        return (self.student,) if isinstance(self.student, str) else self.student

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def numbers(self) -> dict[str, float]:
        """The hyperparameters, the weight among them."""
        return {"weight": self.weight, **self.hyper}

    def sides(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The student's outputs and the targets, aligned."""
        students = tuple(outputs[name] for name in self.students)
        references = tuple(targets[name] for name in self.targets)
        if self.align is None:
            return students, references
        pairs = [self.align(*pair) for pair in zip(students, references, strict=True)]
        return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)

    def build_head(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], context: Context
    ) -> nn.Module:
        """The head for tensors of these shapes, in the dtype of the student's.

        Raises ValueError where the context lacks what it needs.
        """
        assert self.head is not None
        students, references = (
            tuple(x.shape[1:] for x in side) for side in self.sides(outputs, targets)
        )
        head = self.head(
            students[0] if isinstance(self.student, str) else students,
            references[0] if isinstance(self.target, str) else references,
            **{name: context.need(name) for name in self.needs},
        )
        return head.to(outputs[self.students[0]].dtype)

    def values(
        self,
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        hyper: Mapping[str, Any],
        head: Callable[[tuple[Tensor, ...]], dict[str, Tensor]] | None,
    ) -> Tensor:
        """The loss of each example; `head` runs the term's head."""
        students, references = self.sides(outputs, targets)
        if head is None:
            return self.loss(*students, *references, **hyper)
        if self.joint:
            numbers = (torch.as_tensor(hyper[name]) for name in self.head_hyper)
            return self.loss(**head((*students, *references, *numbers)), **hyper)
        return self.loss(head(students)["logits"], *references, **hyper)


Method = dict[str, Term]


def labels(weight: float) -> Method:
    """The term that most methods stand beside: cross-entropy against the labels."""
    return {"ce": Term(losses.cross_entropy, target="labels", weight=weight)}


def one_layer(
    name: str,
    loss: Callable[..., Tensor],
    weight: float,
    ce: float,
    layer: str,
    teacher_layer: str | None = None,
    head: Head | None = None,
    align: Align | None = None,
) -> Method:
    """A loss of one layer against a layer of the teacher, its namesake by default, and labels."""
    term = Term(loss, layer, teacher_layer or layer, weight, head=head, align=align)
    return {name: term} | labels(ce)


def several_layers(
    where: str, layers: Sequence[str], teacher_layers: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The student's layers and the teacher's, their namesakes by default: one for each.

    Raises ValueError for a string, which names one layer, and for numbers of layers that differ.
    """
    sides = layers, layers if teacher_layers is None else teacher_layers
    for names in sides:
        if isinstance(names, str):
            raise ValueError(f"{where}: it takes several layers, but they are {names!r}")
    students, teachers = (tuple(names) for names in sides)
    if len(students) != len(teachers):
        raise ValueError(
            f"{where}: each layer of the student needs one of the teacher, "
            f"but they are {', '.join(students)} and {', '.join(teachers)}"
        )
    return students, teachers


def warmup_over(epochs: int) -> dict[str, EpochSchedule]:
    """The schedule of a weight that rises as min(epoch / epochs, 1), counted from 1; none for 0."""
    _check.not_negative("warmup_over", epochs=epochs)
    return {"weight": partial(by_epoch, linear_warmup(epochs))} if epochs else {}


def wrapped(build: Build, method: Method, context: Context) -> Build:
    """What builds the student that the method trains: `build`, in what its terms wrap around it.

    >>> wrapped(nn.Identity, labels(1.0), Context()) is nn.Identity
    True
    """
    wraps = [term.wrap for term in method.values() if term.wrap is not None]
    return Wrapped(build, tuple(wraps), context) if wraps else build


@dataclass(frozen=True)
class Wrapped:
    """A function that builds a module and wraps it."""

    build: Build
    wraps: tuple[Callable[[nn.Module, Context], nn.Module], ...]
    context: Context

    def __call__(self) -> nn.Module:
        module = self.build()
        for wrap in self.wraps:
            module = wrap(module, self.context)
        return module
