"""A teacher's outputs on disk, under the content of all that they come from."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.utils._pytree import tree_map

from fkd import checkpoint
from fkd._digest import digest
from fkd.data import Resident
from fkd.evaluate import Ask
from fkd.model import Tensors
from fkd.teachers._cached import ask_once, beside, check_request
from fkd.teachers._compact import Form
from fkd.teachers._several import Several
from fkd.teachers._teacher import Teacher

FORMAT = "outputs of a teacher, 2"
REMEDY = "delete it, and the teacher is asked anew"
FEW = 8  # examples that the teacher is asked about again
FAR = 0.05  # of the largest number: more than other hardware and bfloat16 make of one network


def kept(
    teacher: Ask,
    source: Resident,
    folder: str | Path,
    names: Sequence[str],
    *,
    top_k: int | None = None,
    storage: torch.dtype | None = None,
) -> Resident:
    """The source with those outputs of the teacher among its targets, as `cached` gives it, from a
    file in `folder`; where there is none the teacher is asked, and the file written.

    The file's name is the SHA-256 of the teacher (its tensors' names, dtypes, shapes and bytes, its
    module's classes, `extra_repr` and plain attributes, the dtype that it computes in, its
    transform), of the source's inputs and transform, and of `names`, `top_k` and `storage`: any
    other teacher, data or request has another file. Functions and classes count by their qualified
    name, so what their code does is not in it, and nor are the device, the precision of its
    products (TF32) and the version of torch. But the teacher is asked anew about the first
    examples, and a file that is off by more than a twentieth of their largest number is refused.

    A file is written whole or not at all, in safetensors with the checksums of `fkd.checkpoint`,
    which are verified when it is read, and is never written over.

    Raises ValueError as `cached`; for a teacher that is neither `Teacher` nor `Several` of them,
    and a transform that is a lambda, a function within a function or an object without a
    description, for two of these could not be told apart; for a folder that cannot be made; and for
    a file that is damaged or holds what this teacher does not say, with its path.

    >>> import tempfile
    >>> from fkd.teachers import teacher_of_module
    >>> source = Resident(torch.eye(3), {}, batch_size=3)
    >>> teacher = teacher_of_module(torch.nn.Linear(3, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = kept(teacher, source, folder, ["logits"])
    ...     read = kept(teacher, source, folder, ["logits"])
    >>> torch.equal(written.targets["logits"], read.targets["logits"])
    True
    """
    _check_teacher(teacher)
    check_request("kept", source, names, top_k, storage)
    request = (sorted(set(names)), top_k, storage)
    try:
        key = digest((FORMAT, teacher, source.inputs, source.transform, request))
    except ValueError as error:
        told = str(error).removeprefix("digest: ")
        raise ValueError(f"kept: {told}, or use cached") from error
    path = Path(folder) / f"{key.hex()}.safetensors"
    if path.exists():
        held, forms = _read(path, key)
        few = source.subset(torch.arange(min(FEW, source.examples)))
        _check_first(path, held, ask_once(teacher, few, names, top_k, storage)[0])
        return beside(source, tree_map(lambda x: x.to(source.device), held), forms)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"kept: the folder {folder} cannot be made: {error}") from error
    held, forms = ask_once(teacher, source, names, top_k, storage)
    _write(path, key, held, forms)
    return beside(source, held, forms)


def _check_teacher(teacher: Ask) -> None:
    if isinstance(teacher, Several):
        asks = teacher.teachers
        for one in asks.values() if isinstance(asks, Mapping) else asks:
            _check_teacher(one)
    elif not isinstance(teacher, Teacher):
        raise ValueError(
            f"kept: a teacher must be a Teacher, or Several of them, for its outputs go by its "
            f"content, but it is a {type(teacher).__name__}; make one with teacher_of_module, or "
            "use cached"
        )


def _write(path: Path, key: bytes, held: Tensors, forms: dict[str, Form]) -> None:
    of_forms = {
        name: {"dtype": str(form.dtype).removeprefix("torch."), "classes": form.classes}
        for name, form in forms.items()
    }
    checkpoint.write(path, held, {"key": key.hex(), "forms": of_forms})


def _read(path: Path, key: bytes) -> tuple[Tensors, dict[str, Form]]:
    """Raises ValueError for a file that is not what was written under this key."""
    try:
        held, about = checkpoint.read(path), checkpoint.about(path)
    except ValueError as error:
        raise ValueError(f"kept: {path} is damaged; {REMEDY}: {error}") from error
    if about.get("key") != key.hex():
        raise ValueError(f"kept: {path} was written for other outputs; {REMEDY}")
    forms = {
        name: Form(getattr(torch, form["dtype"]), form["classes"])
        for name, form in about["forms"].items()
    }
    return held, forms


def _check_first(path: Path, held: Tensors, now: Tensors) -> None:
    """Raises ValueError where the first examples' numbers are far from what the teacher says now.

    Classes are not compared: of two that are almost alike either may be the larger.
    """
    for name, output in now.items():
        if not output.is_floating_point():
            continue
        one, other = output.double().cpu(), held[name][: len(output)].double()
        largest = other[other.isfinite()].abs().max().item() if other.isfinite().any() else 0.0
        if not torch.allclose(one, other, rtol=0, atol=FAR * largest, equal_nan=True):
            raise ValueError(
                f"kept: {path} is of a teacher with the same tensors that says otherwise: {name!r} "
                f"of the first examples is off by {(one - other).abs().max().item():g}, so the "
                f"code of its module or transform was another; {REMEDY}"
            )
