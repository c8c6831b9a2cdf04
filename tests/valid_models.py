"""Valid calls of models and teachers."""

import torch
from broken import (
    Argument,
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
    seed,
    strangers,
    to_break,
    whole,
    wholes,
)
from hypothesis import strategies as st
from torch import nn
from valid_students import (
    BUFFERS,
    INPUTS,
    MODEL,
    NAMES,
    PARAMS,
    SOURCE,
    TEACHER,
    ask,
    build,
    nothing,
)

from fkd import (
    data,
    model,
    teachers,
)

_BUILD = Argument(
    build,
    st.one_of(
        strangers("function", "class"),
        to_break("a module", st.just(nn.Linear(4, 3))),
        to_break("what wants arguments", st.just(nn.Linear)),
        to_break("what builds no module", st.just(int)),
    ),
)
_PARAMS = mapped(PARAMS, {"weight": PARAMS["weight"]}, {**PARAMS, "more": torch.ones(1)})
MODELS = {
    "model.functional": Call(
        model.functional,
        {
            "build": _BUILD,
            "dtype": Argument(
                torch.float32,
                st.one_of(strangers(), to_break("whole numbers", st.just(torch.int64))),
            ),
        },
        nothing,
    ),
    "model.Model.init": Call(MODEL.init, {"seed": seed()}, voices=("init",)),
    "model.check": Call(
        model.check,
        {"model": one(MODEL), "inputs": reals(INPUTS, INPUTS[:, :2], shapes=False, places=False)},
        voices=("layer", "Linear", "the model"),
    ),
    "model.outputs_like": Call(
        model.outputs_like,
        {
            "model": one(MODEL),
            "inputs": Argument(
                INPUTS,
                st.one_of(strangers("tensor"), to_break("narrow", st.just(INPUTS[:, :2]))),
            ),
            "train": flag(True),
        },
        nothing,
        ("layer", "Linear", "the model"),
    ),
    "model.lightly": Call(lambda run: model.lightly(run, INPUTS), {"run": function(ask)}, nothing),
    "model.arguments": Call(
        lambda keywords: model.arguments(INPUTS, keywords), {"keywords": one(frozenset({"x"}))}
    ),
    "model.by_name": Call(
        model.by_name,
        {"outputs": Argument({"logits": INPUTS}, strangers("tensor"))},
        voices=("functional",),
    ),
    "model.keywords": Call(model.keywords, {"module": one(build())}),
    "model.state_dict": Call(
        model.state_dict,
        {
            "params": Argument(PARAMS, strangers("dict")),
            "buffers": Argument(BUFFERS, strangers("dict")),
        },
    ),
}

_CONSTANTS = listed((0.5, 0.4), (0.5,), (0.5, float("nan")), (0.5, True), (0.5, torch.ones(1)))
_LOGITS = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
_CUT = teachers.top_k(_LOGITS, 2)
TEACHERS = {
    "teachers.Renormalize": Call(
        teachers.Renormalize,
        {name: _CONSTANTS for name in ("source_mean", "source_std", "teacher_mean", "teacher_std")},
        lambda made: list(made.source_mean) + list(made.teacher_std),
    ),
    "teachers.Renormalize.call": Call(
        teachers.Renormalize((0.5, 0.5), (1.0, 1.0), (0.4, 0.4), (1.0, 1.0)),
        {
            "inputs": reals(
                torch.ones(2, 2, 3, 3),
                torch.ones(2),
                torch.ones(3, 3, 3),
                shapes=False,
                places=False,
            )
        },
        voices=("Renormalize",),
    ),
    "teachers.Several": Call(
        teachers.Several,
        {
            "teachers": Argument([ask, ask], strangers("list", "dict")),
            "mean": choice("arithmetic"),
            "temperature": number(2.0),
            "names": optional(NAMES),
        },
        nothing,
    ),
    "teachers.Teacher": Call(
        teachers.Teacher,
        {
            "model": one(MODEL),
            "params": mapped(PARAMS, {"weight": 3}, empty=True),
            "buffers": mapped(BUFFERS, {"weight": 3}, empty=True),
            "transform": function(data.unchanged),
            "names": optional(listed(("logits",), "logits")),
        },
        nothing,
    ),
    "teachers.Teacher.call": Call(
        lambda params, inputs, names: teachers.Teacher(MODEL, params, {}, names=names)(inputs),
        {
            "params": _PARAMS,
            "inputs": reals(INPUTS, INPUTS[:, :2], [3, None], shapes=False, places=False),
            "names": optional(NAMES),
        },
        voices=("Teacher",),
    ),
    "teachers.cached": Call(
        teachers.cached,
        {
            "teacher": function(ask),
            "source": one(SOURCE),
            "names": NAMES,
            "top_k": optional(whole(2, most=3)),
            "storage": optional(one(torch.float16)),
        },
        lambda source: list(source.targets),
        ("answers", "top_k", "storage"),
    ),
    "teachers.module_of": Call(teachers.module_of, {"teacher": one(TEACHER)}, nothing),
    "teachers.reads_alike": Call(teachers.reads_alike, {"source": one(SOURCE)}),
    "teachers.spread": Call(
        teachers.spread,
        {
            "values": reals(_CUT.values),
            "indices": wholes(_CUT.indices, _CUT.indices + 9, _CUT.indices - 9),
            "tail": reals(_CUT.tail),
            "classes": whole(5, least=2),
        },
    ),
    "teachers.teacher_of_module": Call(
        teachers.teacher_of_module,
        {
            "module": one(build()),
            "names": optional(listed(("logits",), "logits")),
            "transform": function(data.unchanged),
        },
        nothing,
        ("Teacher",),
    ),
    "teachers.top_k": Call(
        teachers.top_k,
        {
            "logits": reals(_LOGITS, torch.ones(()), torch.ones(3, 0), shapes=False, places=False),
            "k": whole(2, most=5),
        },
        lambda cut: cut.values,
    ),
}

ASKED = {**MODELS, **TEACHERS}
