"""The command line: what it reads, what it refuses, a method of the user's own, its help."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from fkd.compare._command import options
from fkd.compare._command.named import method, method_name
from fkd.execution import Plan
from fkd.methods import METHODS, Method

OWN = """
from fkd import losses, methods
from fkd.methods import Term

def my_method():
    return {"mine": Term(losses.squared_error, weight=0.5)} | methods.ce()

def needs(weight):
    return my_method()

def refused():
    return methods.kd(temperature=-1.0)

def raises():
    raise KeyError("no file")

def number():
    return 3

def empty():
    return {}

def words():
    return {"mine": "a loss"}

value = 3
"""


def chosen_methods(config: options.Config) -> dict[str, Method]:
    return {
        method_name(text): method(text, config.recipe, config.epochs) for text in config.methods
    }


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FKD_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def own(elsewhere, monkeypatch):
    """A module of the user's in the current folder, which Python does not look at by itself."""
    (elsewhere / "owned").mkdir()
    (elsewhere / "owned" / "fresh.py").write_text(OWN)
    (elsewhere / "owned" / "broken.py").write_text("1 / 0")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield "owned.fresh"
    for name in [name for name in sys.modules if name.partition(".")[0] == "owned"]:
        del sys.modules[name]


def test_the_defaults():
    config = options.parse([])
    assert config.dataset == "digits" and config.methods == ("ce", "kd", "cosine", "hint")
    assert config.seeds == tuple(range(8)) and config.epochs == 10 and config.batch_size == 128
    assert config.plan == Plan() and config.compile == "auto"
    assert json.loads(json.dumps(asdict(config)))["sweep"] == {}
    # Of a run in one stage nothing is told of a second.
    assert "resolution" not in config.asked and "max_seeds" not in config.asked
    assert options.parse(["--resolution", "0.5"]).asked["max_seeds"] == 64


def test_every_flag_is_read():
    flags = {
        "--dataset": "cifar10",
        "--root": "images",
        "--image-size": "64",
        "--channels": "1",
        "--memory": "2",
        "--mean": "0.5",
        "--std": "0.2",
        "--augment": "crop flip",
        "--batch-size": "16",
        "--order": "own",
        "--teacher-model": "mypackage.nets:build",
        "--student-model": "timm:resnet18",
        "--layer": "feature_map=layer3 hidden=pool",
        "--teacher-layer": "hidden=norm",
        "--teacher-memory": "0.5",
        "--methods": "ce kd",
        "--set": "kd.weight=0.9 momentum=0.1",
        "--seeds": "3,5",
        "--resolution": "0.5",
        "--max-seeds": "32",
        "--epochs": "20",
        "--teacher-epochs": "30",
        "--optimizer": "sgd",
        "--lr": "0.01",
        "--momentum": "0.9",
        "--weight-decay": "1e-4",
        "--clip-norm": "1.5",
        "--ema": "0.99",
        "--schedule": "steps",
        "--milestones": "0.5,0.75",
        "--warmup-epochs": "2",
        "--device": "cpu",
        "--precision": "bf16",
        "--compile": "yes",
        "--layout": "vmap",
        "--chunk": "4",
        "--graph": "2",
        "--data-ranks": "4",
        "--sweep": "lr=1,2",
        "--validation": "0.3",
        "--output": "out",
        "--checkpoint-minutes": "1.5",
    }
    words = [part for flag, value in flags.items() for part in (flag, *value.split())]
    config = options.parse([*words, "--nesterov"])
    assert config == options.Config(
        dataset="cifar10",
        data=None,
        root="images",
        image_size=64,
        channels=1,
        memory=2.0,
        mean=(0.5,),
        std=(0.2,),
        augment=("crop", "flip"),
        batch_size=16,
        order="own",
        teacher_model="mypackage.nets:build",
        student_model="timm:resnet18",
        teacher="train",
        teacher_member=None,
        layer={"feature_map": "layer3", "hidden": "pool"},
        teacher_layer={"hidden": "norm"},
        teacher_memory=0.5,
        methods=("ce", "kd"),
        set={"kd.weight": 0.9, "momentum": 0.1},
        recipe=None,
        seeds=(3, 5),
        resolution=0.5,
        max_seeds=32,
        epochs=20,
        teacher_epochs=30,
        optimizer="sgd",
        lr=0.01,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        clip_norm=1.5,
        ema=0.99,
        schedule="steps",
        milestones=(0.5, 0.75),
        warmup_epochs=2,
        device="cpu",
        precision="bf16",
        compile="step",
        layout="vmap",
        chunk=4,
        graph=2,
        data_ranks=4,
        sweep={"lr": (1.0, 2.0)},
        validation=0.3,
        output="out",
        checkpoint_minutes=1.5,
    )
    assert config.plan == Plan(layout="vmap", chunk=4, compile="step", graph=2)
    assert config.torch_device == torch.device("cpu")
    assert options.parse(["--data", "mine:build"]).data == "mine:build"


