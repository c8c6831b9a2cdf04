"""What a source of batches is, and what every batch must hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path

from fkd import _check, _random
from fkd._random import Key
from fkd.data._labels import check_labels, dense

Transform = Callable[[Any, Key | None], Any]
"""`transform(inputs, key) -> inputs`: what a source does to the inputs of a batch inside the step.

It is a pure function of inputs [batch, ...] and of the key, two numbers [] from which all its
random numbers come. Without a key, in an evaluation, it draws none.

So it is too where each member of an ensemble reads batches of its own: `fkd.train.train` maps it
over members by `torch.func.vmap`, each with a key of its own, and where vmap cannot run it, as for
`.item()`, calls it for one after the other.
"""

Mix = Callable[[Any, dict[str, Tensor], Key], tuple[Any, dict[str, Tensor]]]
"""`mix(inputs, targets, key) -> (inputs, targets)`: examples of a batch mixed with each other.

Inputs are as after the transform. It is a pure function, for members as in `Transform`, and is not
called in an evaluation.
"""


class Batch(NamedTuple):
    """What one step reads: the inputs, any pytree of tensors, and the targets by name.

    All lead with one axis of examples. The labels are one target among others, and there need be
    none. They are whole numbers: classes [batch], or [batch, ...] at many places in an example,
    such as pixels or tokens; or they are probabilities [batch, classes], in floating point.
    """

    inputs: Any
    targets: dict[str, Tensor]


@runtime_checkable
class Checked(Protocol):
    """A transform or a mix that looks at the examples when a source is made of them, where it can
    look at values: inside a step it cannot."""

    def check(self, inputs: Any, targets: Any) -> None:
        """Raise ValueError where the examples do not fit."""
        ...


@runtime_checkable
class Digested(Protocol):
    """A data set that says what its examples are."""

    def digest(self) -> str:
        """The SHA-256 of the examples' content, the same in every process."""
        ...


@runtime_checkable
class Source(Protocol):
    """Where batches come from. A source is never changed: a step's batch is a pure function of it,
    (seed, epoch, step), and the key. It may also have `MemberFeeds`."""

    @property
    def examples(self) -> int:
        """How many examples an epoch shows."""
        ...

    @property
    def batch_size(self) -> int:
        """How many examples each batch of an epoch holds."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the batches lie."""
        ...

    def feeds(self, seed: int, epoch: int, start: int = 0) -> Iterator[Any]:
        """What `read` is given, one feed a step, from step `start` of the epoch on.

        A feed is a pytree of tensors on the device, of the same shapes in every step. There are
        `steps_per_epoch(examples, batch_size)` of them in an epoch.
        """
        ...

    def read(self, feed: Any, key: Key | None = None) -> Batch:
        """The batch of a feed. It runs inside the step, so it is compiled and captured with it.

        Where members read batches of their own, `torch.func.vmap` maps it over feeds and keys, or
        it is called for one after the other where vmap cannot run it.
        """
        ...

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Every example once, in order, in batches of which the last may be smaller."""
        ...

    def digest(self) -> str:
        """The SHA-256 of the examples' content, the same in every process and on every device.

        What changes the examples changes it; how they are read, in which batches, transformed or
        augmented, does not.
        """
        ...

    def to(self, device: torch.device | str) -> "Source":
        """The same source with its batches on a device."""
        ...

    def batched(self, batch_size: int) -> "Source":
        """The same source with batches of another size."""
        ...


class MemberFeeds(Protocol):
    """What a source may have besides, so that members who each read their own batches are fed at
    once: without it `feeds` is asked for each of them.

    A class that has a `feeds` of its own has to have a `member_feeds` of its own, too: one that it
    inherits is of other feeds, and is not asked.
    """

    def member_feeds(self, seeds: Sequence[int], epoch: int, start: int = 0) -> Iterator[Any]:
        """What `feeds` gives by each of these seeds, stacked step by step: the leaves of a feed
        have an axis of members in front."""
        ...


def unchanged(inputs: Any, key: Key | None = None) -> Any:
    """The transform that does nothing."""
    return inputs


def apart(key: Key, number: int) -> Key:
    """A key for one of several things that draw from this one, unrelated to the others'."""
    return key._replace(seed=_random.fold(key.seed, number))


