"""Which transform of a source may come late, in what is compiled, and so cost next to nothing."""

from dataclasses import dataclass, replace
from typing import Any

from fkd._random import Key
from fkd.data._resident import Resident
from fkd.data._source import Source, Transform, check_examples, unchanged
from fkd.data._streamed import Streamed
from fkd.data._transforms import Normalize


@dataclass(frozen=True)
class Look:
    """What a transform that comes late leaves in its place: it looks at the examples as before."""

    late: Transform

    def check(self, inputs: Any, targets: Any = None) -> None:
        """Raise ValueError where the examples do not fit."""
        check_examples(self.late, inputs, targets)

    def __call__(self, inputs: Any, key: Key | None = None) -> Any:
        return inputs


def late_transform(source: Source) -> tuple[Source, Transform]:
    """The source without its transform, and the transform; or the source as it is, and `unchanged`.

    Normalisation may come late: the compiler joins it with the step, as it does with every
    arithmetic of an element alone. Any other transform may be what the compiler cannot take; and
    one that a mix follows stays before it. So does that of a source or a normalisation that
    inherits from ours: it may read otherwise, or draw from the key, which what comes late has not.
    """
    if type(source) is Resident and _comes_late(source):
        return replace(source, transform=unchanged), source.transform
    if type(source) is Streamed and _comes_late(source):
        # Each batch is looked at when the loader gives it.
        return source._with(transform=Look(source.transform)), source.transform
    return source, unchanged


def _comes_late(source: Resident | Streamed) -> bool:
    return type(source.transform) is Normalize and source.mix is None
