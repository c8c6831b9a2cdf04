"""What a method is asked for: weights, temperatures, layers, a mask, checked in its name."""

from collections.abc import Sequence

from fkd import _check


def check_weights(where: str, **weights: float) -> None:
    """Raise where a named weight is no plain number, or is negative."""
    _check.plain(where, **weights)
    _check.not_negative(where, **weights)


def check_temperature(where: str, **temperatures: float) -> None:
    """Raise where a named temperature is no plain number, or out of range."""
    _check.plain(where, **temperatures)
    _check.temperature(where, **temperatures)


def check_mask(where: str, mask: str | None) -> None:
    """Raise where the mask is neither None nor the name of a target."""
    if mask is not None:
        _check.text(where, mask=mask)


def layer_names(where: str, layer: str, teacher_layer: str | None) -> tuple[str, str]:
    """The student's layer and the teacher's, its namesake by default."""
    teacher_layer = layer if teacher_layer is None else teacher_layer
    _check.text(where, layer=layer, teacher_layer=teacher_layer)
    return layer, teacher_layer


def several_layers(
    where: str, layers: Sequence[str], teacher_layers: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The student's layers and the teacher's, their namesakes by default: one for each.

    Raises ValueError for a string, which names one layer, and for numbers of layers that differ.
    """
    teacher_layers = layers if teacher_layers is None else teacher_layers
    for side, names in (("layers", layers), ("teacher_layers", teacher_layers)):
        if isinstance(names, str):
            raise ValueError(f"{where}: it takes several layers, but they are {names!r}")
        _check.instance(where, (tuple, list), "a list of names", **{side: names})
        _check.text(where, **{f"{side}[{level}]": name for level, name in enumerate(names)})
    students, teachers = tuple(layers), tuple(teacher_layers)
    if len(students) != len(teachers) or not students:
        raise ValueError(
            f"{where}: each layer of the student needs one of the teacher, "
            f"but they are {', '.join(students)} and {', '.join(teachers)}"
        )
    return students, teachers


def two_layers(
    where: str, layers: Sequence[str], teacher_layers: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """As `several_layers`; raises ValueError for other than two, too."""
    students, teachers = several_layers(where, layers, teacher_layers)
    if len(students) != 2:
        raise ValueError(f"{where}: it takes two layers, but they are {', '.join(students)}")
    return students, teachers