def test_a_recipe_is_one_word_and_options_beside_it_count():
    config = options.parse(["--recipe", "crd", "--epochs", "8", "--seeds", "2"])
    assert (config.epochs, config.batch_size, config.lr, config.momentum) == (8, 64, 0.05, 0.9)
    assert config.optimizer == "sgd" and config.weight_decay == 5e-4
    assert config.schedule == "steps" and config.augment == ("crop", "flip")
    assert options.parse(["--recipe", "crd"]).epochs == 240


def test_an_option_that_the_recipe_gave_is_told_to_be_its_own():
    with pytest.raises(ValueError, match=r"^--momentum: .*\(--recipe crd gives what no option her"):
        options.parse(["--recipe", "crd", "--optimizer", "adam"])


@pytest.mark.parametrize(
    ("flags", "choice"),
    [
        ([], "auto"),
        (["--compile", "auto"], "auto"),
        (["--compile", "yes"], "step"),
        (["--compile", "no"], "none"),
        (["--no-compile"], "none"),
    ],
)
def test_compilation_is_left_to_the_plan_or_chosen(flags, choice):
    assert options.parse(flags).compile == choice


def test_all_is_every_method():
    assert options.parse(["--methods", "all"]).methods == tuple(METHODS)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "mnits"], "--dataset: data set 'mnits' is not known; choose from digits"),
        (["--methods=--"], "--methods: "),  # newer argparses take it for a name
        (["--root=--"], "--root: it takes a value, but '--' is none"),
        (["--resume=--"], "--resume: it takes a value, but '--' is none"),
        (["--methods", "ce", "kdd"], "--methods: method 'kdd' is not known; choose from ce"),
        (["--methods", "ce", "ce"], "--methods: each is to be named once"),
        (["--methods", "kd", "mine:kd"], "--methods: each is to be named once"),
        (["--methods", "mine:"], "--methods: method 'mine:' is not known"),
        (["--device", "tpu"], "--device: device 'tpu' is not known; choose from auto, cpu, cuda"),
        (
            ["--precision", "fp8"],
            "--precision: precision 'fp8' is not known; choose from fp32, tf32, bf16",
        ),
        (["--precision", "tf32", "--device", "cpu"], "--precision: tf32 is for a GPU"),
        (["--compile", "maybe"], "--compile: choice 'maybe' is not known; choose from auto, yes"),
        (["--chunk", "0"], "--chunk: chunk must lie in [1, 2147483647]"),
        (["--graph", "-1"], "--graph: graph must lie in [0, 2147483647]"),
        (["--data-ranks", "0"], "--data-ranks: data_ranks must lie in [1, 2147483647]"),
        (["--layout", "rows"], "--layout: layout 'rows' is not known; choose from auto, vmap"),
        (["--order", "any"], "--order: order 'any' is not known; choose from auto, shared, own"),
        (["--teacher-memory", "-1"], "--teacher-memory: teacher_memory must be zero or more"),
        (["--seeds", "0"], "--seeds: it takes a count above zero (8) or a list of seeds (3,5,8)"),
        (["--seeds", "-3"], "--seeds: it takes a count above zero"),
        (["--seeds", "a"], "--seeds: it takes a count above zero"),
        (
            ["--seeds", "4294967296,"],
            "each once and from 0 to 4294967295, but",
        ),
        (["--seeds", "99999999999"], "--seeds: there may be 1,048,576 at most, but got '9999999"),
        (["--resolution", "0"], "--resolution: resolution must be above zero and finite"),
        (["--resolution", "nan"], "--resolution: resolution must be above zero and finite"),
        (["--resolution", "1", "--seeds", "1"], "--resolution: how many seeds it takes is known"),
        (["--resolution", "1", "--methods", "kd"], "--resolution: it is that of differences"),
        (["--resolution", "1", "--seeds", "65"], "--max-seeds: it bounds the seeds of the pilot"),
        (["--max-seeds", "0"], "--max-seeds: max_seeds must be a whole number of at least 1"),
        (["--seeds", "3,3"], "--seeds: there must be at least one, each once and from 0"),
        (["--recipe", "cdr"], "--recipe: recipe 'cdr' is not known; choose from crd, imagenet"),
        (["--student-model", "resnet21"], "--student-model: network 'resnet21' is not known"),
        (["--teacher-model", "resnet21"], "--teacher-model: network 'resnet21' is not known"),
        (["--augment", "crop", "crop"], "--augment: each is to be named once"),
        (["--augment", "flop"], "--augment: augmentation 'flop' is not known; choose from crop"),
        (["--image-size", "0"], "--image-size: image_size must lie in [1, 65535]"),
        (["--channels", "2"], "--channels: number '2' is not known; choose from 1, 3, 4"),
        (
            ["--channels", "1"],
            "--teacher-model: deepnn takes images of 3 channels, but --channels is 1; leave",
        ),
        (
            ["--channels", "4", "--teacher-model", "a.b:c", "--student-model", "torchvision:vgg11"],
            "--student-model: torchvision:vgg11 takes images of 3 channels, but --channels is 4",
        ),
        (["--memory", "-1"], "--memory: memory must be zero or more"),
        (["--mean", "0.5"], "--mean: it goes with --std; give both or neither"),
        (
            ["--mean", "0.5", "--std", "1,1,1"],
            "--mean: there must be one number for each of 3 channels, but there are 1",
        ),
        (["--mean", "1,1,nan", "--std", "1,1,1"], "--mean: value must be zero or from"),
        (["--mean", "1,1,1", "--std", "1,0,1"], "--std: value must be above zero and finite"),
        (
            ["--image-size", "65535", "--batch-size", "1000"],
            "--image-size: a batch of 1000 images of 65535 x 65535 pixels takes 47,999 GiB, and",
        ),
        (["--image-size", "65536"], "--image-size: image_size must lie in [1, 65535]"),
        (["--checkpoint-minutes", "0"], "--checkpoint-minutes: checkpoint_minutes must be above"),
        (["--checkpoint-minutes", "inf"], "--checkpoint-minutes: checkpoint_minutes must be"),
        (["--memory", "nan"], "--memory: memory must be zero or more and finite"),
        (["--lr", "1e-40"], "--lr: lr must be zero or from 1.17549e-38 to 3.40282e+38 in size"),
        (["--set", "lr=1e39"], "--set: 'lr=1e39': number must be zero or from"),
        (["--methods", "mine:a/b"], "--methods: method 'mine:a/b' is not known"),
        (["--layer", "hidden"], "--layer: it takes items such as feature_map=layer3"),
        (["--teacher-layer", "a=b", "a=c"], "--teacher-layer: it takes items such as"),
        (
            ["--set", "kd.weight"],
            "--set: it takes items such as kd.weight=0.9, but got 'kd.weight'",
        ),
        (["--set", "lr=1,2"], "--set: lr is to have one value, but got 2; --sweep takes several"),
        (["--teacher-epochs", "0"], "--teacher-epochs: teacher_epochs must lie in [1, 2147483647]"),
        (["--optimizer", "sdg"], "--optimizer: optimizer 'sdg' is not known; choose from adam"),
        (["--momentum", "0.9"], "--momentum: it is a number of sgd, but the optimizer is adam"),
        (["--optimizer", "sgd", "--nesterov"], "--nesterov: it needs momentum"),
        (["--weight-decay", "-1"], "--weight-decay: weight_decay must be zero or more"),
        (["--clip-norm", "0"], "--clip-norm: clip_norm must be above zero"),
        (["--ema", "1"], "--ema: it is a decay in [0, 1), such as 0.999, but it is 1.0"),
        (["--schedule", "line"], "--schedule: schedule 'line' is not known; choose from constant"),
        (
            ["--ema", "0.99999999999"],
            "--ema: it is a decay in [0, 1), such as 0.999, but it is 0.9",
        ),
        (["--ema", "1e-46"], "--ema: ema must be zero or from 1.17549e-38"),
        (["--milestones", "0.75,0.5"], "--milestones: they are shares of the epochs between 0"),
        (["--milestones", "0.5,1"], "--milestones: they are shares of the epochs"),
        (["--warmup-epochs", "-1"], "--warmup-epochs: warmup_epochs must be zero or more"),
        (["--warmup-epochs", "10"], "--warmup-epochs: the rate rises over 10 epochs, but there"),
        (["--epochs", "0"], "--epochs: epochs must lie in [1, 2147483647]"),
        (["--batch-size", "0"], "--batch-size: batch_size must lie in [1, 2147483647]"),
        (["--lr", "-1"], "--lr: lr must be above zero"),
        (["--lr", "nan"], "--lr: lr must be above zero"),
        (["--teacher", "nowhere.pt"], "--teacher: there is no file nowhere.pt; give its path"),
        (["--sweep", "lr"], "--sweep: it takes items such as lr=1e-4,3e-4, but got 'lr'"),
        (["--sweep", "lr="], "--sweep: it takes items such as"),
        (["--sweep", "=1"], "--sweep: it takes items such as"),
        (["--sweep", "lr=high"], "--sweep: it takes items such as lr=1e-4,3e-4, but got 'lr=high'"),
        (["--sweep", "lr=inf"], "--sweep: it takes items such as"),
        (["--sweep", "lr=1,1.0"], "--sweep: each name and value, in float32, is"),
        (["--sweep", "lr=1,1.00000000001"], "--sweep: each name and value, in float32, is to"),
        (["--sweep", "where=1", "lr=2,high"], "--sweep: it takes items such as"),
        (
            ["--sweep", "lr=1", "lr=2"],
            "--sweep: each name and value, in float32, is",
        ),
        (["--validation", "0"], "--validation: it is a share of the training set"),
        (["--validation", "1"], "--validation: it is a share of the training set"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError) as error:
        options.parse(arguments)
    assert message in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="--device: cuda was asked for, but torch finds no GPU"):
        options.parse(["--device", "cuda"])


