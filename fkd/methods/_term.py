"""A term: one thing that a student must match, as data; and what surrounds it."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fkd import _check, losses
from fkd.methods._asked import check_mask, check_temperature, check_weights, layer_names
from fkd.schedules import Schedule, by_epoch, linear_warmup

Build = Callable[[], nn.Module]
Wrap = Callable[[Build, "Context"], nn.Module]
Timetable = Callable[["Context"], Schedule]
Head = Callable[..., nn.Module]  # from shapes: torch.Size, or a tuple of them; and what it needs
Align = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of an output and its target


@dataclass(frozen=True)
class Context:
    """What surrounds a student in training: all that a term may need beside the shapes it joins.

    `examples` is how many the training set has, `steps_per_epoch` how many steps an epoch has, for
    which a warm-up takes 1 where it is not given, `epochs` how many of them the student is trained
    for, and `teacher` the trained teacher's module, whose layers a term may copy. `outputs` and
    `targets` are the shapes, without the batch axis, of what the student gives and of what it may
    match.
    """

    examples: int | None = None
    teacher: nn.Module | None = None
    steps_per_epoch: int | None = None
    epochs: int | None = None
    outputs: Mapping[str, torch.Size] = field(default_factory=dict)
    targets: Mapping[str, torch.Size] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("examples", "steps_per_epoch", "epochs"):
            if (count := getattr(self, name)) is not None:
                _check.whole("Context", 1, **{name: count})
        if self.teacher is not None:
            _check.instance("Context", nn.Module, "an nn.Module", teacher=self.teacher)
        for side, shapes in (("outputs", self.outputs), ("targets", self.targets)):
            _check.mapping("Context", **{side: shapes})
            named = {f"{side}[{name!r}]": shape for name, shape in shapes.items()}
            _check.instance("Context", torch.Size, "a torch.Size", **named)

    def need(self, name: str) -> Any:
        """The field of that name; raises ValueError where nobody gave it."""
        _check.known("Context.need", "field", name, NEEDS)
        value = getattr(self, name)
        if value is None or value == {}:
            raise ValueError(
                f"{name} is needed of the context, but was not given: pass "
                f"context=Context({name}=...)"
            )
        return value


NEEDS = tuple(part.name for part in fields(Context))


@dataclass(frozen=True)
class Term:
    """`weight` · mean of `loss(*student outputs, *targets, **hyper)` over the batch.

    Of a loss of [batch, ...] values, as of pixels or tokens, the mean is that over all of them.
    `mask` names the target, boolean [batch, ...], that is True where a position counts; the loss
    takes it by that keyword, and the mean is that over the positions kept: zero where none is. Each
    example has one value all the same, for a mean over examples is what every term, member and rank
    knows how to take: the mean of its positions, times all positions over those kept in the batch.
    So ranks that average their gradients give each rank's positions the same weight together,
    however many it keeps.

    `student` names one of the student's outputs or several, `target` one or several of the targets:
    `labels`, `index` (the examples' numbers in the data set), or outputs of the teacher; or none,
    (), where the loss compares outputs of the student's alone. The two sides may name different
    layers.

    `align(output, target)` brings each pair of them to one form, before the head and the loss: a
    function of `fkd.heads.align`, or none where shapes are taken as they are.

    `head(student_shape, target_shape)`, given shapes without their batch axis (tuples of them where
    there are several names), builds a module that is trained with the student and dropped at the
    end. What it needs beyond shapes, `needs` names: those fields of the `Context` are passed on by
    keyword. The head takes the student's outputs and returns one tensor that stands in their place;
    with `joint`, it takes the targets too and returns all that the loss takes, as a dict by
    argument; after the targets it takes those hyperparameters, as scalars, that `head_hyper` names.

    `schedules` lets a number follow the steps: for `weight`, or for a hyperparameter, a function
    from the context, of which it may take the steps of an epoch, to a schedule, which multiplies
    the number.

    `wrap(build, context)` makes the module that is trained, and kept, in the student's place, from
    what builds the student, which it calls once for each that it wants.

    `whole` says whether a value depends on the other examples of the batch, so that who computes a
    part of it must have all of it. None leaves it to the loss: those of `fkd.losses.BY_EXAMPLE`
    hold each example apart, and any other is taken for whole, as a joint head's is.

    Raises ValueError for a field of another kind, a weight that is negative or not finite, a name
    in `head_hyper`, `needs` or `schedules` that is not known, a mask where the loss takes none, and
    for `align` where outputs and targets are no pairs.
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
    schedules: Mapping[str, Timetable] = field(default_factory=dict)
    wrap: Wrap | None = None
    mask: str | None = None
    whole: bool | None = None

    def __post_init__(self) -> None:
        _check_term(self)
        for name in self.head_hyper:
            _check.known("Term", "head_hyper", name, self.hyper)
        for name in self.needs:
            _check.known("Term", "need", name, NEEDS)
        for name, schedule in self.schedules.items():
            _check.known("Term", "schedule of", name, self.numbers)
            _check.function("Term", **{name: schedule})
        if self.mask is not None and "mask" not in _parameters(self.loss):
            name = getattr(self.loss, "__name__", repr(self.loss))
            raise ValueError(
                f"Term: mask is {self.mask!r}, but {name} takes no keyword `mask`, as losses of "
                "logits do"
            )

    @property
    def students(self) -> tuple[str, ...]:
        """The names of the student's outputs."""
        return (self.student,) if isinstance(self.student, str) else self.student

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the targets."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def is_whole(self) -> bool:
        """Whether a value depends on the other examples of the batch, or may."""
        if self.whole is not None:
            return self.whole
        return self.joint or self.loss not in losses.BY_EXAMPLE

    @property
    def numbers(self) -> dict[str, float]:
        """The hyperparameters, the weight among them."""
        return {"weight": self.weight, **self.hyper}

    def with_numbers(self, name: str, numbers: Mapping[str, float]) -> "Term":
        """The term of that name with the numbers that are given for it, as `kd.weight`."""
        _check.text("with_numbers", name=name)
        _check.mapping("with_numbers", numbers=numbers)
        own = {key: numbers.get(f"{name}.{key}", value) for key, value in self.numbers.items()}
        return replace(self, weight=own.pop("weight"), hyper=own)

    def sides(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The student's outputs and the targets, aligned."""
        for name in self.students:
            _check.known("Term", "student's output", name, outputs)
        for name in self.targets:
            _check.known("Term", "target", name, targets)
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
        if self.head is None:
            raise ValueError("Term: this one has no head to build")
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
        whole_mask: Tensor | None = None,
    ) -> Tensor:
        """The value of each example [batch]; `head` runs the term's head. Where these are some
        examples of a batch, `whole_mask` is the mask of all of them."""
        value = self.returned(outputs, targets, hyper, head)
        mask = None if self.mask is None else targets[self.mask]
        return per_example(value, mask, mask if whole_mask is None else whole_mask)

    def returned(
        self,
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        hyper: Mapping[str, Any],
        head: Callable[[tuple[Tensor, ...]], dict[str, Tensor]] | None,
    ) -> Tensor:
        """What the loss itself returns, [batch, ...]."""
        students, references = self.sides(outputs, targets)
        options = hyper if self.mask is None else {**hyper, "mask": targets[self.mask]}
        if head is None:
            return self.loss(*students, *references, **options)
        if self.joint:
            numbers = (torch.as_tensor(hyper[name]) for name in self.head_hyper)
            return self.loss(**head((*students, *references, *numbers)), **options)
        return self.loss(head(students)["logits"], *references, **options)


def _check_term(term: Term) -> None:
    """Raise unless each field is of its kind."""
    _check.function("Term", loss=term.loss)
    for side, names in (("student", term.student), ("target", term.target)):
        _check.instance("Term", (str, tuple), "a name or a tuple of names", **{side: names})
        if not names and (side, names) != ("target", ()):
            raise ValueError(f"Term: {side} must name an output, but it is empty")
    for field_of, names in (
        ("student", term.students),
        ("target", term.targets),
        ("head_hyper", term.head_hyper),
        ("needs", term.needs),
    ):
        _check.instance("Term", tuple, "a tuple of names", **{field_of: names})
        _check.text("Term", **{f"{field_of}[{place}]": name for place, name in enumerate(names)})
    check_weights("Term", weight=term.weight)
    _check.mapping("Term", hyper=term.hyper)
    _check.mapping("Term", schedules=term.schedules)
    for name, value in term.hyper.items():
        _check.plain("Term", **{name: value})
        _check.scalar("Term", **{name: value})
    _check.instance("Term", bool, "True or False", joint=term.joint)
    for field_of, function in (("head", term.head), ("align", term.align), ("wrap", term.wrap)):
        if function is not None:
            _check.function("Term", **{field_of: function})
    check_mask("Term", term.mask)
    if term.align is not None and len(term.students) != len(term.targets):
        raise ValueError(
            "Term: align takes pairs, so there must be as many targets as outputs of the student, "
            f"but they are {', '.join(term.targets)} and {', '.join(term.students)}"
        )


def _parameters(function: Callable[..., Any]) -> Collection[str]:
    """The names of what it takes; none where it does not tell them, as some of torch's do not."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return ()


def per_example(value: Tensor, mask: Tensor | None, whole: Tensor | None) -> Tensor:
    """Values [batch] whose mean is that of the values [batch, ...] where the mask is True. Of some
    examples of a batch, `whole` is the mask of all."""
    _check.instance("Term", Tensor, "a torch.Tensor", **{"what the loss returns": value})
    if mask is None or whole is None:
        return value.flatten(1).mean(-1) if value.ndim > 1 else value
    if value.shape != mask.shape:
        raise ValueError(
            "Term: the loss must return a value for each position of its mask, but the value is "
            f"{tuple(value.shape)} and the mask is {tuple(mask.shape)}"
        )
    # A count is exact in float32, as it is not in bfloat16.
    kept = whole.sum().clamp(min=1).to(torch.promote_types(value.dtype, torch.float32))
    mean = value if value.ndim == 1 else value.flatten(1).mean(-1)
    return (mean * (whole.numel() / kept)).to(value.dtype)


Method = dict[str, Term]


def labels(where: str, ce: float, mask: str | None = None) -> Method:
    """The term that most methods stand beside: cross-entropy against the labels, weighed by `ce`.

    Raises ValueError, in the name of the method `where`, for a weight or a mask that is none.
    """
    check_weights(where, ce=ce)
    check_mask(where, mask)
    return {"ce": Term(losses.cross_entropy, target="labels", weight=ce, mask=mask)}


def softened(
    name: str,
    loss: Callable[..., Tensor],
    weight: float,
    temperature: float,
    ce: float,
    mask: str | None,
) -> Method:
    """A loss of the logits at a temperature, beside the labels."""
    check_weights(name, weight=weight)
    check_temperature(name, temperature=temperature)
    others = labels(name, ce, mask)
    term = Term(loss, weight=weight, hyper={"temperature": temperature}, mask=mask)
    return {name: term} | others


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
    check_weights(name, weight=weight)
    term = Term(loss, *layer_names(name, layer, teacher_layer), weight, head=head, align=align)
    return {name: term} | labels(name, ce)


def warmup_over(where: str, warmup: int) -> dict[str, Timetable]:
    """The schedule of a weight that rises as min(epoch / warmup, 1), counted from 1; none for 0.

    Raises ValueError, in the name of the method `where`, for no whole number of epochs.
    """
    _check.whole(where, warmup=warmup)
    _check.scalar(where, warmup=warmup)
    return {"weight": partial(_warmup, warmup)} if warmup else {}


def _warmup(epochs: int, context: Context) -> Schedule:
    return by_epoch(linear_warmup(epochs), context.steps_per_epoch or 1)


def over_training(context: Context) -> Schedule:
    """epoch / epochs, counted from 1: full in the last."""
    return by_epoch(linear_warmup(context.need("epochs")), context.need("steps_per_epoch"))


def wrapped(build: Build, method: Method, context: Context) -> Build:
    """What builds the student that the method trains: `build`, in what its terms wrap around it.

    >>> wrapped(nn.Identity, labels("ce", 1.0), Context()) is nn.Identity
    True
    """
    _check.function("wrapped", build=build)
    _check.mapping("wrapped", method=method)
    _check.instance("wrapped", Term, "a Term", **{str(name): x for name, x in method.items()})
    _check.instance("wrapped", Context, "a Context", context=context)
    for term in method.values():
        if term.wrap is not None:
            build = partial(term.wrap, build, context)
    return build
