"""Whether a term fits what a student gives and what it may match; and where not, what would."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from fkd import _check
from fkd.methods._term import Context, Term, per_example
from fkd.model import Model, functional, outputs_like

Pair = tuple[str, str]  # an output of the student and a target, by name
Shapes = Mapping[str, torch.Size]  # without the batch axis
FEW = 4  # pairs that a message lists


def fit(
    term: Term,
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    context: Context,
    dtype: torch.dtype,
) -> tuple[Model | None, Tensor]:
    """The term's head, which computes in `dtype`, and its values, all on the meta device.

    Raises ValueError where shapes or numbers do not fit, and then names the layers and their
    shapes, and other outputs and targets that would fit in their place, if there are any; and where
    a loss, a head or an align raises anything else, or changes in place what it is given.
    """
    _check.instance("fit", Term, "a Term", term=term)
    for side, tensors in (("outputs", outputs), ("targets", targets)):
        _check.mapping("fit", **{side: tensors})
        _check.tensor("fit", **{f"{side}[{name!r}]": x for name, x in tensors.items()})
    _check.instance("fit", Context, "a Context", context=context)
    _check.instance("fit", torch.dtype, "a torch.dtype", dtype=dtype)
    for name in term.students:
        _check.known("fit", "student's output", name, outputs)
    for name in term.targets if term.mask is None else (*term.targets, term.mask):
        _check.known("fit", "target", name, targets)
    try:
        return _run(term, outputs, targets, context, dtype)
    except Exception as error:  # one's own may raise anything
        shapes = {name: x.shape[1:] for name, x in outputs.items()}
        references = {name: x.shape[1:] for name, x in targets.items()}
        pairs = list(zip(term.students, term.targets, strict=False))
        # The examples' numbers have the shape of labels, and are none.
        known = [name for name in references if name != "index"]
        near = dict.fromkeys(other for pair in pairs for other in others(pair, shapes, known))
        fitting = (
            other
            for other in near
            if works(partial(_run, _renamed(term, *other), outputs, targets, context, dtype))
        )
        reason = str(error) if isinstance(error, ValueError) else _told(term, error)
        raise ValueError(f"{reason}{fits(pairs, fitting, shapes, references)}") from error


def _told(term: Term, error: Exception) -> str:
    """An error of a loss, a head or an align, with what a loss is called with."""
    sides = [*(f"student {x!r}" for x in term.students), *(f"target {x!r}" for x in term.targets)]
    line = str(error).strip().split("\n")[0]
    told = (
        f"it raised {type(error).__name__}: {line}; a loss is called with {', '.join(sides)} and "
        f"{'the keywords ' + ', '.join(term.hyper) if term.hyper else 'no keyword'}"
    )
    if "meta" not in line:
        return told
    return (
        f"{told}, and at first with shapes alone, on the device 'meta', where no number can be "
        "read: let torch.where take the place of `if`, and tensors that of .item() and .numpy(), "
        "and let a tensor that it brings, as weights of classes, follow by .to(student.device)"
    )


def others(pair: Pair, outputs: Iterable[str], targets: Iterable[str]) -> Iterator[Pair]:
    """The pairs near this one: with another target, another output, and one name on both sides.

    >>> list(others(("a", "b"), ["a", "c"], ["a", "b", "c"]))
    [('a', 'a'), ('a', 'c'), ('c', 'b'), ('c', 'c')]
    """
    student, target = pair
    yield from ((student, name) for name in targets if name != target)
    yield from ((name, target) for name in outputs if name != student)
    yield from ((name, name) for name in outputs if name in targets and name not in pair)


def works(attempt: Callable[[], object]) -> bool:
    """Whether it raises nothing: at a wrong shape a head of one's own may raise anything."""
    try:
        attempt()
    except Exception:
        return False
    return True


def fits(pairs: Sequence[Pair], fitting: Iterable[Pair], outputs: Shapes, targets: Shapes) -> str:
    """What an error about shapes goes on to say: the layers by name, and the first few that fit.

    Nothing where all shapes agree and no other pair fits, for then the error is about a number.

    >>> shapes = {"a": torch.Size([3]), "b": torch.Size([4])}
    >>> fits([("a", "b")], [("a", "a")], shapes, shapes)
    "; it joins student 'a' (3,) with target 'b' (4,); what fits: student 'a' with target 'a'"
    """
    few = list(islice(fitting, FEW))
    if not few and all(outputs[student] == targets[target] for student, target in pairs):
        return ""
    joined = " and ".join(
        f"student {student!r} {tuple(outputs[student])} with target {target!r} "
        f"{tuple(targets[target])}"
        for student, target in pairs
    )
    listed = ", ".join(f"student {student!r} with target {target!r}" for student, target in few)
    return f"; it joins {joined}" + (f"; what fits: {listed}" if few else "")


def _run(
    term: Term,
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    context: Context,
    dtype: torch.dtype,
) -> tuple[Model | None, Tensor]:
    given = {f"student {x!r}": outputs[x] for x in term.students}
    given |= {f"target {x!r}": targets[x] for x in term.targets}
    # In torch.inference_mode, which distill refuses, tensors do not count their changes.
    before = {name: x._version for name, x in given.items() if not x.is_inference()}
    model = head = None
    if term.head is not None:
        model = functional(partial(term.build_head, outputs, targets, context), dtype)
        head = partial(outputs_like, model, train=True)
    value = term.returned(outputs, targets, term.hyper, head)
    mask = None if term.mask is None else targets[term.mask]
    values = per_example(value, mask, mask)
    changed = [name for name, version in before.items() if given[name]._version != version]
    if changed:
        raise ValueError(
            f"it changes {' and '.join(changed)} in place, which the terms behind it would read; "
            "leave out in-place operations (`x -= y`, `x.relu_()`, inplace=True), or give it a "
            "clone"
        )
    if value.ndim > 1 and len(value) in value.shape[1:]:
        more = [{name: _of_one_more(x) for name, x in side.items()} for side in (outputs, targets)]
        other = term.returned(more[0], more[1], term.hyper, head)
        if other.shape[1:] != value.shape[1:]:
            raise ValueError(
                f"of a batch of {len(value)} the loss returned {tuple(value.shape)}, and of one "
                f"more {tuple(other.shape)}, as where [batch, 1] and [batch] are broadcast; let "
                "the target have the student's shape (values.unsqueeze(-1)), or of a relation "
                "return the mean of each example's row"
            )
    return model, values


def _of_one_more(x: Tensor) -> Tensor:
    """As an output or a target would be of one example more."""
    return x.new_empty(len(x) + 1, *x.shape[1:]) if x.ndim else x


def _renamed(term: Term, student: str, target: str) -> Term:
    """The term with this output and this target in every pair."""
    count = len(term.students)
    students = student if isinstance(term.student, str) else (student,) * count
    one = isinstance(term.target, str)
    targets = target if one else (target,) * count + term.targets[count:]
    return replace(term, student=students, target=targets)
