"""An error about a layer that the command line names: told by its flag, with what to type."""

import sys
from pathlib import Path

import pytest

from fkd.compare import command
from fkd.compare._command.layers import in_flag_of_layer

NETS = """
import torch
from torch import nn


class Branching(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.last = nn.Linear(3 * 32 * 32, classes)

    def forward(self, x):
        return self.last(x.flatten(1)) if x.sum() > 0 else self.last(-x.flatten(1))


class Recurrent(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.lstm = nn.LSTM(32, 8)
        self.last = nn.Linear(8, classes)

    def forward(self, x):
        return self.last(self.lstm(x.mean(1))[0][:, -1])
"""
OF_BOTH = "it is of both networks, and --teacher-layer hidden=NODE of the teacher alone"
OF_TEACHER = "where it has another name in the teacher, add --teacher-layer hidden=NODE"


@pytest.mark.plain
@pytest.mark.parametrize(
    ("arguments", "begin", "end"),
    [
        (
            ["--layer", "feature_map=flatten", "hidden=layer9"],
            "--layer: hidden=layer9 in --student-model: output or node 'layer9' is not known",
            OF_BOTH,
        ),
        (
            ["--student-model", "torchvision:resnet18", "--layer", "hidden=layer4"],
            "--layer: hidden=layer4 in --teacher-model: output or node 'layer4' is not known",
            OF_TEACHER,
        ),
        (
            ["--layer", "hidden=flatten", "--teacher-layer", "hidden=layer9"],
            "--teacher-layer: hidden=layer9 in --teacher-model: output or node 'layer9' is not",
            "there are 24, from avg_pool1d to x",
        ),
        (
            ["--teacher-model", "by_flag:Branching", "--teacher-layer", "hidden=last"],
            "--teacher-layer: hidden=last in --teacher-model: 'last' is no output of the Branching",
            "let it return a dict that has them",
        ),
        (
            [
                *("--student-model", "by_flag:Recurrent", "--layer", "hidden=lstm"),
                *("--teacher-layer", "hidden=flatten"),
            ],
            "--layer: hidden=lstm in --student-model: 'lstm' must be one tensor",
            OF_BOTH,
        ),
        (
            ["--student-model", "torchvision:resnet19"],
            "--student-model: torchvision's model 'resnet19' is not known",
            "wide_resnet50_2",
        ),
    ],
)
def test_the_flag_is_told_and_not_the_librarys_function(
    arguments, begin, end, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    Path("by_flag.py").write_text(NETS)
    assert command.main(["--methods", "ce", "--compile", "no", *arguments]) == 2
    told = capsys.readouterr().err.strip()
    sys.modules.pop("by_flag", None)
    assert told.startswith(f"compare: {begin}") and told.endswith(end)
    assert "features: " not in told and "named: " not in told


def test_of_two_layers_in_an_error_the_first_is_meant():
    """torch's own reason, which follows, may hold another's name."""
    message = "teacher: features: 'top' is no output (no argument 'mask')"
    told = in_flag_of_layer(message, {"hidden": "mask", "feature_map": "top"}, {})
    assert told.startswith("--layer: feature_map=top in --teacher-model: 'top' is no output")


@pytest.mark.parametrize(
    "message",
    ["teacher: features: 'top' is no output", "data: there is one class", "--teacher: no file"],
)
def test_an_error_about_no_layer_that_was_named_is_as_it_was(message):
    assert in_flag_of_layer(message, {"hidden": "flatten"}, {}) == message
