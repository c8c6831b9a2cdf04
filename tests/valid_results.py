"""Valid calls of evaluation, export and comparison."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from broken import (
    Argument,
    Call,
    as_good,
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
from valid_students import (
    BUFFERS,
    INPUTS,
    LABELS,
    MEMBERS,
    MODEL,
    NAMES,
    PARAMS,
    SOURCE,
    STATE,
    ask,
    build,
    nothing,
    other,
)

from fkd import (
    compare,
    data,
    distributed,
    ensemble,
    evaluate,
    execution,
    export,
    methods,
    optim,
    schedules,
)

SCORED = {
    "labels": wholes(
        LABELS, LABELS + 3, LABELS - 3, LABELS.bool(), LABELS[:1], LABELS[None, :, None], INPUTS
    ),
    "mask": optional(
        Argument(
            LABELS > 0,
            st.one_of(
                strangers(),
                to_break(
                    "what does not fit",
                    st.sampled_from(
                        [
                            LABELS,
                            torch.ones(1).bool(),
                            torch.ones(6),
                            torch.ones(6, device="meta") > 0,
                        ]
                    ),
                ),
            ),
        )
    ),
}
_OF_SCORE = reals(
    INPUTS[:, :3],
    INPUTS[0],
    INPUTS[:0, :3],
    INPUTS[:1, :3],
    INPUTS[:5, :3],
    INPUTS[:, :0],
    torch.ones(()),
    shapes=False,
)
_SAME = Argument(
    INPUTS[:, 1:],
    st.one_of(
        strangers(),
        to_break(
            "what does not fit",
            st.sampled_from(
                [
                    INPUTS[:1, 1:],
                    INPUTS[:5, 1:],
                    INPUTS,
                    INPUTS[0],
                    LABELS,
                    INPUTS[:, 1:].to("meta"),
                ]
            ),
        ),
        as_good("wider", INPUTS[:, 1:].double(), INPUTS[:, 1:]),
    ),
)
_SIZE = optional(whole(2))
_PART = {"logits": INPUTS}
EVALUATE = {
    "evaluate.accuracy": Call(evaluate.accuracy, {"logits": _OF_SCORE, **SCORED}),
    "evaluate.agreement": Call(
        evaluate.agreement, {"student": _OF_SCORE, "teacher": _SAME, "mask": SCORED["mask"]}
    ),
    "evaluate.calibration_error": Call(
        evaluate.calibration_error, {"logits": _OF_SCORE, "bins": whole(5), **SCORED}
    ),
    "evaluate.correct": Call(evaluate.correct, {"logits": _OF_SCORE, **SCORED}),
    "evaluate.cross_entropy": Call(evaluate.cross_entropy, {"logits": _OF_SCORE, **SCORED}),
    "evaluate.predict": Call(
        evaluate.predict,
        {"ask": function(ask), "source": one(SOURCE), "names": NAMES, "batch_size": _SIZE},
        voices=("answers", "together"),
    ),
    "evaluate.answers": Call(
        lambda **arguments: list(evaluate.answers(**arguments)),
        {"ask": function(ask), "source": one(SOURCE), "names": NAMES, "batch_size": _SIZE},
    ),
    "evaluate.together": Call(
        evaluate.together,
        {
            "parts": listed(
                [_PART],
                [_PART, _PART],
                [{"logits": INPUTS[:3]}, {"logits": INPUTS[3:].long()}],
                [{"logits": 3}],
            ),
            "examples": Argument(
                6, st.one_of(strangers("whole"), to_break("others", st.sampled_from([-1, 0, 5, 7])))
            ),
        },
    ),
    "evaluate.predict_members": Call(
        evaluate.predict_members,
        {
            "model": one(MODEL),
            "state": Argument(MEMBERS, st.one_of(strangers(), to_break("of one", st.just(STATE)))),
            "source": one(SOURCE),
            "name": choice("logits"),
            "average": flag(False),
            "batch_size": _SIZE,
        },
        voices=("size",),
    ),
}


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()


def _saved(path: Any, state_dict: Any) -> None:
    """To a new file each time, where it is to be one."""
    if isinstance(path, str) and path == "new":
        path = Path(_folder().name) / f"{len(list(Path(_folder().name).iterdir()))}.safetensors"
    export.save_safetensors(path, state_dict)


_STATE_DICT = mapped(
    PARAMS, {"weight": 3}, {"weight": PARAMS["weight"]}, {**PARAMS, "bias": torch.ones(4)}
)
EXPORT = {
    "export.member_state_dict": Call(
        export.member_state_dict,
        {
            "build": Argument(
                build,
                st.one_of(
                    strangers("function", "class"),
                    to_break("another", st.sampled_from([int, other])),
                ),
            ),
            "params": Argument(MEMBERS.params["student"], mapped(PARAMS, {"weight": 3}).breaks),
            "buffers": mapped(BUFFERS, {"more": torch.ones(2)}, empty=True),
            "member": whole(1, 0, 1),
        },
    ),
    "export.exported": Call(
        export.exported,
        {
            "build": Argument(
                build,
                st.one_of(
                    strangers("function", "class"),
                    to_break("another", st.sampled_from([int, other])),
                ),
            ),
            "state_dict": _STATE_DICT,
            "inputs": Argument(INPUTS, strangers()),
        },
        nothing,
    ),
    "export.save_safetensors": Call(
        _saved,
        {
            "path": Argument("new", strangers("word")),
            "state_dict": mapped(PARAMS, {"weight": 3}, empty=True),
        },
        voices=("checkpoint",),
    ),
}
WIDE = data.Data("mine", ("a", "b", "c"), SOURCE, SOURCE)
_METHODS = {"ce": methods.ce(), "kd": methods.kd()}
_COMPARED = {
    "teacher": Argument(build, strangers("function", "class")),
    "student": Argument(build, strangers("function", "class")),
    "methods": mapped(_METHODS, {"ce": {"ce": 3}}, {"kd": None}, {"hint": methods.hint()}),
    "data": one(WIDE),
    "seeds": listed(
        [0, 1], [-1], [2**32], [0, 0], [0.5], [True], [ensemble.Seeds(0, 1, 2)], [(0, 1, 2)]
    ),
    "resolution": optional(number(50.0)),
    "max_seeds": whole(2, least=2, most=2**32),
    "epochs": whole(1),
    "optimizer": optional(one(optim.adam())),
    "schedules": optional(
        Argument({"lr": schedules.cosine(2)}, strangers("dict", "function", "class"))
    ),
    "numbers": optional(
        mapped(
            {"weight_decay": 0.1},
            {"rate": 0.1},
            {"weight_decay": -0.1},
            {"weight_decay": torch.tensor(0.1)},
            {"weight_decay": True},
            {"weight_decay": 1e39},
            {"lr": 0.1},  # which is swept
            empty=True,
        )
    ),
    "augment": optional(function(data.unchanged)),
    "mix": Argument(None, strangers("none", "function", "class")),
    "sweep": optional(
        mapped(
            {"lr": [0.1, 0.2]},
            {"lr": 0.1},
            {"lr": []},
            {"lr": "ab"},
            {"rate": [0.1]},
            {"lr": [-0.1]},
            {"lr": [None]},
            empty=True,
        )
    ),
    "validation": number(0.5, most=1.0),
    "teacher_state": optional(
        mapped(
            PARAMS,
            {"weight": PARAMS["weight"]},
            {**PARAMS, "bias": torch.ones(4)},
            {**PARAMS, "bias": 3},
        )
    ),
    "teacher_seed": seed(),
    "teacher_epochs": optional(whole(1)),
    "teacher_memory": number(1.0),
    "baseline": optional(choice("ce")),
    "order": optional(choice("shared")),
    "precision": choice("fp32"),
    "plan": optional(one(execution.Plan(compile="none"))),
    "mesh": optional(one(distributed.Mesh())),
}
COMPARE = {
    "compare.Comparison": Call(compare.Comparison, _COMPARED, nothing),
    "compare.compare": Call(compare.compare, _COMPARED, nothing),
    "compare.Factorial": Call(
        compare.Factorial,
        {
            "sources": listed(
                ["init", "order"], [], ["init", "init"], ["mine"], ["init", None], ["rest"]
            ),
            "levels": whole(3, least=2, most=32),
        },
        lambda plan: plan.seeds,
    ),
}
RESULTS = {**COMPARE, **EVALUATE, **EXPORT}
