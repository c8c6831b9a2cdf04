"""A data set: two sources and the names of the classes."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from fkd import _check
from fkd.data._labels import check_classes, class_numbers
from fkd.data._order import hold_out
from fkd.data._resident import Resident
from fkd.data._source import Source
from fkd.data._streamed import Streamed

Kind = TypeVar("Kind", bound=Source, covariant=True)


@dataclass(frozen=True, eq=False)
class Data(Generic[Kind]):
    """A data set: a source to train on, one to test on, and the names of the classes.

    A source may do without labels, and where both do `classes` may be empty. Of resident sources
    (`Resident`) it is checked that labels are int64 and lie within the classes, or are a
    probability of each class, and that the inputs of both have one structure, with the same dtypes
    and shapes of an example. Dense labels [examples, ...] may be -100 where a place has no class.
    Raises ValueError otherwise, and for an argument of another kind. `notes` say what a user should
    know of what was read.

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
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check.kind("Data", str, name=self.name)
        _check.kind("Data", Source, train=self.train, test=self.test)
        _check.words("Data", classes=self.classes)
        for split, source in (("train", self.train), ("test", self.test)):
            if isinstance(source, Resident) and "labels" in source.targets:
                where = f"{self.name}, {split} split"
                check_classes(where, source.targets["labels"], len(self.classes))
        if isinstance(self.train, Resident) and isinstance(self.test, Resident):
            check_alike(self.name, self.train.inputs, self.test.inputs)

    def to(self, device: torch.device | str) -> "Data[Kind]":
        """The same data on a device."""
        return self._with(self.train.to(device), self.test.to(device))

    def batched(self, batch_size: int) -> "Data[Kind]":
        """The same data, trained on in batches of another size."""
        return self._with(self.train.batched(batch_size), self.test)

    def _with(self, train: Any, test: Any) -> "Data[Kind]":
        return replace(self, train=train, test=test)

    def hold_out(self, share: float, seed: int = 0) -> tuple["Data[Kind]", Kind]:
        """The data without a share of the training examples, and a source of that share, which
        `fkd.data.hold_out` draws. The test split is left alone.

        It is drawn class by class, or from all examples alike where there are no labels or dense
        ones. Of a `Streamed` source the labels are its data set's `targets`, if it has them as
        torchvision's data sets do, for the examples themselves are not read. Raises ValueError for
        a training source that is a stream without numbers, and as `fkd.data.hold_out`.
        """
        train: Any = self.train
        if not (isinstance(train, Resident) or (isinstance(train, Streamed) and train.numbered)):
            raise ValueError(
                f"{self.name}: a share can be held out of examples that have numbers, but train is "
                f"a {type(train).__name__} source of a stream; split what it reads and make a "
                "source of each part"
            )
        rows, held = hold_out(_strata(train), share, seed)
        return self._with(train.subset(rows), self.test), cast(Kind, train.subset(held))


def _strata(source: Resident | Streamed) -> Tensor:
    """The labels that a share is drawn by; all the same where none are known beforehand."""
    if isinstance(source, Resident):
        labels = source.targets.get("labels")
    else:
        labels = class_numbers(getattr(source.loader.dataset, "targets", None), source.examples)
    return torch.zeros(source.examples, dtype=torch.int64) if labels is None else labels


def check_alike(name: str, train: Any, test: Any) -> None:
    """Raise where examples of both splits' inputs differ in structure, dtype or shape."""
    one, other = _example(train), _example(test)
    if one != other:
        raise ValueError(
            f"{name}: an example must have one structure, dtype and shape in both splits, but it "
            f"is {one[0]} in train and {other[0]} in test"
        )


def _example(inputs: Any) -> tuple[list[str], str]:
    """One example's leaves in words, and the structure that holds them."""
    leaves, structure = tree_flatten(inputs)
    return [f"{leaf.dtype} {tuple(leaf.shape[1:])}" for leaf in leaves], str(structure)
