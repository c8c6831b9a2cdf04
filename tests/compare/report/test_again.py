"""The command that makes a run again asks for what was asked."""

import shlex

import pytest

from fkd.compare._command import options
from fkd.compare.report import _again

LINES = [
    "",
    "--methods ce mypackage.mine:own --seeds 3, --epochs 7 --no-compile --lr 0.01",
    "--recipe crd --teacher-model resnet56 --student-model resnet20 --set dkd.beta=2 kd.weight=0.5",
    "--sweep lr=3e-4,1e-3 kd.temperature=1,4 --validation 0.3 --order own --compile yes",
    "--dataset cifar100 --augment crop flip --mean 0.5,0.4,0.3 --std 1,1,1 --seeds 3,5,8",
    "--resolution 0.5 --max-seeds 40 --methods ce kd",
    "--vary init,dropout --levels 3 --methods ce kd",
    "--teachers 4 --seeds 3",
    "--optimizer sgd --nesterov --momentum 0.9 --schedule steps --milestones 0.5,0.75 --layer a=b",
]


@pytest.mark.parametrize("line", LINES)
def test_the_command_gives_the_same_options(line):
    asked = options.parse(shlex.split(line)).asked
    told = _again.command(asked)
    assert told is not None
    words = shlex.split(told)
    assert words[:3] == ["python", "-m", "fkd.compare"]
    assert options.parse(words[3:]).asked == asked


def test_seeds_that_levels_lay_out_are_not_told():
    asked = options.parse(["--vary", "init,order", "--levels", "2"]).asked
    run = asked | {"seeds": [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]]}
    told = _again.command(run)
    assert told is not None and "--seeds" not in told
    assert options.parse(shlex.split(told)[3:]).asked == asked


def test_a_path_is_told_by_its_last_name(tmp_path):
    config = {"dataset": "folder", "root": str(tmp_path / "my images"), "teacher": "~/x/deep.pt"}
    config |= {"methods": ["ce"], "seeds": [0], "epochs": 1}
    told = _again.command(config)
    assert told is not None and str(tmp_path) not in told
    assert "--root 'my images'" in told and "--teacher deep.pt" in told
    assert _again.cut(config) == ["--root", "--teacher"]
    assert _again.cut(config | {"root": "images", "teacher": "train"}) == []
    assert _again.shown("root", config["root"]) == "my images"


def test_a_run_from_python_has_no_command():
    assert _again.command({"seeds": [0], "epochs": 1}) is None


def test_an_earlier_version_is_told_as_this_one_reads_it():
    config = {"dataset": "digits", "methods": ["ce"], "seeds": [0, 1], "epochs": 3}
    config |= {"optimizer": "Adam", "compile": True, "schedules": []}
    told = _again.command(config)
    assert told is not None
    assert options.parse(shlex.split(told)[3:]).compile == "step"
