"""Valid calls of heads, of what they are built from and what they are given, and of `align`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from broken import (
    Argument,
    Break,
    Call,
    as_good,
    number,
    one,
    optional,
    reals,
    strangers,
    to_break,
    whole,
    wholes,
)
from hypothesis import strategies as st
from torch import Tensor, nn
from valid_losses import SQUARED, scalar

from fkd import heads
from fkd.heads import align

BATCH = 3
SMALL, LARGE = torch.Size([4, 6, 6]), torch.Size([8, 6, 6])
INDEX = torch.Size([])
PAIR, TARGETS = (SMALL, SMALL), (LARGE, LARGE)


def _no_shapes(value: torch.Size) -> list[Any]:
    return [
        list(value),
        (0, *value[1:]),
        (-1, *value[1:]),
        (2.5, *value[1:]),
        (True, *value[1:]),
        (None, *value[1:]),
        ("8", *value[1:]),
        (2**70, *value[1:]),
    ]


def shape(value: torch.Size, *wrong: Any) -> Argument:
    """A shape without its batch axis; `wrong` are shapes that do not fit here."""
    breaks = st.sampled_from([Break("no shape", x) for x in (*_no_shapes(value), *wrong)])
    return Argument(value, st.one_of(strangers(), breaks, as_good("a tuple", tuple(value), value)))


def shapes(value: tuple[torch.Size, ...]) -> Argument:
    """Shapes, as many as on the other side."""
    wrong = [(), value[:1], (*value, value[0]), value[0], list(value), (value[0], None)]
    wrong += [(value[0], x) for x in _no_shapes(value[0])]
    breaks = st.sampled_from([Break("no shapes", x) for x in wrong])
    return Argument(value, st.one_of(strangers(), breaks))


def _layers(answer: nn.Module) -> str:
    return repr(answer)


FLAT = (torch.Size([8]), torch.Size([9, 8]), torch.Size([8, 3, 3, 3]), torch.Size([]))
BOTH = {"student": shape(SMALL, *FLAT), "target": shape(LARGE, *FLAT)}
ANY = {"student": shape(SMALL), "target": shape(LARGE)}
PART = Argument(0.15, number(0.15).breaks | to_break("all or more", st.sampled_from([1, 1.5])))
MARGIN = -torch.arange(8.0)
MEMORY = {
    "student": shape(SMALL),
    "target": Argument(
        (LARGE, INDEX),
        st.one_of(
            strangers(), st.sampled_from([Break("no shapes", x) for x in ((), [LARGE], (None, 3))])
        ),
    ),
    "examples": whole(10, least=6),
    "negatives": whole(6, most=10),
    "width": whole(5),
}
COST = torch.tensor([[0.0, 0.5, 1.0], [0.5, 0.0, 2.0], [1.0, 2.0, 0.0]])
LOGITS = torch.Size([3])
INTERRELATIONS = {
    "student": shape(LOGITS, torch.Size([8]), torch.Size([])),
    "target": Argument((LOGITS, INDEX), strangers()),
    "teacher": optional(one(nn.ReLU())),  # which has no cost to take in the place of what is broken
    "cost": reals(COST, COST[:2], COST[0], -COST, COST / 0, places=False, shapes=False),
}


def _cost(head: heads.Interrelations) -> Tensor:
    return head.cost


class Last(nn.Module):
    """A teacher that ends in a classifier of eight channels."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 3)


BUILT: dict[str, Call] = {
    "heads.convolution_regressor": Call(heads.convolution_regressor, BOTH, _layers),
    "heads.linear": Call(
        heads.linear,
        {"student": shape(torch.Size([4]), *FLAT[1:]), "target": shape(torch.Size([8]), *FLAT[1:])},
        _layers,
    ),
    "heads.pointwise": Call(heads.pointwise, BOTH, _layers),
    "heads.pointwise_where_needed": Call(heads.pointwise_where_needed, BOTH, _layers),
    "heads.connector": Call(heads.connector, BOTH, _layers),
    "heads.projector": Call(heads.projector, BOTH, _layers),
    "heads.rectified_connector": Call(heads.rectified_connector, BOTH, _layers),
    "heads.generator": Call(heads.generator, BOTH, _layers),
    "heads.Masked": Call(heads.Masked, {"share": PART}, _layers),
    "heads.Aligned": Call(heads.Aligned, {"target": shape(LARGE, *FLAT)}, _layers),
    "heads.classifier_of": Call(
        heads.classifier_of,
        {
            "teacher": Argument(
                Last(),
                st.one_of(strangers(), st.just(Break("without one", nn.Identity()))),
            ),
            "map": shape(LARGE, *FLAT, SMALL),
        },
        _layers,
    ),
    "heads.Embeddings": Call(heads.Embeddings, {**ANY, "width": whole(5)}, _layers),
    "heads.Memory": Call(heads.Memory, MEMORY, _layers),
    "heads.Answers": Call(
        heads.Answers,
        {
            "student": shape(LOGITS, torch.Size([])),
            "target": Argument((INDEX, INDEX), strangers()),
            "examples": whole(10),
        },
        _layers,
    ),
    "heads.Variational": Call(heads.Variational, BOTH, _layers),
    "heads.Temperature": Call(heads.Temperature, ANY, _layers),
    "heads.Interrelations": Call(heads.Interrelations, INTERRELATIONS, _cost),
    "heads.Factors": Call(heads.Factors, BOTH, _layers),
    "heads.Margin": Call(
        heads.Margin, {**BOTH, "margin": optional(reals(MARGIN, -MARGIN, places=False))}, _layers
    ),
    "heads.SoftmaxRegression": Call(
        heads.SoftmaxRegression,
        {
            **BOTH,
            "teacher": Argument(
                Last(), st.one_of(strangers(), st.just(Break("without one", nn.Identity())))
            ),
        },
        _layers,
        voices=("classifier_of",),
    ),
    "heads.Flows": Call(heads.Flows, {"student": shapes(PAIR), "target": shapes(TARGETS)}, _layers),
    "heads.Fusion": Call(
        heads.Fusion,
        {"student": shapes(PAIR), "target": shapes(TARGETS), "width": whole(5)},
        _layers,
    ),
}


