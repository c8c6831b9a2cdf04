"""Valid calls of what recipes are made of: schedules, optimizers and networks.

By the name of a function within `fkd`; a dot more is a method of what a class makes.
"""

import torch
from broken import (
    Argument,
    Call,
    flag,
    function,
    listed,
    mapped,
    number,
    one,
    optional,
    strangers,
    to_break,
    whole,
    word,
)
from hypothesis import strategies as st
from torch import Tensor, nn

from fkd import models, optim, schedules
from fkd._random import Key

KEY = Key(torch.tensor(0), torch.tensor(0))
IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(4) % 2
CONSTANTS = (0.5, 0.4, 0.3)


def _at_three(schedule: schedules.Schedule) -> Tensor:
    return schedule(torch.tensor(3))


def _numbers(link: optim.Optimizer | optim.Transform) -> dict[str, float]:
    return link.hyper


_COSINE, _FLAT = schedules.cosine(9), schedules.constant()
_SCHEDULES = {
    "constant": {"factor": number(0.5)},
    "linear_warmup": {"steps": whole(5)},
    "cosine": {"total": whole(9), "final": number(0.1)},
    "warmup_cosine": {"total": whole(9, least=3), "warmup": whole(2, 0, 8), "final": number(0.1)},
    "piecewise": {"milestones": listed([2, 4], [0, 1], [1.5], [True]), "factor": number(0.1)},
    "exponential": {"factor": number(0.9)},
    "linear": {"total": whole(9), "initial": number(0.1), "final": number(0.9)},
    "polynomial": {"total": whole(9), "power": number(2.0)},
    "one_cycle": {
        "total": whole(9, least=4),
        "rise": number(0.3, most=1.0),
        "initial": number(0.1),
        "final": number(0.01),
    },
    "join": {
        "schedules": listed([_COSINE, _FLAT], [_FLAT], [_FLAT] * 3),
        "boundaries": listed([2], [0], [2.0], [1, 2], [-1]),
    },
    "times": {"first": function(_COSINE), "second": function(_FLAT)},
    "by_epoch": {"schedule": function(_COSINE), "steps_per_epoch": whole(2)},
}
SCHEDULES = {
    f"schedules.{name}": Call(getattr(schedules, name), arguments, _at_three)
    for name, arguments in _SCHEDULES.items()
}

