"""A data set: two sources and the names of the classes."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch.utils._pytree import tree_flatten

from fkd.data._order import hold_out
from fkd.data._resident import Resident
from fkd.data._source import Source

Kind = TypeVar("Kind", bound=Source, covariant=True)


@dataclass(frozen=True, eq=False)
class Data(Generic[Kind]):
    """A data set: a source to train on, one to test on, and the names of the classes.

    Of resident sources (`Resident`) it is checked that the labels are int64 [examples] and lie
    within the classes, and that the inputs of both have one structure, with the same dtypes and
    shapes of an example. Raises ValueError otherwise.

    >>> train = Resident(torch.zeros(8, 3), {"labels": torch.arange(8) % 2})
    >>> data = Data("mine", ("even", "odd"), train, test=train.subset(torch.tensor([0, 1])))
    >>> rest, validation = data.hold_out(0.25)
    >>> rest.train.examples, validation.examples
    (6, 2)
    """

    name: str
    classes: tuple[str, ...]
    train: Kind
    test: Kind

    def __post_init__(self) -> None:
        for split, source in (("train", self.train), ("test", self.test)):
            if isinstance(source, Resident):
                _check_labels(f"{self.name}, {split} split", source, len(self.classes))
        if isinstance(self.train, Resident) and isinstance(self.test, Resident):
            train, test = _example(self.train), _example(self.test)
            if train != test:
                raise ValueError(
                    f"{self.name}: an example must have one structure, dtype and shape in both "
                    f"splits, but it is {train[0]} in train and {test[0]} in test"
                )

    def to(self, device: torch.device | str) -> "Data[Kind]":
        """The same data on a device."""
        return self._with(self.train.to(device), self.test.to(device))

    def batched(self, batch_size: int) -> "Data[Kind]":
        """The same data, trained on in batches of another size."""
        return self._with(self.train.batched(batch_size), self.test)

    def _with(self, train: Any, test: Any) -> "Data[Kind]":
        return replace(self, train=train, test=test)

    def hold_out(self, share: float, seed: int = 0) -> tuple["Data[Kind]", Resident]:
        """The data without a share of the training examples, and a source of that share, which
        `fkd.data.hold_out` draws class by class. The test split is left alone.

        Raises ValueError for a training source that is not resident, and as `fkd.data.hold_out`.
        """
        train = self.train
        if not isinstance(train, Resident):
            raise ValueError(
                f"{self.name}: a share can be held out of a Resident source, but train is a "
                f"{type(train).__name__}; split its data set and make a source of each part"
            )
        rest, validation = hold_out(train.targets["labels"], share, seed)
        return self._with(train.subset(rest), self.test), train.subset(validation)


def _check_labels(where: str, source: Resident, classes: int) -> None:
    labels = source.targets.get("labels")
    if labels is None:
        raise ValueError(f"{where}: there must be a target 'labels', each example's class")
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise ValueError(
            f"{where}: there are {source.examples} examples, so labels must be int64 "
            f"({source.examples},), but they are {labels.dtype} {tuple(labels.shape)}"
        )
    if labels.is_meta:  # shapes alone
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{where}: labels must lie in [0, {classes}), one number for each of "
            f"the {classes} classes, but they reach from {low} to {high}"
        )


def _example(source: Resident) -> tuple[list[str], str]:
    """One example's leaves in words, and the structure that holds them."""
    leaves, structure = tree_flatten(source.inputs)
    return [f"{leaf.dtype} {tuple(leaf.shape[1:])}" for leaf in leaves], str(structure)
