"""What a student is worth: its outputs, accuracy, loss, agreement and calibration.

The scores take logits [*members, examples, ..., classes] and have one number a member. Labels are
whole numbers [examples, ...], or soft [examples, ..., classes], whose largest is the label. What
does not count is left out: positions where `mask`, boolean [examples, ...], is False, and labels of
−100, which PyTorch's losses ignore. Where nothing is left a score is NaN. Logits among which one is
NaN name no class, so they are wrong, however many classes there are. Raises ValueError for what are
no tensors, for shapes, dtypes and devices that do not fit, and for labels that are none of the
classes, which are looked at wherever tensors hold values.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.func import vmap
from torch.utils._pytree import tree_leaves

from fkd import _check, losses
from fkd.data import IGNORED, Resident, Source
from fkd.distillation import State, average_of, student_of
from fkd.ensemble import member, size
from fkd.execution._ensemble_layers import EnsembleLayers
from fkd.model import Model, Tensors
from fkd.model._module import check_ask

Logits = Float[Tensor, "... classes"]
Labels = Int[Tensor, "..."] | Float[Tensor, "... classes"]
Mask = Bool[Tensor, "..."] | None
Scores = Float[Tensor, "..."]  # [*members]
AT_ONCE = 2**22  # numbers of logits
Right = Bool[Tensor, "..."]  # [*members, examples, ...]

Ask = Callable[[Any], Tensors]
"""What is asked about a batch of inputs, such as a teacher: it gives outputs by name."""


def predict(
    ask: Ask,
    source: Source,
    *,
    names: Sequence[str] = ("logits",),
    batch_size: int | None = None,
) -> Tensors:
    """The named outputs for all examples of a source, in order, without gradient: its `answers`
    put together. Raises ValueError as these do.

    >>> inputs = torch.arange(6.0).reshape(3, 2)
    >>> predict(lambda x: {"logits": 2 * x}, Resident(inputs, {}))["logits"][:, 1]
    tensor([ 2.,  6., 10.])
    """
    return together(answers(ask, source, names=names, batch_size=batch_size), source.examples)


def answers(
    ask: Ask,
    source: Source,
    *,
    names: Sequence[str] = ("logits",),
    batch_size: int | None = None,
) -> Iterator[Tensors]:
    """The named outputs for a source's examples, some of the examples at a time, in order.

    Each example is shown once, `batch_size` of them at a time: by default 64 on a CPU, up to 2,048
    on a GPU, and of a source that is not resident no more than its own batch size.
    Raises ValueError at once for what is no function, a module in training mode, no source or no
    sequence of names; and when it comes to it for a bare tensor, for an output that there is not,
    and for one without an axis of the examples.
    """
    check_ask("answers", ask=ask)
    _check.kind("answers", Source, source=source)
    _check.words("answers", names=names)
    if not names:
        raise ValueError("answers: names are empty; give at least one output's name")
    if batch_size is not None:
        _check.count("answers", batch_size=batch_size)
    return _answers_to(ask, source, names, batch_size or _chunk(source))


@torch.no_grad()
def _answers_to(
    ask: Ask, source: Source, names: Sequence[str], batch_size: int
) -> Iterator[Tensors]:
    for batch in source.in_order(batch_size):
        examples = next(len(x) for x in tree_leaves(batch.inputs) if isinstance(x, Tensor))
        outputs = ask(batch.inputs)
        if isinstance(outputs, Tensor):
            raise ValueError(
                "answers: ask must give outputs by name, as {'logits': tensor}, but it gave a "
                "tensor; fkd.teachers.teacher_of_module makes of a module what does"
            )
        _check.mapping("answers", outputs=outputs)
        for name in names:
            _check.known("answers", "output", name, outputs)
            _check.tensor("answers", **{f"output {name!r}": outputs[name]})
            shape = tuple(outputs[name].shape)
            if shape[:1] != (examples,):
                raise ValueError(
                    f"answers: output {name!r} must lead with an axis of the {examples} examples "
                    f"that were shown, but it is {shape}; leave it out of names"
                )
        yield {name: outputs[name] for name in names}


def together(parts: Iterable[Tensors], examples: int) -> Tensors:
    """The outputs of all examples from those of some at a time, each in memory but once.

    Raises ValueError where an output is not the same in all parts but for the number of examples,
    in its shape, dtype and device, and where they are not of so many examples.

    >>> together([{"logits": torch.zeros(2, 3)}, {"logits": torch.ones(1, 3)}], 3)["logits"][:, 0]
    tensor([0., 0., 1.])
    """
    _check.count("together", least=0, examples=examples)
    _check.kind("together", (Sequence, Iterator), parts=parts)
    whole: Tensors = {}
    start = 0
    for part in parts:
        _check.mapping("together", part=part)
        for name, output in part.items():
            _check.tensor("together", **{f"output {name!r}": output})
            if not output.ndim:
                raise ValueError(
                    f"together: output {name!r} must lead with an axis of examples, but it is a "
                    "single number"
                )
        stop = start + max((len(output) for output in part.values()), default=0)
        if not whole:
            whole = {name: x.new_empty((examples, *x.shape[1:])) for name, x in part.items()}
        for name in whole | part:
            place = whole[name][start:stop] if name in whole else None
            if place is None or name not in part or _form(place) != _form(part[name]):
                raise ValueError(
                    f"together: output {name!r} must be of {examples} examples alike, but examples "
                    f"{start} to {stop} have {_forms(part)} and the whole is {_forms(whole)}"
                )
            place.copy_(part[name])
        start = stop
    if start != examples:
        raise ValueError(f"together: there must be {examples} examples, but there are {start}")
    return whole


def _forms(outputs: Tensors) -> dict[str, str]:
    return {name: _form(output) for name, output in outputs.items()}


def _form(output: Tensor) -> str:
    return f"{output.dtype} {tuple(output.shape)} on {output.device}"


@torch.no_grad()
def predict_members(
    model: Model,
    state: State,
    source: Source,
    *,
    name: str = "logits",
    average: bool = False,
    batch_size: int | None = None,
) -> Float[Tensor, "members examples ..."]:
    """The named output of every member of an ensemble, one after the other on a CPU, and several at
    once on a GPU where vmap can run them.

    Each example is read once for all members. With `average` it is the running average of their
    parameters that is asked, of `fkd.optim.averaged`, and not the last ones. Raises ValueError for
    what is no model, no ensemble's state or no source, for an output that the model has not, and
    where the optimizer keeps no average.
    """
    _check.kind("predict_members", Model, model=model)
    _check.kind("predict_members", Source, source=source)
    _check.kind("predict_members", str, name=name)
    _check.kind("predict_members", bool, average=average)
    if batch_size is not None:
        _check.count("predict_members", batch_size=batch_size)
    members = size(state)
    students = average_of(state) if average else student_of(state)
    one = partial(_output, name)
    together = vmap(one, in_dims=(None, 0, None))
    at_once = source.device.type != "cpu" and members > 1
    parts = []
    for batch in source.in_order(batch_size or _chunk(source, members)):
        if at_once:
            try:
                with EnsembleLayers():
                    parts.append(together(model, students, batch.inputs))
                continue
            except Exception:  # what vmap or a kernel cannot run; the model's own comes again
                at_once = False
        each = [one(model, member(students, k), batch.inputs) for k in range(members)]
        parts.append(torch.stack(each))
    return torch.cat(parts, dim=1)


def _output(name: str, model: Model, student: tuple[Tensors, Tensors], inputs: Any) -> Tensor:
    params, buffers = student
    outputs, _ = model.apply(params, buffers, inputs, train=False)
    _check.known("predict_members", "output", name, outputs)
    return outputs[name]


def _chunk(source: Source, members: int = 1) -> int:
    # On a CPU a chunk's activations should stay in its caches; a GPU wants to be filled, but the
    # hundreds of members of a sweep fill its memory.
    cpu = source.device.type == "cpu"
    number = 64 if cpu else min(2048, max(64, 2**15 // members))
    # What is streamed lies in memory several times, for a loader reads ahead.
    return number if isinstance(source, Resident) else min(number, source.batch_size)


def accuracy(logits: Logits, labels: Labels, mask: Mask = None) -> Scores:
    """The share of examples or positions, in [0, 1], whose largest logit is the label's.

    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    tensor(0.5000)
    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, -100]))
    tensor(1.)
    """
    right, kept = _scored("accuracy", logits, labels, mask)
    return right.sum(-1) / kept.sum()


def correct(logits: Logits, labels: Labels, mask: Mask = None) -> Right:
    """Where the largest logit is the label's, boolean [*members, examples, ...]; False where a
    position does not count.

    >>> correct(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    tensor([ True, False])
    """
    right, _ = _scored("correct", logits, labels, mask)
    return right.reshape(logits.shape[:-1])


def cross_entropy(logits: Logits, labels: Labels, mask: Mask = None) -> Scores:
    """−Σ_c y_c log softmax(logits)_c in nats, averaged over examples or positions.

    y is one at the label and zero elsewhere, or the soft label, whose numbers are probabilities.
    It is NaN where logits that count are.

    >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))
    tensor(1.3863)
    """
    _, kept = _scored("cross_entropy", logits, labels, mask)
    positions = labels.shape[:-1] if labels.is_floating_point() else labels.shape
    counts = kept.reshape(positions)
    members = logits.shape[: -1 - len(positions)]
    flat = logits.reshape(prod(members), *positions, logits.shape[-1])
    return _sums_of_losses(flat, labels, counts).reshape(members) / kept.sum()


def _sums_of_losses(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """[members], of all members at once, for a GPU waits for each call; but of some examples at a
    time, for a loss takes the memory of its logits several times."""
    members, _, *rest = logits.shape
    some = max(1, AT_ONCE // max(1, members * prod(rest)))
    sums = logits.new_zeros(members, dtype=torch.promote_types(logits.dtype, torch.float32))
    if not logits.numel():
        return sums
    parts = (logits.split(some, 1), labels.split(some), counts.split(some))
    for each, y, mask in zip(*parts, strict=True):
        x = each.flatten(0, 1).to(sums.dtype)
        y, mask = (tensor.expand(members, *tensor.shape).flatten(0, 1) for tensor in (y, mask))
        sums = sums + losses.cross_entropy(x, y, mask=mask).reshape(members, -1).sum(1)
    return sums


def agreement(student: Logits, teacher: Logits, mask: Mask = None) -> Scores:
    """The share of examples or positions, in [0, 1], where student and teacher name the same class.

    The teacher's logits are [examples, ..., classes].

    Stanton et al., "Does Knowledge Distillation Really Work?" (2021), equation 3.

    >>> agreement(torch.tensor([[2.0, 1.0], [0.0, 1.0]]), torch.tensor([[5.0, 1.0], [1.0, 0.0]]))
    tensor(0.5000)
    """
    _check.floating("agreement", teacher=teacher)
    right, kept = _scored("agreement", student, teacher, mask)
    return right.sum(-1) / kept.sum()


def calibration_error(logits: Logits, labels: Labels, bins: int = 15, mask: Mask = None) -> Scores:
    """The expected calibration error, in [0, 1]: |accuracy − confidence|, averaged over `bins`
    equal bins of confidence by how many examples or positions they hold.

    It is NaN where logits that count are, which have no confidence.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), section 2.

    >>> calibration_error(torch.tensor([[30.0, 0.0], [30.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.5000)
    """
    _check.count("calibration_error", bins=bins)
    right, kept = _scored("calibration_error", logits, labels, mask)
    confidence = logits.float().softmax(-1).amax(-1).reshape(right.shape)
    surplus = (right.float() - confidence).masked_fill(~kept, 0.0)
    # bin b holds the confidences in (b/bins, (b+1)/bins]
    place = ((confidence.nan_to_num() * bins).ceil().long() - 1).clamp(0, bins - 1)
    sums = torch.zeros(*surplus.shape[:-1], bins, device=logits.device)
    return sums.scatter_add(-1, place, surplus).abs().sum(-1) / kept.sum()


def _scored(where: str, logits: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
    """Where the answer is right and counts [*members, positions], and what counts [positions]."""
    tensors = {"logits": logits, "labels": labels} | ({} if mask is None else {"mask": mask})
    _check.tensor(where, **tensors)
    _check.floating(where, logits=logits)
    if labels.dtype == torch.bool or labels.is_complex():
        raise ValueError(
            f"{where}: labels must be whole numbers or floating-point, but their dtype is "
            f"{labels.dtype}"
        )
    if logits.ndim and not logits.shape[-1]:
        raise ValueError(
            f"{where}: logits must be of at least one class, but they are {tuple(logits.shape)}"
        )
    soft = labels.is_floating_point()
    shape = logits.shape if soft else logits.shape[:-1]
    if logits.ndim < 2 or labels.ndim <= soft or shape[-labels.ndim :] != labels.shape:
        raise ValueError(
            f"{where}: of logits [*members, examples, ..., classes] labels must be whole numbers "
            "[examples, ...], and soft labels or a teacher's logits [examples, ..., classes], but "
            f"they are {tuple(logits.shape)} and {tuple(labels.shape)} of {labels.dtype}"
        )
    numbers = _answers(labels) if soft else labels.long()  # 8 bits do not hold what is ignored
    kept = numbers != IGNORED
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape != numbers.shape:
            raise ValueError(
                f"{where}: mask must be boolean {tuple(numbers.shape)}, one for each position, but "
                f"it is {tuple(mask.shape)} of {mask.dtype}"
            )
        kept = kept & mask
    if not soft and _check.readable(kept):
        _check_within(where, numbers[kept], logits.shape[-1])
    answers = _answers(logits)
    right = (answers == numbers) & (answers >= 0) & kept
    return right.flatten(-numbers.ndim), kept.flatten()


def _check_within(where: str, labels: Tensor, classes: int) -> None:
    """Raise where a label is none of the classes."""
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ValueError(
            f"{where}: labels must lie in [0, {classes}), as the logits have {classes} classes, or "
            f"be {IGNORED}, but one is {int(wrong[0])}"
        )


def _answers(logits: Tensor) -> Tensor:
    """The class of the largest number; −1 where one is NaN, which argmax takes for the largest."""
    return logits.argmax(-1).masked_fill(logits.isnan().any(-1), -1)
