"""Valid calls of distillation, ensembles, execution and the loop."""

import torch
from broken import (
    Argument,
    Call,
    choice,
    flag,
    function,
    listed,
    mapped,
    one,
    optional,
    seed,
    strangers,
    to_break,
    whole,
)
from hypothesis import strategies as st
from valid_students import (
    BATCH,
    CPU,
    INPUTS,
    LABELS,
    MEMBERS,
    MODEL,
    RUN,
    SOURCE,
    STATE,
    ask,
    nothing,
)

from fkd import (
    data,
    distillation,
    ensemble,
    execution,
    methods,
    optim,
    schedules,
    split,
    train,
)

_SEEDS = listed(
    [0, 1],
    [-1, 0],
    [0, 2**32],
    [0.0, 1.0],
    [True, False],
    [0, ensemble.Seeds(0, 0, -1)],
    [ensemble.Seeds(0, 2**32, 0), 1],
    [(0, 0, 0), 1],
)
_RUN, _MEMBERS = one(RUN), one(MEMBERS)
_ORDER = choice("shared")
_TREE = {"w": torch.arange(6.0).reshape(3, 2)}
_STATES = st.sampled_from([STATE._replace(params={}), STATE._replace(hyper={}), MEMBERS])
_BATCHES = st.sampled_from(
    [
        data.Batch(INPUTS[:, :2], BATCH.targets),
        data.Batch(INPUTS, {"labels": LABELS}),
        data.Batch(INPUTS[:3], BATCH.targets),
        data.Batch(None, BATCH.targets),
        data.Batch(INPUTS.long(), BATCH.targets),
        data.Batch(INPUTS, {**BATCH.targets, "logits": torch.zeros(6, 4)}),
        data.Batch(INPUTS[:0], {name: target[:0] for name, target in BATCH.targets.items()}),
    ]
)
_BATCH = Argument(BATCH, st.one_of(strangers(), to_break("what does not fit", _BATCHES)))


_TWO = st.sampled_from([lambda step: torch.ones(2), lambda step: 1.0, lambda step: "x"])
SPLIT = {
    "split.Split": Call(
        split.Split,
        {"part": whole(1, 0, 1), "parts": whole(2, 2), "sum": function(torch.clone)},
        nothing,
    ),
    "split.together": Call(
        split.together,
        {"parts": Argument(2, strangers("whole")), "run": function(lambda one: one.part)},
    ),
}
DISTILLATION = {
    "distillation.distill": Call(
        distillation.distill,
        {
            "student": one(MODEL),
            "method": mapped(methods.kd(), {"kd": None}, methods.hint()),
            "optimizer": one(optim.sgd(0.1)),
            "batch": _BATCH,
            "schedules": optional(
                mapped(
                    {"lr": schedules.cosine(9)},
                    {"rate": schedules.cosine(9)},
                    {"lr": 0.1},
                    empty=True,
                )
            ),
            "context": optional(one(methods.Context())),
            "split": Argument(None, strangers("none")),
        },
        nothing,
        ("term", "layer", "Linear", "the model"),
    ),
    "distillation.distill.schedule": Call(
        lambda schedule: distillation.distill(
            MODEL, methods.kd(), optim.sgd(0.1), BATCH, schedules={"lr": schedule}
        ),
        {
            "schedule": Argument(
                schedules.cosine(9),
                st.one_of(strangers("function", "class"), to_break("not one number", _TWO)),
            )
        },
        nothing,
        ("distill",),
    ),
    "distillation.Distillation.init": Call(
        RUN.init,
        {
            "seed": seed(),
            "hyper": optional(
                mapped(
                    {"lr": 0.1},
                    {"rate": 0.1},
                    {"lr": -0.1},
                    {"lr": "0.1"},
                    {"lr": torch.ones(2)},
                    {"lr": True},
                    {"lr": 1e39},
                    {"kd.temperature": 0.0},
                    {"kd.weight": float("nan")},
                    empty=True,
                )
            ),
        },
        lambda state: state.hyper,
        ("init", "term", "Term"),
    ),
    "distillation.step": Call(
        distillation.step,
        {
            "distillation": _RUN,
            "state": Argument(
                STATE, st.one_of(strangers(), to_break("what does not fit", _STATES))
            ),
            "batch": Argument(
                BATCH,
                _BATCH.breaks.filter(
                    lambda case: (
                        not isinstance(case.value, data.Batch)
                        or case.value.inputs is None
                        or bool(len(case.value.inputs))
                    )
                ),
            ),
        },
        lambda pair: pair[1],
        ("Term", "term", "kl_divergence", "cross_entropy", "soft_cross_entropy"),
    ),
    "distillation.student_of": Call(distillation.student_of, {"state": one(STATE)}),
    "distillation.average_of": Call(
        distillation.average_of,
        {
            "state": Argument(
                STATE,
                st.one_of(strangers(), to_break("none", st.just(STATE._replace(optimizer=())))),
            )
        },
    ),
    "ensemble.ensemble": Call(ensemble.ensemble, {"distillation": _RUN, "order": _ORDER}, nothing),
    "ensemble.init": Call(
        ensemble.init,
        {
            "distillation": _RUN,
            "seeds": _SEEDS,
            "hyper": optional(
                mapped(
                    {"lr": [0.1, 0.2]},
                    {"lr": [0.1]},
                    {"lr": 0.1},
                    {"lr": "ab"},
                    {"lr": [None, 0.1]},
                    empty=True,
                )
            ),
        },
        lambda state: state.hyper,
        ("init",),
    ),
    "ensemble.size": Call(
        ensemble.size,
        {"state": Argument(MEMBERS, st.one_of(strangers(), to_break("of one", st.just(STATE))))},
    ),
    "ensemble.member": Call(
        ensemble.member,
        {
            "tree": Argument(_TREE, strangers("tensor", "list", "dict", "none")),
            "k": whole(1, 0, 2),
        },
    ),
    "ensemble.stack": Call(
        ensemble.stack,
        {
            "trees": listed(
                [_TREE, _TREE],
                [_TREE, {"v": torch.ones(3, 2)}],
                [_TREE, {"w": torch.ones(2)}],
                [3, 4],
            )
        },
    ),
    "ensemble.part": Call(
        ensemble.part,
        {
            "tree": Argument(_TREE, strangers("tensor", "list", "dict", "none")),
            "members": one(slice(0, 2)),
        },
    ),
}