def show(
    batch: Batch, key: Key | None, augment: Transform, transform: Transform, mix: Mix | None
) -> Batch:
    """A batch as the step sees it. Only with a key is it augmented, before the transform, and
    mixed, behind it."""
    if key is None:
        return Batch(transform(batch.inputs, None), batch.targets)
    inputs = batch.inputs
    if augment is not unchanged:  # of which the key alone would take a tenth of a GPU's step
        inputs = augment(inputs, apart(key, 1))
    inputs = transform(inputs, key)
    if mix is None:
        return Batch(inputs, batch.targets)
    return Batch(*mix(inputs, batch.targets, apart(key, 2)))


def check_examples(part: object, inputs: Any, targets: Any) -> None:
    """Let a transform or a mix look at the examples, if it is one that does."""
    if isinstance(part, Checked):
        part.check(inputs, targets)


def check_shown(
    where: str,
    inputs: Any,
    targets: Mapping[str, Tensor],
    augment: Transform,
    transform: Transform,
    mix: Mix | None,
) -> None:
    """Raise ValueError where these examples cannot be augmented, transformed or mixed so."""
    for part in (augment, transform, mix):
        check_examples(part, inputs, targets)
    if augment is unchanged and mix is None:
        return
    for name, target in targets.items():
        if name == "index" or (name == "labels" and not dense(target)):
            continue
        if name == "labels" or mix is not None or target.is_floating_point() or target.ndim > 1:
            raise ValueError(
                f"{where}: the batches are augmented or mixed anew in every step, which targets of "
                f"the plain examples cannot follow, but there is {name!r}, {target.dtype} "
                f"{tuple(target.shape)}; leave it out, and ask a teacher about each batch instead "
                "of keeping its outputs (train(..., teacher=...))"
            )


def named_leaves(inputs: Any, targets: Mapping[str, Any]) -> dict[str, Any]:
    """Every leaf by how it is written: `inputs['pixels']`, `targets['labels']`."""
    paths: list[tuple[str, Any]] = []
    for name, tree in (("inputs", inputs), ("targets", dict(targets))):
        paths += [(name + keystr(path), leaf) for path, leaf in tree_flatten_with_path(tree)[0]]
    return dict(paths)


def check_batch(where: str, inputs: Any, targets: Mapping[str, Any]) -> int:
    """How many examples there are. Raises ValueError, which names the leaf, where one is no tensor,
    has no axis of examples or another number of them, and where labels are neither whole numbers
    nor probabilities."""
    leaves = named_leaves(inputs, targets)
    for name, leaf in leaves.items():
        if not isinstance(leaf, Tensor):
            # A mapping that pytrees do not know, as what a tokenizer makes, is a leaf to them.
            mapping = isinstance(leaf, Mapping)
            remedy = "give dict(...) of it" if mapping else "turn it into one or leave it out"
            raise ValueError(
                f"{where}: every leaf of inputs and targets must be a tensor, but {name} is a "
                f"{type(leaf).__name__}; {remedy}"
            )
        if leaf.ndim == 0:
            raise ValueError(
                f"{where}: {name} must lead with an axis of examples, but it is a single number"
            )
    name = next((name for name in leaves if name.startswith("inputs")), None)
    if name is None:
        raise ValueError(f"{where}: inputs hold no tensor; give at least one")
    first = leaves[name]
    for other, leaf in leaves.items():
        if len(leaf) != len(first):
            raise ValueError(
                f"{where}: inputs and targets must lead with the same number of examples, "
                f"but {name} is {tuple(first.shape)} and {other} is {tuple(leaf.shape)}"
            )
    if "labels" in targets:
        check_labels(where, targets["labels"])
    return len(first)


def check_device(where: str, device: torch.device | str) -> None:
    """Raise where tensors cannot be moved to a device."""
    _check.kind(where, (str, torch.device), device=device)
    try:
        torch.empty(0, device=device)
    except Exception as error:  # torch raises AssertionError, RuntimeError and others of its own
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{where}: device must be one that torch has here, as 'cpu', but it is "
            f"{_check.shown(device)}: {reason}"
        ) from error


def check_index_is_free(where: str, targets: Mapping[str, Any]) -> None:
    """Raise where a target has the name under which the source gives the examples' numbers."""
    if "index" in targets:
        raise ValueError(
            f"{where}: no target may be named 'index', for the source itself gives the examples' "
            "numbers by that name; choose another name"
        )
