"""Which examples come when: pure functions of explicit seeds."""

import math

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from fkd import _check, _random
from fkd.data._labels import check_labels, strata


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """How many full batches an epoch has: ⌈examples / batch_size⌉. Raises ValueError for what is no
    count of at least one.

    >>> steps_per_epoch(50_000, 128)
    391
    """
    _check.count("steps_per_epoch", examples=examples, batch_size=batch_size)
    return -(-examples // batch_size)


def order(seed: int, epoch: int, examples: int, batch_size: int) -> Int[Tensor, "steps batch"]:
    """The examples' numbers in one epoch's order, as full batches, from (seed, epoch) alone.

    The last batch is filled up from the head of the same order, so every batch has one shape and
    the step is compiled once; each example comes once, and those few twice. Raises ValueError for a
    seed outside [0, 2³²), for what is no count, and for a batch that is larger than the data set.

    >>> order(0, 0, examples=5, batch_size=2).shape
    torch.Size([3, 2])
    """
    _check.seed("order", seed=seed)
    _check.count("order", least=0, epoch=epoch)
    _check.count("order", examples=examples, batch_size=batch_size)
    _check.between("order", 1, examples, batch_size=batch_size)
    generator = torch.Generator()
    generator.manual_seed(int(_random.fold(torch.tensor(seed, device="cpu"), epoch)))
    steps = steps_per_epoch(examples, batch_size)
    shuffled = torch.randperm(examples, generator=generator, device="cpu")  # whatever the default
    head = shuffled[: steps * batch_size - examples]
    return torch.cat([shuffled, head]).reshape(steps, batch_size)


def hold_out(
    labels: Shaped[Tensor, "examples ..."], share: float, seed: int = 0
) -> tuple[Int[Tensor, " rest"], Int[Tensor, " validation"]]:
    """The examples' numbers in two parts, the rest and a part for validation, each sorted, from
    (labels, share, seed) alone.

    Of each class ⌊share · examples of the class + 1/2⌋ are for validation, drawn at random. Labels
    are classes [examples], or probabilities [examples, classes], of which the likeliest class
    counts; with dense labels [examples, ...] all examples count as of one class. Raises ValueError
    for labels that are none of these, a seed outside [0, 2³²), and a share outside (0, 1), or one
    that leaves a class with none on either side.

    >>> rest, validation = hold_out(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), share=0.25)
    >>> len(rest), len(validation)
    (6, 2)
    """
    _check.tensor("hold_out", labels=labels)
    if not labels.ndim or not labels.numel():
        raise ValueError(
            f"hold_out: labels must hold one for each example, but they are {tuple(labels.shape)}"
        )
    check_labels("hold_out", labels)
    _check.seed("hold_out", seed=seed)
    _check.plain("hold_out", share=share)
    if not 0 < share < 1:
        raise ValueError(f"hold_out: share must lie between 0 and 1, both excluded, not at {share}")
    labels = strata(labels)
    generator = torch.Generator()
    generator.manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator, device="cpu").to(labels.device)
    parts = []
    for label in labels.unique().tolist():
        of_class = shuffled[labels[shuffled] == label]
        number = math.floor(share * len(of_class) + 0.5)
        if not 0 < number < len(of_class):
            raise ValueError(
                f"hold_out: a share of {share} holds out {number} of the {len(of_class)} examples "
                f"of class {label}, but at least one must be held out and one kept; change the "
                "share or give more examples"
            )
        parts.append(of_class.split([len(of_class) - number, number]))
    rest, validation = (torch.cat(part).sort().values for part in zip(*parts, strict=True))
    return rest, validation


def check_rows(rows: Tensor, examples: int) -> None:
    """Raise where `rows` are not the numbers [rows] of some of the examples."""
    _check.tensor("subset", rows=rows)
    if rows.is_meta:
        raise ValueError("subset: rows must be numbers, but the device 'meta' holds none")
    if rows.ndim != 1:
        raise ValueError(f"subset: rows must be [rows], but they are {tuple(rows.shape)}")
    _check_numbers("subset", "rows", rows, examples)


def check_feed(feed: Tensor, examples: int, device: torch.device) -> None:
    """Raise where `feed` are not numbers of examples, as far as they are known here."""
    _check.tensor("Resident.read", feed=feed)
    if feed.is_meta and device.type != "meta":
        raise ValueError("Resident.read: feed must be numbers, but the device 'meta' holds none")
    if not feed.ndim:
        raise ValueError("Resident.read: feed must be [batch], but it is a single number")
    _check_numbers("Resident.read", "feed", feed, examples)


def _check_numbers(where: str, name: str, numbers: Tensor, examples: int) -> None:
    if numbers.dtype == torch.bool:
        raise ValueError(f"{where}: {name} must be numbers of examples; give mask.nonzero()[:, 0]")
    _check.integral(where, **{name: numbers})
    # An accelerator would have to be waited for; it refuses such a number by itself.
    if numbers.device.type == "cpu" and (ends := _check.extremes(numbers)) is not None:
        for end in ends:
            _check.between(where, 0, examples - 1, **{name: int(end)})