_PLAN = one(execution.Plan(layout="loop", compile="none"))
STUDENTS = train.Students(RUN, [0, 1])
EXECUTION = {
    "execution.Plan": Call(
        execution.Plan,
        {
            "layout": choice("loop"),
            "chunk": optional(whole(2)),
            "compile": choice("none"),
            "graph": whole(0, least=0),
        },
        nothing,
    ),
    "execution.Plan.settle": Call(
        execution.Plan().settle,
        {"device": one(CPU), "steps": whole(9, least=0), "members": whole(2, least=0)},
        nothing,
        ("Plan",),
    ),
    "execution.compiled": Call(execution.compiled, {"function": function(ask)}, nothing),
    "execution.fast_in_bfloat16": Call(execution.fast_in_bfloat16, {"device": choice("cpu")}),
    "execution.keep_freed": Call(execution.keep_freed, {}),
    "execution.lay": Call(
        execution.lay,
        {
            "distillation": _RUN,
            "plan": Argument(
                _PLAN.value,
                st.one_of(_PLAN.breaks, to_break("not settled", st.just(execution.Plan()))),
            ),
            "order": _ORDER,
            "fall_back": flag(False),
        },
        nothing,
    ),
    "execution.multiply_in": Call(execution.multiply_in, {"precision": choice("fp32")}),
    "execution.pays": Call(
        execution.pays, {"steps": whole(9, least=0), "members": whole(2, least=0)}
    ),
    "execution.precisions": Call(execution.precisions, {"device": choice("cpu")}),
    "execution.runner": Call(
        lambda body, graph, fall_back: execution.runner(body, None, graph, fall_back=fall_back),
        {"body": function(ask), "graph": whole(0, least=0), "fall_back": flag(False)},
        nothing,
    ),
    "execution.why_not_compile": Call(
        lambda device: device is CPU or execution.why_not_compile(device),
        {"device": one(CPU)},
    ),
    "execution.why_not_vmap": Call(
        execution.why_not_vmap,
        {"distillation": _RUN, "state": _MEMBERS, "batch": one(BATCH), "order": _ORDER},
    ),
    "train.Students": Call(
        train.Students,
        {
            "distillation": _RUN,
            "seeds": _SEEDS,
            "hyper": Argument({}, strangers("dict")),
            "members": optional(whole(2, least=2)),
        },
        lambda made: list(made.seeds),
    ),
    "train.train": Call(
        lambda **arguments: next(train.train(**arguments)).metrics,
        {
            "students": mapped({"kd": STUDENTS}, {"kd": RUN}),
            "source": one(SOURCE.with_targets({"logits": BATCH.targets["logits"]})),
            "epochs": whole(1),
            "plan": optional(_PLAN),
            "teacher": optional(Argument(ask, strangers("function", "class"))),
            "order": _ORDER,
            "order_seed": seed(),
            "start": Argument(None, strangers("none")),
        },
    ),
}

TRAINING = {**SPLIT, **DISTILLATION, **EXECUTION}
