"""Valid calls of the losses and what they are computed from, each with the ways to break it.

Which sizes must agree is read from the shapes of the signature: an axis that another argument has
by the same name cannot be of another size. Where it is an argument's own, another size is as good.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, get_args

import torch
from broken import Argument, Break, Call, as_good, optional, strangers, to_break, whole
from hypothesis import strategies as st
from losses.sized import arguments, size_of
from torch import Tensor

from fkd import losses

BATCH, WIDTH, SIZE = 3, 4, (2, 3)
NAN, INF = math.nan, math.inf
# Numbers that a loss takes and what it refuses of those that a number can be.
POSITIVE = (0, -0.5, torch.tensor(0.0), torch.tensor(-1.0))
SQUARED = (*POSITIVE, 1e20, 1e-20, torch.tensor(1e20))
NOT_NEGATIVE = (-0.5, torch.tensor(-1.0))
SHARE = (-0.5, 1.5, torch.tensor(1.5))
NUMBERS: dict[str, tuple[Any, ...]] = {
    "temperature": SQUARED,
    "alpha": NOT_NEGATIVE,
    "beta": NOT_NEGATIVE,
    "gamma": NOT_NEGATIVE,
    "k": (*POSITIVE, 0.5, 2**25),
    "margin": NOT_NEGATIVE,
    "label_smoothing": SHARE,
    "share": (*POSITIVE, *SHARE),
    "skew": (*POSITIVE, 1, *SHARE),
    "correct": (*POSITIVE, 1, *SHARE),
    "mass": (*POSITIVE, 1, *SHARE),
    "regularization": POSITIVE,
    "sharpness": POSITIVE,
    "student_scale": POSITIVE,
    "teacher_scale": POSITIVE,
}
OWN: dict[tuple[str, str], tuple[Any, ...]] = {
    ("jensen_shannon", "beta"): SHARE,
    ("correlation_congruence", "gamma"): (*POSITIVE, 41, torch.tensor(1e20)),
    ("info_nce", "temperature"): POSITIVE,
    ("ofa", "gamma"): POSITIVE,
    ("ttm", "gamma"): POSITIVE,
    ("wttm", "gamma"): POSITIVE,
    ("crd", "temperature"): POSITIVE,
}


class Other(Tensor):
    """A subclass of the caller's own."""


def scalar(value: float, refused: tuple[Any, ...]) -> Argument:
    """A number, or a tensor without axes that holds one, as a leaf of the state does."""
    single = torch.tensor(value)
    wrong = [
        torch.full((1,), value),
        torch.full((BATCH,), value),
        torch.full((BATCH, 1), value),
        single.long(),
        single.bool(),
        single.to(torch.complex64),
        single.to("meta"),
        torch.full((1,), value).to_sparse(),
        torch.tensor(NAN),
        torch.tensor(INF),
    ]
    return Argument(
        value,
        st.one_of(
            strangers("whole", "real", "tensor"),
            to_break("not finite", st.sampled_from([NAN, INF, -INF])),
            to_break("outside float32", st.sampled_from([1e39, 1e300, -1e39, 1e-39, 5e-324])),
            to_break("large and whole", st.sampled_from([10**25, 10**400, 10**5000, 2**63])),
            to_break("a tensor that does not fit", st.sampled_from(wrong)),
            to_break("out of range", st.sampled_from(refused)),
            as_good("a tensor", single, value),
            as_good("a wider tensor", single.double(), float(single)),
            as_good("a parameter", torch.nn.Parameter(single), value),
        ),
    )


def _axes(shape: str, ndim: int) -> list[str]:
    """The name of each axis of a tensor of so many; of several that go by one name, that name."""
    names: list[str] = []
    for name in shape.split():
        several = ndim - len(shape.split()) + 1
        names += [name] * several if name.startswith("*") else [name]
    return names


def _shapes_of(annotation: Any) -> list[str]:
    own = getattr(annotation, "dim_str", None)
    return [own] if own is not None else [x for a in get_args(annotation) for x in _shapes_of(a)]


def _resized(x: Tensor, axis: int) -> Iterator[tuple[str, Tensor]]:
    yield "longer", torch.cat([x, x.narrow(axis, 0, 1)], axis)
    if x.shape[axis] > 1:
        yield "of one", x.narrow(axis, 0, 1)


def _shapes(x: Tensor, shape: str, others: set[str]) -> Iterator[Break]:
    """Other sizes and numbers of axes: refused where an axis is shared with another argument."""
    names = _axes(shape, x.ndim)
    for axis, name in enumerate(names):
        yield Break(f"{name} empty", x.narrow(axis, 0, 0))
        if name in others:
            for how, value in _resized(x, axis):
                yield Break(f"{name} {how}", value)
    free = [name for name in shape.split() if name.startswith("*") and name not in others]
    if not free:
        yield Break("an axis in front", x[None])
        yield Break("an axis behind", x[..., None])
        yield Break("an axis less", x.select(-1, 0))
    yield Break("no axis", x.new_ones(()).to(x.dtype))