def _numbers(shape: torch.Size) -> Tensor:
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0))


def _map(shape: torch.Size) -> Argument:
    """A map of the batch, where one of other channels does not fit."""
    x = _numbers(shape)
    return reals(x, x[:, 1:], x[:, :, 0], x[..., None], x[:, :0], x[..., :0])


def _map_of_any_channels(shape: torch.Size) -> Argument:
    """A map of the batch."""
    x = _numbers(shape)
    wrong = x[:, :, 0], x[..., None], x[:, :0], x[..., :0]
    return reals(x, *wrong, shapes=False, places=False)


def _features(shape: torch.Size) -> Argument:
    """Features of the batch, of which the number counts alone."""
    x = _numbers(shape)
    return reals(x, x[:, 1:], x[:, :, 0], x[:, :0], x[..., :0], x[:, 0, 0, 0])


def _given(build: Callable[[], nn.Module], **tensors: Any) -> Any:
    """What a head that is built anew makes of the tensors."""
    torch.manual_seed(0)
    return build()(**tensors)


def _reviewed(build: Callable[[], nn.Module], **maps: Any) -> Any:
    torch.manual_seed(0)
    return build()(*maps.values())


def _given_call(head: str, arguments: dict[str, Argument], *built: Any, **options: Any) -> Call:
    build = partial(getattr(heads, head), *built, **options)
    return Call(partial(_given, build), arguments, voices=("Embeddings", "maps"))


STUDENT, TEACHER = _numbers(SMALL), _numbers(LARGE)
SIDES = {"student": _map(SMALL), "teacher": _map(LARGE)}
EMBEDDED = {"student": _features(SMALL), "teacher": _features(LARGE)}
ROWS = torch.tensor([7, 2, 5])
CLASSES = _numbers(LOGITS)
GIVEN: dict[str, Call] = {
    "heads.Masked.forward": _given_call("Masked", {"map": _map_of_any_channels(SMALL)}, 0.15),
    "heads.Aligned.forward": _given_call(
        "Aligned", {"student": reals(TEACHER, TEACHER[:, :0], shapes=False, places=False)}, LARGE
    ),
    "heads.Embeddings.forward": _given_call("Embeddings", EMBEDDED, SMALL, LARGE),
    "heads.Memory.forward": _given_call(
        "Memory",
        {
            **EMBEDDED,
            "index": wholes(ROWS, ROWS + 3, -ROWS, ROWS + 2**40),
            "temperature": scalar(0.5, SQUARED[:4]),
        },
        SMALL,
        (LARGE, INDEX),
        examples=10,
        negatives=6,
        width=5,
    ),
    "heads.Answers.forward": _given_call(
        "Answers",
        {
            "student": reals(CLASSES, CLASSES[:2], CLASSES[:, :2], shapes=False, places=False),
            "labels": wholes(ROWS % 3, ROWS[:2]),
            "index": wholes(ROWS, ROWS + 3, -ROWS, ROWS + 2**40),
        },
        LOGITS,
        (INDEX, INDEX),
        examples=10,
    ),
    "heads.Variational.forward": _given_call("Variational", SIDES, SMALL, LARGE),
    "heads.Temperature.forward": _given_call(
        "Temperature", {"student": _map(SMALL), "teacher": _map(SMALL)}, SMALL, SMALL
    ),
    "heads.Interrelations.forward": _given_call(
        "Interrelations",
        {
            "student": reals(CLASSES, CLASSES[:2], CLASSES[:, :2], shapes=False, places=False),
            "teacher": reals(CLASSES, CLASSES[:2], CLASSES[:, :2], shapes=False, places=False),
            "labels": wholes(ROWS % 3, ROWS[:2]),
        },
        LOGITS,
        (LOGITS, INDEX),
        cost=COST,
    ),
    "heads.Factors.forward": _given_call("Factors", SIDES, SMALL, LARGE),
    "heads.Margin.forward": _given_call("Margin", SIDES, SMALL, LARGE),
    "heads.SoftmaxRegression.forward": _given_call(
        "SoftmaxRegression", SIDES, SMALL, LARGE, teacher=Last()
    ),
    "heads.Flows.forward": _given_call(
        "Flows",
        {
            "first": _map(SMALL),
            "last": _map(SMALL),
            "teacher_first": _map(LARGE),
            "teacher_last": _map(LARGE),
        },
        PAIR,
        TARGETS,
    ),
    "heads.Fusion.forward": Call(
        partial(_reviewed, partial(heads.Fusion, PAIR, TARGETS, width=5)),
        {f"maps[{level}]": _map(s) for level, s in enumerate((*PAIR, *TARGETS))},
        voices=("Fusion",),
    ),
}
TOKENS = torch.randn(BATCH, 17, 4, generator=torch.Generator().manual_seed(1))
ALIGNED: dict[str, Call] = {
    f"heads.align.{form}": Call(
        getattr(align, form),
        {
            "student": reals(TOKENS, TOKENS[:, 3:], TOKENS[:, :0], TOKENS[..., :0]),
            "teacher": reals(TEACHER, TEACHER[..., :0], TEACHER[..., None], TEACHER[:, 0, 0]),
        },
    )
    for form in ("features", "positions", "maps", "grids")
}
HEADS = BUILT | GIVEN | ALIGNED
