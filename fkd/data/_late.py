"""Which transform of a source may come late, in what is compiled, and so cost next to nothing."""

from dataclasses import replace

from fkd.data._resident import Resident
from fkd.data._source import Source, Transform, unchanged
from fkd.data._streamed import Streamed
from fkd.data._transforms import Normalize


def late_transform(source: Source) -> tuple[Source, Transform]:
    """The source without its transform, and the transform; or the source as it is, and `unchanged`.

    Normalisation may come late: the compiler joins it with the step, as it does with every
    arithmetic of an element alone. Any other transform may be what the compiler cannot take; and
    one that a mix follows stays before it.
    """
    if not isinstance(source, Resident | Streamed) or source.mix is not None:
        return source, unchanged
    if not isinstance(source.transform, Normalize):
        return source, unchanged
    if isinstance(source, Resident):
        return replace(source, transform=unchanged), source.transform
    return source._with(transform=unchanged), source.transform