def _layouts(x: Tensor, alone: bool) -> Iterator[Break]:
    yield Break("sparse", x.to_sparse())
    nested = torch.nested.nested_tensor([x[0], x[0]], layout=torch.jagged) if x.ndim > 1 else None
    if nested is not None:
        yield Break("nested", nested)
    if not alone:
        yield Break("on the meta device", x.to("meta"))
    yield Break("strided", x.repeat_interleave(2, -1)[..., ::2], x)
    yield Break("of a subclass", x.as_subclass(Other), x)


def real(x: Tensor, shape: str, others: set[str], alone: bool) -> Argument:
    """A floating-point tensor of a loss."""
    cases = [*_shapes(x, shape, others), *_layouts(x, alone)]
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn):
        cases.append(Break(str(dtype), x.to(dtype)))
    cases.append(Break("wider", x.double(), x))
    cases.append(Break("narrower", x.half(), x.half().float()))
    cases.append(Break("with a gradient", x.clone().requires_grad_(), x))
    return Argument(x, st.one_of(strangers("tensor"), st.sampled_from(cases)))


def labels(x: Tensor, shape: str, others: set[str]) -> Argument:
    """Labels in [0, WIDTH)."""
    cases = [*_shapes(x, shape, others), *_layouts(x, alone=False)]
    cases += [Break(str(dtype), x.to(dtype)) for dtype in (torch.float64, torch.complex64)]
    for dtype in (torch.uint8, torch.int8, torch.int32, torch.uint16, torch.uint64):
        cases.append(Break(str(dtype), x.to(dtype), x))
    for label in (-1, -100, WIDTH, 255, 2**40):
        cases.append(Break(f"the label {label}", x.clone().index_fill_(0, torch.tensor(1), label)))
    return Argument(x, st.one_of(strangers("tensor"), st.sampled_from(cases)))


def mask() -> Argument:
    """A mask over the batch."""
    x = torch.ones(BATCH, dtype=torch.bool)
    cases = [*_shapes(x, "*batch", {"*batch"}), *_layouts(x, alone=False)]
    cases += [Break(str(dtype), x.to(dtype)) for dtype in (torch.int64, torch.float32)]
    return optional(Argument(x, st.one_of(strangers("tensor"), st.sampled_from(cases))))


def _keyword(function: str, parameter: inspect.Parameter) -> Argument:
    name = parameter.name
    if name == "mask":
        return mask()
    if isinstance(parameter.default, int):
        return whole(parameter.default)
    return scalar(float(parameter.default), OWN.get((function, name), NUMBERS.get(name, ())))


def call(name: str, function: Callable[..., Tensor], values: dict[str, Tensor]) -> Call:
    """A call of a loss with these tensors, and its keywords at their defaults."""
    parameters = inspect.signature(function).parameters
    shapes = {key: _shapes_of(parameters[key].annotation)[0] for key in values}
    broken: dict[str, Argument] = {}
    for key, x in values.items():
        rest = {axis for other, shape in shapes.items() if other != key for axis in shape.split()}
        if x.is_floating_point():
            broken[key] = real(x, shapes[key], rest, alone=len(values) == 1)
        else:
            broken[key] = labels(x, shapes[key], rest)
    for key, parameter in parameters.items():
        if key not in values:
            broken[key] = _keyword(name, parameter)
    return Call(function, broken, _plain)


def _plain(answer: Tensor) -> Tensor:
    """What can be compared: the numbers, which must be finite."""
    plain = answer.detach().as_subclass(Tensor)
    assert plain.isfinite().all(), plain
    return plain


def _values(name: str) -> dict[str, Tensor]:
    return arguments(name, BATCH, WIDTH, SIZE if size_of(name) else ())


MAPS = torch.linspace(-2, 3, 24).reshape(2, 3, 2, 2)
LOSSES: dict[str, Call] = {
    f"losses.{name}": call(name, getattr(losses, name), _values(name)) for name in losses.__all__
} | {
    "losses.batchnorm_margin": call(
        "batchnorm_margin",
        losses.batchnorm_margin,
        {"weight": torch.tensor([1.0, 0.5]), "bias": torch.tensor([0.0, 0.3])},
    ),
    "losses.class_cost": call("class_cost", losses.class_cost, {"features": torch.rand(2, 5, 3)}),
    "losses.mean_negative": call("mean_negative", losses.mean_negative, {"maps": MAPS}),
    "losses.flow": call("flow", losses.flow, {"first": MAPS, "last": MAPS[:, :2].clone()}),
}
