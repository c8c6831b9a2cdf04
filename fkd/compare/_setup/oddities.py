"""What is odd about data or a network, which a user should know before anything is trained."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from fkd.data import Data, Resident
from fkd.model import Model

FEW = 5  # names that are told
SEEN = 5  # examples of which logits are looked at
ROUNDING = 0.01  # of a sum of probabilities in bfloat16
ROWS = 4096  # examples that are looked at together, for what is said of each number takes memory


def oddities(data: Data) -> list[str]:
    """Each in a line. Of what is read from files nothing is said, for that would read all of it."""
    return [*_of_inputs(data), *_of_labels(data), *_of_both(data)]


def odd_logits(role: str, model: Model, inputs: Any) -> list[str]:
    """What is odd about a network's logits of a few examples, in a line, if anything is."""
    few = tree_map(lambda leaf: leaf[:SEEN].cpu() if isinstance(leaf, Tensor) else leaf, inputs)
    try:
        with torch.no_grad():
            logits = model.apply(*model.init(0), few, train=False)[0]["logits"].double()
    except Exception:  # of a network for a GPU alone, or without logits
        return []
    if logits.ndim < 2 or not (logits >= 0).all():  # which is so of what is no number
        return []
    if ((logits.sum(-1) - 1).abs() > ROUNDING).any():
        return []
    return [
        f"The {role}'s logits are probabilities, for those of each example have the sum 1: losses "
        "take what stands before the softmax, so leave it out of the network"
    ]


def _of_inputs(data: Data) -> Iterator[str]:
    for split, source in _held(data):
        bad = torch.zeros(source.examples, dtype=torch.bool, device=source.device)
        for leaf in tree_leaves(source.inputs):
            if leaf.is_floating_point():
                bad |= torch.cat([_bad(part) for part in leaf.split(ROWS)])
        if bad.any():
            yield (
                f"{_counted(bad)} of the {split} examples, the first of them number "
                f"{int(bad.int().argmax())}, hold infinite numbers or NaN in their inputs"
            )


def _bad(rows: Tensor) -> Tensor:
    """Which rows hold a number that is none."""
    return ~rows.reshape(len(rows), -1).isfinite().all(1)


def _of_labels(data: Data) -> Iterator[str]:
    """A class that has no example counts for nothing in an accuracy, or is never learnt."""
    for split, source in _held(data):
        labels = source.targets.get("labels")
        if not isinstance(labels, Tensor) or labels.ndim > 1 or labels.is_floating_point():
            continue
        counts = torch.bincount(labels, minlength=len(data.classes)).tolist()
        none = [name for name, count in zip(data.classes, counts, strict=False) if not count]
        if none:
            more = f" and {len(none) - FEW} more" if len(none) > FEW else ""
            yield f"There is no {split} example of class {', '.join(none[:FEW])}{more}"


def _of_both(data: Data) -> Iterator[str]:
    train, test = data.train, data.test
    if not (isinstance(train, Resident) and isinstance(test, Resident)):
        return
    seen = set(_contents(train))
    again = sum(one in seen for one in _contents(test))
    if again == test.examples:
        yield (
            "The test examples are the training examples: what is measured is how well these are "
            "remembered"
        )
    elif again:
        yield (
            f"Test examples that are training examples too: {again:,} of {test.examples:,}, of "
            "which is measured how well they are remembered"
        )


def _contents(source: Resident) -> Iterator[bytes]:
    """The SHA-256 of each example's inputs, in order."""
    for leaves in zip(*(leaf.split(ROWS) for leaf in tree_leaves(source.inputs)), strict=True):
        for rows in zip(*map(_bytes, leaves), strict=True):
            yield hashlib.sha256(b"".join(rows)).digest()


def _bytes(part: Tensor) -> Iterator[memoryview]:
    """The bytes of each example in a leaf, however it lies in memory."""
    rows = part.cpu().reshape(len(part), math.prod(part.shape[1:])).contiguous()
    return map(memoryview, rows.view(torch.uint8).numpy())


def _held(data: Data) -> list[tuple[str, Any]]:
    each = (("training", data.train), ("test", data.test))
    return [(split, source) for split, source in each if isinstance(source, Resident)]


def _counted(where: Tensor) -> str:
    return f"{int(where.sum()):,}"
