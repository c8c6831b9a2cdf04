"""Valid calls of methods, of terms and of what is made of them, and of the laws of losses."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from broken import (
    Argument,
    Break,
    Call,
    choice,
    flag,
    function,
    listed,
    mapped,
    number,
    one,
    optional,
    reals,
    strangers,
    to_break,
    whole,
)
from hypothesis import strategies as st
from torch import Tensor, nn

from fkd import heads, losses, methods
from fkd.heads import align
from fkd.methods import METHODS, Context, Method, Term
from fkd.schedules import linear_warmup
from fkd.testing import Case, check, claims, laws, strategies

LEAST = {"warmup": 0}
TEMPERATURES = [0, -1.0, 1e20, 1e-20]
OUT_OF_RANGE: dict[str, list[Any]] = {
    "temperature": TEMPERATURES,
    "k": [0, -1.0, 0.5, 2**25],
    "skew": [0, -1.0, 1, 2.5],
    "correct": [0, -1.0, 1, 2.5],
    "mass": [0, -1.0, 1, 2.5],
}
SHARES = {("jensen_shannon", "beta")}
POSITIVE = {("wkd_l", "regularization"), ("ofa", "gamma"), ("ttm", "gamma"), ("wttm", "gamma")}


def name() -> Argument:
    """A name, which is not empty."""
    return Argument("kept", st.one_of(strangers("word"), to_break("empty", st.just(""))))


def _several(value: tuple[str, ...]) -> Argument:
    return listed(value, ["a", ""], ["a", 3], "ab")


def _of_default(method: str, parameter: inspect.Parameter) -> Argument:
    """A valid argument of a method, by its default and its name."""
    key, value = parameter.name, parameter.default
    if key == "margin":
        return optional(reals(-torch.ones(4), shapes=False, places=False))
    if key == "cost":
        return optional(reals(torch.eye(3), torch.ones(3), shapes=False, places=False))
    if key == "temperatures":
        return listed(value, [4.0, 4.0], [4.0, 4.0000001], [0.0], [-1.0], [None], 4.0)
    if key in ("layers", "teacher_layers"):
        both = _several(("early_map", "feature_map"))
        return both if value is not None else optional(both)
    if value is None:
        return optional(name())
    if isinstance(value, str):
        return name()
    if isinstance(value, int):
        return whole(value, least=LEAST.get(key, 1))
    most = 1.0 if (method, key) in SHARES else None
    plain = number(value, most=most)
    others = [0, -1.0] if (method, key) in POSITIVE else OUT_OF_RANGE.get(key)
    if others is None:
        return plain
    return Argument(value, plain.breaks | to_break("out of range", st.sampled_from(others)))


def numbers_of(method: Method) -> dict[str, Any]:
    """What can be compared of a method: its names and numbers."""
    return {
        key: [*term.students, *term.targets, str(term.mask), *term.numbers.items()]
        for key, term in method.items()
    }


def _method(build: Callable[..., Method]) -> Call:
    parameters = inspect.signature(build).parameters.values()
    spoken = build.__name__.replace("_", "-")
    arguments = {x.name: _of_default(build.__name__, x) for x in parameters}
    return Call(build, arguments, numbers_of, voices=(spoken,))


OUTPUTS = {"logits": torch.empty(2, 3, device="meta"), "map": torch.empty(2, 4, 5, device="meta")}
LABELS = {"labels": torch.empty(2, device="meta", dtype=torch.int64), **OUTPUTS}
SHAPES = {key: x.shape[1:] for key, x in OUTPUTS.items()}
KD = Term(losses.kl_divergence, hyper={"temperature": 2.0})
NO_NAMES = to_break("no names", st.sampled_from([(), "", ["logits"], ("a", ""), ("a", 3)]))
FIELDS: dict[str, Argument] = {
    "loss": function(losses.kl_divergence),
    "student": Argument("logits", strangers("word") | NO_NAMES),
    "target": Argument("logits", strangers("word") | NO_NAMES),
    "weight": number(1.0),
    "hyper": mapped({"temperature": 2.0}, {"temperature": True}, {"temperature": torch.ones(2)}),
    "head": optional(function(heads.pointwise)),
    "joint": flag(True),
    "align": optional(function(align.maps)),
    "head_hyper": listed(("temperature",), ("heat",), "temperature", empty=True),
    "needs": listed(("teacher",), ("time",), "teacher", empty=True),
    "schedules": mapped({"weight": linear_warmup}, {"heat": linear_warmup}, empty=True),
    "wrap": optional(function(lambda build, context: build())),
    "mask": optional(name()),
}
for _key in ("head_hyper", "needs"):  # they are tuples, and lists are refused
    FIELDS[_key] = Argument(
        FIELDS[_key].value, FIELDS[_key].breaks.filter(lambda case: case.how != "as a list")
    )


def _term(term: Term) -> dict[str, Any]:
    return numbers_of({"term": term})


def _wrapped(build: Any) -> bool:
    return isinstance(build(), nn.Module)


def _context(context: Context) -> list[Any]:
    return [context.examples, context.steps_per_epoch, sorted(context.outputs)]


def _values(answer: tuple[Any, Tensor]) -> tuple[int, ...]:
    return tuple(answer[1].shape)


SHAPED = mapped(SHAPES, {"map": (4, 5)}, {"map": [4]}, empty=True)
TERMS: dict[str, Call] = {
    "methods.Term": Call(Term, FIELDS, _term),
    "methods.Term.with_numbers": Call(
        KD.with_numbers,
        {
            "name": name(),
            "numbers": mapped({"kept.weight": 2.0}, {"kept.weight": -1.0}, empty=True),
        },
        _term,
        voices=("Term",),
    ),
    "methods.Context": Call(
        Context,
        {
            "examples": optional(whole(9)),
            "teacher": optional(one(nn.Linear(2, 2))),
            "steps_per_epoch": optional(whole(4)),
            "epochs": optional(whole(3)),
            "outputs": SHAPED,
            "targets": SHAPED,
        },
        _context,
    ),
    "methods.Context.need": Call(
        Context(examples=9).need,
        {"name": Argument("examples", strangers() | to_break("not given", st.just("teacher")))},
        voices=("teacher", "Context"),
    ),
    "methods.fit": Call(
        methods.fit,
        {
            "term": one(KD),
            "outputs": mapped(OUTPUTS, {"logits": torch.empty(2, 3).to_sparse()}, {"map": 3}),
            "targets": mapped(LABELS, {"logits": torch.empty(3, 3, device="meta")}),
            "context": one(Context()),
            "dtype": one(torch.float32),
        },
        _values,
        voices=("kl_divergence",),
    ),
    "methods.wrapped": Call(
        methods.wrapped,
        {
            "build": function(nn.Identity),
            "method": mapped({"kd": KD}, {"kd": methods.kd()}, empty=True),
            "context": one(Context()),
        },
        _wrapped,
    ),
}


def _square(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().sum(-1)


def _of_case(**fields: Any) -> list[str]:
    """The claims of a row, whose fields are checked where it is first asked."""
    return claims(Case(**fields))


def _checked(loss: Any, case: Any, law: Any) -> None:
    """`check`, with one law by its name."""
    check(loss, case, law)


def _true(answer: object) -> bool:
    return True


FLAGS = [key for key, kind in Case.__annotations__.items() if kind is bool]
PAIRS = strategies.logit_pairs()
ROW = Case(PAIRS, refuses=False)
CASE: dict[str, Argument] = {
    "inputs": one(PAIRS),
    "hyper": mapped({"temperature": strategies.temperatures()}, empty=True),
    "low": optional(number(0.5, signed=True)),
    "high": optional(number(2.0, signed=True)),
    **{key: flag(key == "whole") for key in FLAGS},
    "smooth": whole(2, least=0, most=2),
    "sides": whole(1),
    "unbatched": whole(0, least=0),
}
SHAPE = Argument(
    (2, 3),
    st.one_of(
        strangers(),
        st.sampled_from([Break("no shape", x) for x in ((0,), (-1,), (2.5,), [2], (None,))]),
    ),
)
LARGEST = Argument(2.0, number(2.0, most=2.0**18).breaks | to_break("too few", st.just(1e-3)))
SIZES: dict[str, Argument] = {
    "batch": whole(2),
    "classes": whole(3),
    "width": whole(2),
    "shape": SHAPE,
    "largest": LARGEST,
    "pairs": one(PAIRS),
}
OWN: dict[tuple[str, str], Argument] = {("eighths", "largest"): whole(2)}


def _strategy(key: str) -> Call:
    build = getattr(strategies, key)
    parameters = inspect.signature(build).parameters
    arguments = {x: OWN.get((key, x), SIZES[x]) for x in parameters}
    return Call(build, arguments, _true, voices=("logit_shapes", "map_shapes", "tensors"))


LAWS: dict[str, Call] = {
    "testing.Case": Call(_of_case, CASE, voices=("claims",)),
    "testing.claims": Call(claims, {"case": one(ROW)}),
    "testing.laws": Call(laws, {"loss": function(_square), "case": one(ROW)}, _true, ("claims",)),
    "testing.check": Call(
        _checked,
        {"loss": function(_square), "case": one(ROW), "law": choice("inputs_are_untouched")},
        voices=("claims",),
    ),
    **{
        f"testing.strategies.{key}": _strategy(key)
        for key in strategies.__all__
        if key != "Arguments"
    },
}
METHOD_CALLS: dict[str, Call] = {
    f"methods.{build.__name__}": _method(build) for build in METHODS.values()
}
METHODS_AND_LAWS: Mapping[str, Call] = METHOD_CALLS | TERMS | LAWS
