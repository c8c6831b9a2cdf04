"""The command line from end to end: whole tiny runs with their files read back, and refusals."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compare.small_images import run, tiny
from PIL import Image

from fkd import checkpoint, methods
from fkd.compare import Results, command
from fkd.models import DeepNN

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compare_methods.py"
pytestmark = pytest.mark.usefixtures("elsewhere")
OWN = "from fkd import methods\n\n\ndef my_kd():\n    return methods.kd(weight=0.5)\n"


def test_a_whole_run_and_its_files(images, teacher, capsys):
    out = run(*tiny(images, teacher))
    results = json.loads((out / "results.json").read_text())
    assert results["complete"]
    assert results["config"]["seeds"] == [3, 5]
    assert results["config"]["dataset"] == "folder" and results["config"]["compile"] == "none"
    assert list(results["methods"]) == ["ce", "kd", "cosine", "hint"]
    for name, method in results["methods"].items():
        assert [seed["seed"] for seed in method["seeds"]] == [3, 5]
        curve = method["curves"]["test_accuracy"]
        assert np.shape(curve) == (2, 2)
        # the last epoch, never the best
        assert [seed["test_accuracy"] for seed in method["seeds"]] == curve[-1]
        assert method["accuracy"]["mean"] == pytest.approx(np.mean(curve[-1]))
        assert 0 <= method["agreement"]["mean"] <= 1
        assert method["seconds"]["steps"] > 0
        if name != "ce":
            expected = np.mean(curve[-1]) - results["methods"]["ce"]["accuracy"]["mean"]
            assert method["differences"]["test_accuracy"]["mean"] == pytest.approx(expected)
    assert results["environment"]["torch"] == torch.__version__.partition("+")[0]
    assert results["seconds"]["total"] > results["seconds"]["data"] > 0
    table = (out / "table.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines()[4:8]] == list(
        results["methods"]
    )
    assert "batch 10, Adam 0.001, fp32; student lightnn, teacher deepnn: teacher" in table
    assert sorted(path.name for path in out.iterdir() if path.name != ".lock") == [
        "accuracy.png",
        "curves.png",
        "report.html",
        "results.json",
        "run.json",
        *sorted(f"students-{name}.safetensors" for name in results["methods"]),
        "table.md",
    ]
    printed = capsys.readouterr().out
    assert results["sentence"] in " ".join(printed.split())
    assert "Teacher DeepNN: 1,182,882 parameters" in printed
    assert "Student LightNN: 265,682 parameters" in printed
    assert "Shape of the student's feature map: (10, 16, 8, 8)" in printed
    assert f"Teacher accuracy: {100 * results['teacher']['accuracy']:.2f} %" in printed


NETS = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(4, classes)

    def forward(self, x):
        return self.last(self.pool(self.first(x).relu()).flatten(1))


class Examples(torch.utils.data.Dataset):
    classes = ["dark", "light"]

    def __len__(self):
        return 20

    def __getitem__(self, number):
        label = number % 2
        return torch.full((3, 16, 16), label / 2) + 0.001 * number, label


def data():
    return Examples(), Examples()
"""


