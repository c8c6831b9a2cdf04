"""A teacher's outputs beside the examples, where each example is shown to it once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from fkd import _check
from fkd._random import Key
from fkd.data import Resident, Source
from fkd.evaluate import Ask, answers, together
from fkd.model import Tensors
from fkd.model._module import check_ask
from fkd.teachers._compact import Expand, Form, compact, forms_of, is_cut, parts_of
from fkd.teachers._teacher import check_names


def cached(
    teacher: Ask,
    source: Resident,
    names: Sequence[str],
    *,
    top_k: int | None = None,
    storage: torch.dtype | None = None,
) -> Resident:
    """The source with those outputs of the teacher among its targets.

    Without augmentation a teacher's answers never change, so each example is shown to it once.
    With `top_k`, `logits` (of one among several, `a.logits`) lie as their k largest
    log-probabilities, with the mass of the other classes spread evenly over them when they are
    read: `fkd.teachers.top_k` and `spread`. Floating-point numbers lie in `storage`, such as
    torch.float16, which holds them to 2⁻¹¹ of themselves (2⁻²⁵ where they are smaller than 2⁻¹⁴),
    and read in the dtype that they had; None leaves them as they are.

    Raises ValueError for a teacher that is no function or a module in training mode, for a source
    that is not resident or whose transform draws random numbers, for an output that the teacher has
    not, for `top_k` without logits or more than there are classes, and for numbers that are too
    large for `storage`.

    >>> source = Resident(torch.eye(3), {"labels": torch.arange(3)}, batch_size=3)
    >>> taught = cached(lambda x: {"logits": 4 * x}, source, ["logits"], top_k=1)
    >>> sorted(taught.targets)
    ['labels', 'logits.indices', 'logits.tail', 'logits.values']
    >>> taught.read(torch.tensor([1])).targets["logits"].exp()
    tensor([[0.0177, 0.9647, 0.0177]])
    """
    check_ask("cached", teacher=teacher)
    check_request("cached", source, names, top_k, storage)
    held, forms = ask_once(teacher, source, names, top_k, storage)
    return beside(source, held, forms)


def reads_alike(source: Source) -> bool:
    """Whether an example is the same whenever it is read, so that a teacher's outputs can be kept.

    That is so of a resident source whose transform draws no random numbers. Raises ValueError for
    what is no source.
    """
    _check.kind("reads_alike", Source, source=source)
    if not isinstance(source, Resident):
        return False
    rows = torch.arange(min(source.examples, source.batch_size), device=source.device)
    plain = tree_leaves(source.read(rows).inputs)
    nothing = torch.zeros((), dtype=torch.int64, device="meta")
    try:
        # A key without numbers: what is made of it has none either, or cannot be made.
        keyed = tree_leaves(source.read(rows, Key(nothing, nothing)).inputs)
    except Exception:
        return False
    return len(plain) == len(keyed) and all(
        a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)
        for a, b in zip(plain, keyed, strict=True)
    )


def check_request(
    where: str,
    source: Resident,
    names: Sequence[str],
    top_k: int | None,
    storage: torch.dtype | None,
) -> None:
    """Refuse before any work what cannot be kept, as `cached` says."""
    _check.kind(where, Source, source=source)
    check_names(where, () if names is None else names)
    if storage is not None:
        _check.kind(where, torch.dtype, storage=storage)
    if not reads_alike(source):
        why = "its transform draws random numbers, so an example is another each time"
        if not isinstance(source, Resident):
            why = f"it is a {type(source).__name__} and must be a Resident"
        raise ValueError(
            f"{where}: the teacher's outputs cannot be kept beside this source: {why}; ask the "
            "teacher live, as train(..., teacher=teacher) does"
        )
    if source.expand is not None and not isinstance(source.expand, Expand):
        raise ValueError(
            f"{where}: the source has an expand that is not a teacher's; keep the outputs beside a "
            "source without one"
        )
    if top_k is not None:
        _check.count(where, top_k=top_k)
        cut = [name for name in names if is_cut(name)]
        if not cut:
            raise ValueError(
                f"{where}: top_k is of logits, but names are {list(names)}; add 'logits' or leave "
                "top_k out"
            )
        for part in (part for name in cut for part in parts_of(name)):
            if part in names:
                raise ValueError(
                    f"{where}: top_k needs the name {part!r} itself; rename the output"
                )
    if storage is not None and not storage.is_floating_point:
        raise ValueError(f"{where}: storage must be a floating-point dtype, but it is {storage}")


def ask_once(
    teacher: Ask,
    source: Resident,
    names: Sequence[str],
    top_k: int | None,
    storage: torch.dtype | None,
) -> tuple[Tensors, dict[str, Form]]:
    """The outputs for all examples as they lie, and how each is to read."""
    parts = answers(teacher, source, names=names)
    first = next(parts)
    forms = forms_of(first, top_k)
    held = together(_compacted(chain([first], parts), top_k, storage), source.examples)
    return held, forms


def _compacted(
    parts: Iterator[Tensors], top_k: int | None, storage: torch.dtype | None
) -> Iterator[Tensors]:
    return (compact(part, top_k, storage) for part in parts)


def beside(source: Resident, held: Tensors, forms: Mapping[str, Form]) -> Resident:
    """The source with outputs that lie so among its targets, in place of others of their names."""
    before: Mapping[str, Form] = {}
    if isinstance(source.expand, Expand):
        before = source.expand.forms
    replaced = {*forms, *(part for name in forms if name in before for part in parts_of(name))}
    targets: dict[str, Tensor] = {k: v for k, v in source.targets.items() if k not in replaced}
    compacted = {
        name: form
        for name, form in {**before, **forms}.items()
        if name not in forms or name not in held or held[name].dtype != form.dtype
    }
    expand = Expand(compacted) if compacted else None
    return replace(source, targets=targets | held, expand=expand)