_LEAVES = {"student": {"weight": torch.ones(2), "bias": torch.ones(1)}}
_SGD = optim.sgd(0.1)
_ADAM = {
    "lr": number(0.1),
    "betas": listed((0.9, 0.99), (0.9,), (0.9, 1.0), (-0.1, 0.9), (0.9, 0.9, 0.9)),
    "eps": number(1e-8),
    "weight_decay": number(0.1),
    "decayed": optional(function(optim.is_matrix)),
}
_OPTIM = {
    "adam": _ADAM,
    "adamw": _ADAM,
    "lamb": _ADAM,
    "sgd": {
        "lr": number(0.1),
        "momentum": number(0.9),
        "dampening": number(0.5, most=1.0),
        "weight_decay": number(0.1),
        "nesterov": flag(False),
        "decayed": optional(function(optim.is_matrix)),
    },
    "averaged": {
        "optimizer": one(_SGD, "tuple"),
        "decay": number(0.9, most=1.0),
    },
    "masked": {"link": one(_SGD), "where": function(optim.is_matrix)},
    "add_decay": {"weight_decay": number(0.1), "name": word("decay")},
    "clip_by_norm": {"max_norm": number(0.1), "name": word("norm")},
    "clip_by_value": {"max_value": number(0.1), "name": word("value")},
    "scale_by_learning_rate": {"lr": number(0.1), "name": word("rate")},
    "scale_by_adam": {"betas": _ADAM["betas"], "eps": number(1e-8)},
    "scale_by_momentum": {
        "momentum": number(0.9),
        "dampening": number(0.5, most=1.0),
        "nesterov": flag(False),
        "name": word("momentum"),
    },
    "scale_by_trust_ratio": {},
    "only": {
        "optimizer": one(_SGD),
        "paths": one(frozenset({("student", "weight")})),
    },
}
OPTIM = {
    f"optim.{name}": Call(
        getattr(optim, name), arguments, _numbers, ("scale_by_adam", "scale_by_momentum", "masked")
    )
    for name, arguments in _OPTIM.items()
} | {
    "optim.chain": Call(
        lambda links, name: optim.chain(*links, name=name),
        {
            "links": Argument(
                (_SGD, optim.clip_by_norm(1.0)),
                st.one_of(
                    to_break("none", st.just(())),
                    to_break("twice", st.just((_SGD, _SGD))),
                    to_break("a stranger", strangers().map(lambda case: (_SGD, case.value))),
                ),
            ),
            "name": optional(word("inner")),
        },
        _numbers,
    ),
    "optim.is_matrix": Call(
        optim.is_matrix,
        {"name": word("weight"), "leaf": Argument(torch.ones(2, 2), strangers("tensor"))},
    ),
    "optim.by_path": Call(optim.by_path, {"tree": one(_LEAVES, "dict")}),
    "optim.merge": Call(
        optim.merge,
        {
            "tree": one(_LEAVES),
            "few": mapped(
                {"student": {"bias": torch.zeros(1)}},
                {"teacher": {}},
                {"student": 3},
                {"student": {"bias": {}}},
                empty=True,
            ),
        },
    ),
}

_WIDTHS = listed((4, 4, 8, 8), (4, 4, 8), (4, 4, 8, 0), (4, 4, 8, 8.0))


def _parameters(module: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in module.named_parameters()}


MODELS = {
    "models.ResNet": Call(
        models.ResNet,
        {
            "depth": whole(8, least=8),
            "widths": _WIDTHS,
            "num_classes": whole(3),
        },
        _parameters,
    ),
    "models.WideResNet": Call(
        models.WideResNet,
        {
            "depth": whole(10, least=10),
            "width": whole(1),
            "num_classes": whole(3),
        },
        _parameters,
    ),
    "models.VGG": Call(
        models.VGG,
        {"convolutions": whole(1), "num_classes": whole(3)},
        _parameters,
    ),
    "models.DeepNN": Call(models.DeepNN, {"num_classes": whole(3)}, _parameters),
    "models.LightNN": Call(models.LightNN, {"num_classes": whole(3)}, _parameters),
    "models.ReusedClassifier": Call(
        models.ReusedClassifier,
        {name: one(nn.Linear(2, 2)) for name in ("student", "projector", "classifier")}
        | {"layer": word("hidden")},
        _parameters,
    ),
    "models.features": Call(
        models.features,
        {
            "build": function(lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())),
            "names": mapped({"hidden": "0"}, {"hidden": "none"}, {"hidden": 0}, empty=True),
        },
        lambda build: list(build()(torch.ones(1, 2))),
    ),
    "models.class_map": Call(
        models.class_map,
        {
            "build": function(
                lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
            )
        },
        lambda build: list(build()(torch.ones(1, 2, 3, 3))),
    ),
    "models.cohort": Call(
        models.cohort,
        {"build": function(lambda: nn.Linear(2, 2))},
        lambda build: list(build()(torch.ones(1, 2))),
    ),
    "models.named": Call(
        models.named,
        {
            "text": Argument(
                "resnet8",
                st.one_of(
                    strangers(),
                    to_break(
                        "unknown",
                        st.sampled_from(["resnet9", "torchvision:none", "none:none", "math:sqrt:"]),
                    ),
                ),
            ),
            "classes": whole(3),
        },
        lambda build: _parameters(build()),
    ),
}
PARTS = {**SCHEDULES, **OPTIM, **MODELS}