def test_networks_data_and_a_recipe_of_ones_own(elsewhere, monkeypatch, capsys):
    (elsewhere / "mine_by_name.py").write_text(NETS)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    out = run(
        *("--data", "mine_by_name:data", "--student-model", "mine_by_name:Small"),
        *("--teacher-model", "torchvision:resnet18", "--layer", "hidden=flatten"),
        *("--methods", "ce", "kd", "rkd", "--set", "kd.weight=0.5", "rkd-distance.weight=2"),
        *("--optimizer", "sgd", "--momentum", "0.9", "--nesterov", "--weight-decay", "1e-4"),
        *("--clip-norm", "1", "--ema", "0.9", "--schedule", "cosine", "--warmup-epochs", "1"),
        *("--epochs", "2", "--teacher-epochs", "3", "--batch-size", "10", "--seeds", "2"),
        "--no-compile",
    )
    results = Results.read(out)
    assert results.complete and results.data.name == "data" and results.data.train == 20
    assert results.networks == {"teacher": "ResNet", "student": "Small"}
    assert results.shapes["student"]["hidden"] == (10, 4)
    assert results.teacher and results.teacher.curves
    assert len(results.teacher.curves["loss"]) == 3
    assert results.config["set"] == {"kd.weight": 0.5, "rkd-distance.weight": 2.0}
    table = (out / "table.md").read_text()
    assert "SGD 0.1, momentum 0.9, Nesterov, decay 0.0001, norms clipped at 1" in table
    assert "student mine_by_name:Small, teacher torchvision:resnet18: teacher" in table
    assert "after 3 epochs" in table and "average %" in table and "best epoch %" in table
    assert "Peak memory: " in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["4", "0"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the loader's, from Python 3.12 on
def test_a_recipe_by_one_word_on_images_of_another_size(images, memory):
    out = run(
        *("--dataset", "folder", "--root", str(images), "--image-size", "24", "--memory", memory),
        *("--recipe", "crd", "--teacher-model", "resnet8", "--student-model", "resnet8"),
        *("--methods", "ce", "dkd", "--epochs", "8", "--batch-size", "10", "--seeds", "2"),
        "--no-compile",
    )
    results = Results.read(out)
    assert results.complete and results.config["optimizer"] == "sgd"
    assert results.shapes["student"]["feature_map"] == (10, 64, 6, 6)
    assert results.teacher and results.teacher.live  # images are cropped anew in each step
    assert "augmented by crop and flip" in (out / "table.md").read_text()


def test_a_teacher_is_trained_kept_and_can_be_given_again(images):
    out = run(*tiny(images, "train", "--methods", "ce", "--epochs", "1"))
    first = Results.read(out).teacher
    DeepNN(2).load_state_dict(checkpoint.read(out / "teacher.safetensors"))
    kept = out / "teacher.safetensors"
    again = tiny(images, kept, "--methods", "ce", "--epochs", "1", "--output", "next")
    assert command.main(again) == 0
    second = Results.read("next").teacher
    assert first and second and second.accuracy == first.accuracy
    assert first.curves and len(first.curves["loss"]) == 1 and second.curves is None


def written(results: Results, folder: Path, errors: Any) -> int:
    """In place of all that is written: the results alone."""
    results.write(folder)
    return 0


@pytest.mark.slow
def test_every_method_runs_by_name(images, teacher, monkeypatch):
    # Pictures and the page of so many take as long as their training: tests of those draw them.
    monkeypatch.setattr("fkd.compare.report.command.write_all", written)
    out = run(*tiny(images, teacher, "--methods", "all", "--epochs", "1", "--seeds", "1"))
    results = Results.read(out)
    assert list(results.methods) == list(methods.METHODS)
    assert all(np.isfinite(method.curves["loss"]).all() for method in results.methods.values())


def test_a_method_of_the_users_own_runs_beside_the_others(images, teacher, elsewhere):
    (elsewhere / "my_methods.py").write_text(OWN)
    chosen = ["--methods", "kd", "ce", "my_methods:my_kd"]
    out = run(*tiny(images, teacher, *chosen, "--sweep", "kd.weight=0.25,0.5"))
    results = Results.read(out)
    assert list(results.methods) == ["kd", "ce", "my-kd"] and results.baseline == "ce"
    # the same method by another name, so the same numbers
    assert results.methods["my-kd"].curves == results.methods["kd"].curves
    assert results.config["methods"] == chosen[1:]
    assert (out / "sweep-my-kd.png").exists()


def test_a_live_teacher_is_told(images, teacher, capsys):
    out = run(*tiny(images, teacher, "--teacher-memory", "0"))
    teacher_results = Results.read(out).teacher
    assert teacher_results and teacher_results.live
    printed = " ".join(capsys.readouterr().out.split())
    assert "GiB, and may take 0: the teacher is asked about each batch instead" in printed


def test_own_order_is_run_and_told(images, teacher):
    out = run(*tiny(images, teacher, "--methods", "ce", "--order", "own"))
    assert Results.read(out).config["order"] == "own"
    assert "own order of batches" in (out / "table.md").read_text()


def test_a_diverging_method_is_told_and_the_others_are_kept(images, teacher, capsys, monkeypatch):
    monkeypatch.setitem(methods.METHODS, "kd", lambda: methods.kd(weight=3e38))
    arguments = tiny(images, teacher, "--methods", "ce", "kd", "cosine", "--output", "out")
    assert command.main(arguments) == 3
    message = "kd: member 0 (seed 3): the loss became infinite or no number in epoch 1, step 1 of 2"
    assert message in capsys.readouterr().err
    results = Results.read("out")
    assert not results.complete and f"kd: {results.failed['kd'].reason}".startswith(message)
    assert list(results.methods) == ["ce", "cosine"]
    assert "INCOMPLETE" in Path("out/table.md").read_text()


def test_bfloat16_is_run_and_told_and_not_what_float32_gives(images, teacher):
    losses = {}
    for precision in ("fp32", "bf16"):
        arguments = tiny(images, teacher, "--methods", "hint", "--precision", precision)
        assert command.main([*arguments, "--output", precision]) == 0
        assert f"Adam 0.001, {precision};" in Path(precision, "table.md").read_text()
        losses[precision] = Results.read(precision).methods["hint"].curves["loss"][-1]
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_without_a_compiler_it_says_so_and_goes_on(images, teacher):
    path = Path(shutil.which("git") or "/usr/bin/git").parent
    arguments = tiny(images, teacher, "--methods", "ce", "--epochs", "1", "--output", "out")
    arguments.remove("--no-compile")
    environment = {
        **os.environ,
        "CXX": "/no/compiler",
        "TORCHINDUCTOR_CACHE_DIR": str(Path("inductor").absolute()),
        "PATH": str(path),
    }
    process = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--compile", "yes"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert process.returncode == 0, process.stderr
    assert "Compilation is not possible here, going on without" in process.stdout
    assert Results.read("out").compiled is False


def test_a_run_that_is_too_short_to_compile_does_not(images, teacher):
    arguments = tiny(images, teacher, "--methods", "ce", "--epochs", "1")
    arguments.remove("--no-compile")
    results = Results.read(run(*arguments))
    assert results.compiled is False and results.config["compile"] == "auto"
    assert "compiler_check" not in results.seconds


@pytest.mark.parametrize("module", [True, False], ids=["python -m fkd.compare", "the script"])
def test_both_commands_are_the_command_line(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare", "--epochs", "0"])
    with pytest.raises(SystemExit) as stop:
        if module:
            runpy.run_module("fkd.compare", run_name="__main__")
        else:
            runpy.run_path(str(SCRIPT), run_name="__main__")
    assert stop.value.code == 2
    assert "--epochs: epochs must lie in [1, 2147483647]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "--epochs: epochs must lie in [1, 2147483647]"),
        (["--batch-size", "900"], "--batch-size: 900 is more than the examples"),
        (["--methods", "nowhere:mine"], "--methods: nowhere:mine cannot be imported"),
        (["--dataset", "folder"], "--dataset: folder: which folder"),
        (["--dataset", "folder"], "--root gives the folder"),
        (["--dataset", "folder", "--root", "nowhere"], "nowhere is not there"),
        (["--sweep", "lr=-1"], "--sweep: ce: init: lr must be zero or more and finite"),
        (
            ["--sweep", "kd.temperature=1,0"],
            "--sweep: kd: term 'kd': soft_cross_entropy: temperature must be",
        ),
        (["--sweep", "kd.weight=-1"], "--sweep: kd: Term: weight must be zero or more"),
        (
            ["--sweep", "kd.temprature=1"],
            "--sweep: hyperparameter 'kd.temprature' is not known; choose from lr, weight_decay, "
            "ce.weight, kd.weight, kd.temperature",
        ),
        (
            ["--sweep", "lr=1", "--validation", "0.001"],
            "--validation: hold_out: a share of 0.001 holds out 0",
        ),
        (
            ["--sweep", "lr=1", "--batch-size", "800"],
            "--batch-size: 800 is more than the examples to train on, which are 7",
        ),
    ],
)
def test_bad_input_is_refused_before_any_work(arguments, message, capsys):
    assert command.main(["--methods", "ce", "kd", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_an_output_that_cannot_be_made_is_refused(images, teacher, capsys):
    Path("file").write_text("mine")
    assert command.main(tiny(images, teacher, "--output", "file/sub")) == 2
    assert "--output: file/sub cannot be made" in capsys.readouterr().err


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(images, capsys):
    checkpoint.save("ten.pt", DeepNN(10).state_dict())
    assert command.main(tiny(images, "ten.pt")) == 2
    printed = capsys.readouterr().err
    assert "classifier.3.bias must be (2,), but is (10,)" in printed
    assert "features.0.weight" not in printed


def test_a_whole_sweep(images, teacher):
    chosen = ["--methods", "ce", "kd", "cosine", "--validation", "0.3"]
    swept = ["--sweep", "lr=1e-3,1e-2,1e30", "kd.temperature=1,4"]
    out = run(*tiny(images, teacher, *chosen, *swept))
    results = json.loads((out / "results.json").read_text())
    assert results["complete"]
    counts = {"classes": 2, "train": 14, "validation": 6, "test": 20}
    assert results["data"] == {"name": "images", "unit": "images"} | counts
    counts = {name: len(m["sweep"]["settings"]) for name, m in results["methods"].items()}
    assert counts == {"ce": 3, "kd": 6, "cosine": 3}
    for method in results["methods"].values():
        for setting in method["sweep"]["settings"]:
            accuracies = setting["validation_accuracy"]
            assert (accuracies == [None, None]) == (setting["hyper"]["lr"] == 1e30)
    table = (out / "table.md").read_text()
    assert "a validation split of 6 images" in table
    assert "(settings: ce 3, kd 6, cosine 3); the students were trained on the rest" in table
    assert "- kd: lr " in table and "the best of 6 settings, 2 diverged" in table
    for method in results["methods"]:
        assert np.asarray(Image.open(out / f"sweep-{method}.png").convert("L")).std() > 10


def test_a_method_whose_settings_all_diverge_is_told(images, teacher, capsys):
    swept = ["--methods", "kd", "ce", "--sweep", "kd.weight=2e38,3e38", "--output", "out"]
    assert command.main(tiny(images, teacher, *swept)) == 3
    assert (
        "kd: each of 2 settings has a seed that diverged, the first member 0 (seed 3"
        in capsys.readouterr().err
    )
    assert list(Results.read("out").methods) == ["ce"]


def test_a_gpu_without_memory_left_is_told_what_to_do(images, teacher, monkeypatch, capsys):
    def full(*arguments, **options):
        raise torch.OutOfMemoryError("Tried to allocate 2 GiB")

    monkeypatch.setattr("fkd.compare._job.course.train", full)
    assert command.main([*tiny(images, teacher), "--output", "out"]) == 1
    told = capsys.readouterr().err
    for name in ("ce", "kd", "cosine", "hint"):
        assert f"{name}: the memory is full (Tried to allocate 2 GiB); fewer seeds" in told
    assert Results.read("out").failed.keys() == {"ce", "kd", "cosine", "hint"}
    assert Path("out/accuracy.png").exists()