def test_a_method_of_the_users_own_is_found_by_its_path(own):
    config = options.parse(["--methods", "ce", f"{own}:my_method"])
    chosen = chosen_methods(config)
    assert list(chosen) == ["ce", "my-method"]
    assert list(chosen["my-method"]) == ["mine", "ce"]
    assert chosen["my-method"]["mine"].weight == 0.5
    assert config.methods == ("ce", f"{own}:my_method")  # as it was asked for


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("owned.nowhere:f", r"cannot be imported \(ModuleNotFoundError: No module named 'owned.no"),
        ("owned.fresh:f", "cannot be imported .AttributeError: module 'owned.fresh' has no"),
        ("owned.broken:f", "cannot be imported .ZeroDivisionError"),
        ("owned.fresh:value", "must be a function that returns a Method, but it is a int"),
        ("owned.fresh:needs", r"needs\(\) raised TypeError: .*without required arguments"),
        ("owned.fresh:refused", r"refused\(\) raised ValueError: kd: temperature must be above"),
        ("owned.fresh:raises", r"raises\(\) raised KeyError: 'no file'; it must be a function"),
        ("owned.fresh:number", "must return a Method, .* but it returned 3"),
        ("owned.fresh:empty", "must return a Method, .* but it returned {}"),
        ("owned.fresh:words", "must return a Method, .* but it returned {'mine': 'a loss'}"),
    ],
)
def test_what_is_no_method_is_refused(path, message, own):
    config = options.parse(["--methods", path])
    with pytest.raises(ValueError, match=message) as error:
        chosen_methods(config)
    assert str(error.value).startswith(f"--methods: {path}")


def test_an_error_of_the_library_is_told_with_the_flag():
    assert options.in_flags("batch_size: too large: 3") == "--batch-size: too large: 3"
    assert options.in_flags("teacher_state: no") == "--teacher: no"
    assert options.in_flags("data: no") == "--data: no"
    assert options.in_flags("numbers: no") == "--set: no"
    assert options.in_flags("teacher: no") == "--teacher-model: no"
    assert options.in_flags("--root: no") == "--root: no"
    assert options.in_flags("root: x.png: torn") == "--root: x.png: torn"  # as of a stream's image
    assert options.in_flags("something else") == "something else"
    assert options.in_flags("something: else") == "something: else"


def test_the_help_has_groups_defaults_and_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        options.parse(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for group in ("data:", "methods:", "training:", "hardware:", "sweep:", "output:", "examples:"):
        assert f"\n{group}\n" in text
    assert "python -m fkd.compare --dataset folder --root ROOT" in text
    assert "(default: None)" not in text and "(default: digits)" in text
