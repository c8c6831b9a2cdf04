"""The main job: a whole tiny run with its files read back, and everything it must refuse."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import compare_methods
import figures
import fit
import numpy as np
import options
import pytest
import report
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from fkd import checkpoint, methods
from fkd.ensemble import ensemble
from fkd.model import Model
from fkd.models import DeepNN

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "compare_methods.py"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FKD_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def images(tmp_path) -> Path:
    """Forty images of two classes that a student can tell apart: dark and bright."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, base in (("dark", 0), ("light", 128)):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for i in range(10):
                pixels = base + random.integers(0, 128, (32, 32, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "images"


@pytest.fixture
def teacher(tmp_path) -> Path:
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "deep.pt", DeepNN(2).state_dict())
    return tmp_path / "deep.pt"


def tiny(images: Path, teacher: Path | str, *more: str) -> list[str]:
    base = ["--dataset", "folder", "--root", str(images), "--teacher", str(teacher)]
    return [*base, "--epochs", "2", "--batch-size", "10", "--seeds", "3,5", "--no-compile", *more]


def run(*arguments: str) -> Path:
    assert compare_methods.main([*arguments, "--output", "out"]) == 0
    return Path("out")


def test_a_whole_run_and_its_files(images, teacher, capsys):
    out = run(*tiny(images, teacher))
    results = json.loads((out / "results.json").read_text())
    assert results["complete"]
    assert results["config"]["seeds"] == [3, 5]
    assert list(results["methods"]) == ["ce", "kd", "cosine", "hint"]
    for name, found in results["methods"].items():
        assert [seed["seed"] for seed in found["seeds"]] == [3, 5]
        curve = found["curves"]["test_accuracy"]
        assert np.shape(curve) == (2, 2)
        # the last epoch, never the best
        assert [seed["test_accuracy"] for seed in found["seeds"]] == curve[-1]
        assert found["accuracy"]["mean"] == pytest.approx(np.mean(curve[-1]))
        assert 0 <= found["agreement"]["mean"] <= 1
        assert found["seconds"]["steps"] > 0
        if name != "ce":
            expected = np.mean(curve[-1]) - results["methods"]["ce"]["accuracy"]["mean"]
            assert found["difference"]["difference"] == pytest.approx(expected)
    assert results["environment"]["torch"] == torch.__version__.partition("+")[0]
    assert results["seconds"]["total"] > 0
    table = (out / "table.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:6]] == list(
        results["methods"]
    )
    for picture in ("accuracy.png", "curves.png"):
        pixels = np.asarray(Image.open(out / picture).convert("L"))
        assert pixels.shape[1] > 1000 and pixels.std() > 10
    printed = capsys.readouterr().out
    assert "Teacher DeepNN: 1,182,882 parameters" in printed
    assert "Shape of the student's feature map: (10, 16, 8, 8)" in printed
    assert f"Teacher accuracy: {100 * results['teacher']['accuracy']:.2f} %" in printed


def test_a_second_run_does_not_overwrite_the_first(images, teacher):
    arguments = tiny(images, teacher, "--methods", "ce", "--epochs", "1", "--output", "out")
    assert compare_methods.main(arguments) == 0
    first = Path("out/results.json").read_bytes()
    assert compare_methods.main(arguments) == 0
    assert Path("out/results.json").read_bytes() == first
    assert Path("out-2/results.json").exists()


def test_the_teacher_sees_each_image_once_however_many_methods_and_seeds(
    images, teacher, monkeypatch
):
    seen = []
    real = compare_methods.functional

    def counting(build, dtype):
        model = real(build, dtype)
        if not isinstance(build(), DeepNN):
            return model

        def apply(params, buffers, x, *, train):
            if x.device.type != "meta":
                assert not train
                seen.append(len(x))
            return model.apply(params, buffers, x, train=train)

        return Model(model.init, apply, dtype)

    monkeypatch.setattr(compare_methods, "functional", counting)
    kept = json.loads((run(*tiny(images, teacher)) / "results.json").read_text())
    assert sum(seen) == 40  # 20 for training and 20 for testing
    seen.clear()
    live = tiny(images, teacher, "--teacher-memory", "0", "--output", "live")
    assert compare_methods.main(live) == 0
    # 20 for testing, and 20 in each of two epochs, whatever the number of methods
    assert sum(seen) == 60
    asked = json.loads(Path("live/results.json").read_text())
    assert asked["teacher"]["live"] and not kept["teacher"]["live"]
    for name, found in kept["methods"].items():
        for metric in ("loss", "test_accuracy"):
            curve = asked["methods"][name]["curves"][metric]
            assert curve == [pytest.approx(values, rel=1e-3) for values in found["curves"][metric]]


def test_layouts_agree(images, teacher):
    found = []
    for number, layout in enumerate((["loop"], ["vmap"], ["vmap", "--chunk", "1"])):
        given = tiny(images, teacher, "--methods", "kd", "--output", str(number), "--layout")
        assert compare_methods.main([*given, *layout]) == 0
        methods = json.loads(Path(f"{number}/results.json").read_text())["methods"]
        found.append(np.array(methods["kd"]["curves"]["loss"]))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-3)


def test_a_teacher_is_trained_kept_and_can_be_given_again(images):
    out = run(*tiny(images, "train", "--methods", "ce", "--epochs", "1"))
    first = json.loads((out / "results.json").read_text())
    DeepNN(2).load_state_dict(torch.load(out / "teacher.pt", weights_only=True))
    again = tiny(images, out / "teacher.pt", "--methods", "ce", "--epochs", "1", "--output", "next")
    assert compare_methods.main(again) == 0
    second = json.loads(Path("next/results.json").read_text())
    assert second["teacher"]["accuracy"] == first["teacher"]["accuracy"]
    assert len(first["teacher"]["curves"]["loss"]) == 1


def test_a_run_repeats_and_a_seed_is_the_same_in_whatever_company(images, teacher):
    both = run(*tiny(images, teacher, "--methods", "kd"))
    alone = tiny(images, teacher, "--methods", "ce", "kd", "--seeds", "5,", "--output", "alone")
    assert compare_methods.main(alone) == 0
    one, other = (
        json.loads((p / "results.json").read_text())["methods"]["kd"] for p in (both, Path("alone"))
    )
    for mine, theirs in zip(one["curves"]["loss"], other["curves"]["loss"], strict=True):
        assert mine[1] == pytest.approx(theirs[0], rel=1e-4)


def test_every_method_runs_by_name(images, teacher):
    out = run(*tiny(images, teacher, "--methods", "all", "--epochs", "1", "--seeds", "1"))
    found = json.loads((out / "results.json").read_text())["methods"]
    assert list(found) == list(methods.METHODS)
    assert all(np.isfinite(method["curves"]["loss"]).all() for method in found.values())


def test_no_figure_of_the_table_is_cut_on_a_narrow_terminal(images, teacher, capsys):
    out = run(*tiny(images, teacher, "--methods", "ce", "logit-standardised"))
    results = json.loads((out / "results.json").read_text())
    capsys.readouterr()
    report.show(Console(width=40), report.table(results))
    printed = capsys.readouterr().out
    assert "…" not in printed
    low = 100 * results["methods"]["logit-standardised"]["difference"]["low"]
    assert f"{low:+.2f}" in printed


def test_own_order_is_run_and_told(images, teacher):
    out = run(*tiny(images, teacher, "--methods", "ce", "--order", "own"))
    assert json.loads((out / "results.json").read_text())["config"]["order"] == "own"
    assert "own order of batches" in (out / "table.md").read_text()


def test_a_diverging_method_is_told_and_the_others_are_kept(images, teacher, capsys, monkeypatch):
    monkeypatch.setitem(compare_methods.METHODS, "kd", lambda: methods.kd(weight=3e38))
    arguments = tiny(images, teacher, "--methods", "ce", "kd", "cosine", "--output", "out")
    assert compare_methods.main(arguments) == 2
    message = "kd: member 0 (seed 3): the loss became inf in epoch 1, step 1 of 2"
    assert message in capsys.readouterr().err
    results = json.loads(Path("out/results.json").read_text())
    assert not results["complete"]
    assert list(results["methods"]) == ["ce", "cosine"]
    assert "INCOMPLETE" in Path("out/table.md").read_text()


def test_bfloat16_is_run_and_told_and_not_what_float32_gives(images, teacher):
    losses = {}
    for precision in ("fp32", "bf16"):
        arguments = tiny(images, teacher, "--methods", "hint", "--precision", precision)
        assert compare_methods.main([*arguments, "--output", precision]) == 0
        assert f"Adam 0.001, {precision};" in Path(precision, "table.md").read_text()
        found = json.loads(Path(precision, "results.json").read_text())["methods"]["hint"]
        losses[precision] = found["curves"]["loss"][-1]
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
    found = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, env=environment
    )
    assert found.returncode == 0, found.stderr
    assert "Compilation is not possible here, going on without" in found.stdout
    assert json.loads(Path("out/results.json").read_text())["compiled"] is False


def test_the_user_is_told_of_compiling_while_it_lasts_and_afterwards(
    images, teacher, monkeypatch, capsys
):
    told = []

    class Told(Progress):
        def update(self, task_id, **how):
            told.append(self.tasks[task_id].description)
            super().update(task_id, **how)

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "kept")
    monkeypatch.setattr(fit, "Progress", Told)
    monkeypatch.setattr(compare_methods, "why_not_compile", lambda device: None)
    monkeypatch.setattr(  # as if it compiled
        fit, "ensemble", lambda rule, *, compile, **how: ensemble(rule, **how)
    )
    arguments = tiny(images, teacher, "--methods", "ce", "kd")
    arguments.remove("--no-compile")
    out = run(*arguments)
    assert told == [
        "ce (1 of 2): 2 students, compiling", *["ce (1 of 2): 2 students"] * 3,
        "kd (2 of 2): 2 students, compiling", *["kd (2 of 2): 2 students"] * 3,
    ]  # fmt: skip
    results = json.loads((out / "results.json").read_text())
    first = sum(found["seconds"]["first_step"] for found in results["methods"].values())
    assert results["seconds"]["first_steps"] == pytest.approx(first)
    total = results["seconds"]["total"]
    sentence = f"Of the run's {total:.1f} seconds, {first:.1f} were the first steps"
    assert sentence in (out / "table.md").read_text()
    assert sentence in " ".join(capsys.readouterr().out.split())
    assert compare_methods.main([*arguments, "--no-compile", "--output", "plain"]) == 0
    assert "first steps" not in Path("plain/table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "mnits"], "--dataset: data set 'mnits' is not known; choose from digits"),
        (["--methods", "ce", "kdd"], "--methods: method 'kdd' is not known; choose from ce, kd"),
        (["--methods", "ce", "ce"], "--methods: each is to be named once"),
        (["--device", "tpu"], "--device: device 'tpu' is not known; choose from auto, cpu, cuda"),
        (
            ["--precision", "fp8"],
            "--precision: precision 'fp8' is not known; choose from fp32, tf32, bf16",
        ),
        (["--precision", "tf32", "--device", "cpu"], "--precision: tf32 is for a GPU"),
        (["--chunk", "0"], "--chunk: chunk must be above zero"),
        (["--graph", "-1"], "--graph: graph must be zero or more"),
        (
            ["--layout", "rows"],
            "--layout: layout 'rows' is not known; choose from auto, vmap, loop",
        ),
        (["--teacher-memory", "-1"], "--teacher-memory: teacher_memory must be zero or more"),
        (["--seeds", "0"], "--seeds: it takes a count above zero (8) or a list of seeds (3,5,8)"),
        (["--seeds", "-3"], "--seeds: it takes a count above zero"),
        (["--seeds", "a"], "--seeds: it takes a count above zero"),
        (["--seeds", "3,3"], "--seeds: each is to be named once"),
        (["--epochs", "0"], "--epochs: epochs must be above zero"),
        (["--batch-size", "0"], "--batch-size: batch_size must be above zero"),
        (["--batch-size", "900"], "--batch-size: batch_size must lie in [1, 898], but it is 900"),
        (["--lr", "-1"], "--lr: lr must be above zero"),
        (["--lr", "nan"], "--lr: lr must be above zero"),
        (["--teacher", "nowhere.pt"], "--teacher: there is no file nowhere.pt"),
        (["--dataset", "folder"], "folder: which folder? give it with --root"),
        (["--dataset", "folder", "--root", "nowhere"], "is missing"),
    ],
)
def test_bad_input_is_refused_before_any_work(arguments, message, capsys, elsewhere):
    assert compare_methods.main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(capsys):
    assert compare_methods.main(["--device", "cuda"]) == 2
    assert "torch finds no GPU" in capsys.readouterr().err


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(images, elsewhere, capsys):
    checkpoint.save("ten.pt", DeepNN(10).state_dict())
    assert compare_methods.main(tiny(images, "ten.pt")) == 2
    printed = capsys.readouterr().err
    assert "classifier.3.bias must be (2,), but is (10,)" in printed
    assert "features.0.weight" not in printed


def test_seeds_are_a_count_or_a_list():
    assert options.parse_seeds("8") == tuple(range(8))
    assert options.parse_seeds("3,5,8") == (3, 5, 8)
    assert options.parse_seeds("3,") == (3,)


def test_a_result_is_never_written_over(elsewhere):
    made = [report.new_folder("x/y", "digits") for _ in range(3)]
    assert [folder.name for folder in made] == ["y", "y-2", "y-3"]
    Path("file").write_text("mine")
    with pytest.raises(ValueError, match="--output: file/sub cannot be made"):
        report.new_folder("file/sub", "digits")


def test_a_whole_sweep(images, teacher):
    methods = ["--methods", "ce", "kd", "cosine", "--validation", "0.3"]
    swept = ["--sweep", "lr=1e-3,1e-2,1e30", "kd.temperature=1,4"]
    out = run(*tiny(images, teacher, *methods, *swept))
    results = json.loads((out / "results.json").read_text())
    assert results["complete"]
    counts = {"classes": 2, "train": 14, "validation": 6, "test": 20}
    assert results["data"] == {"name": "images"} | counts
    found = results["methods"]
    counts = {name: len(method["sweep"]["settings"]) for name, method in found.items()}
    assert counts == {"ce": 3, "kd": 6, "cosine": 3}
    for method in found.values():
        entry = method["sweep"]
        means = []
        for setting in entry["settings"]:
            accuracies = setting["validation_accuracy"]
            assert (accuracies == [None, None]) == (setting["hyper"]["lr"] == 1e30)
            means.append(-1 if None in accuracies else np.mean(accuracies))
        assert means[entry["chosen"]] == max(means)
        chosen = entry["settings"][entry["chosen"]]
        name = "validation_accuracy"
        assert [seed[name] for seed in method["seeds"]] == chosen[name]
        assert method["curves"][name][-1] == chosen[name]
    table = (out / "table.md").read_text()
    assert "a validation split of 6 images" in table
    assert "(settings: ce 3, kd 6, cosine 3); the students were trained on the rest" in table
    assert "- kd: lr " in table and "the best of 6 settings, 2 diverged" in table
    for method in found:
        assert np.asarray(Image.open(out / f"sweep-{method}.png").convert("L")).std() > 10


def test_a_sweep_tests_the_chosen_alone_and_as_a_run_of_that_setting_alone(
    images, teacher, monkeypatch
):
    read = []
    real = compare_methods.evaluate.predict_members

    def spy(model, state, images):
        read.append((len(state.hyper["lr"]), len(images)))
        return real(model, state, images)

    monkeypatch.setattr(compare_methods.evaluate, "predict_members", spy)
    methods = ["--methods", "ce", "kd", "--validation", "0.3", "--sweep"]
    out = run(*tiny(images, teacher, *methods, "kd.weight=0.1,0.9"))
    # ce's two seeds, and two seeds of kd's two settings: 6 images an epoch, 20 at the end
    assert read == [(2, 6), (2, 6), (2, 20), (4, 6), (4, 6), (2, 20)]
    swept = json.loads((out / "results.json").read_text())["methods"]["kd"]
    best = swept["sweep"]["settings"][swept["sweep"]["chosen"]]["hyper"]["kd.weight"]
    alone = tiny(images, teacher, *methods, f"kd.weight={best}", "--output", "alone")
    assert compare_methods.main(alone) == 0
    expected = json.loads(Path("alone/results.json").read_text())["methods"]["kd"]["seeds"]
    for mine, theirs in zip(swept["seeds"], expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)


def test_a_method_that_has_none_of_the_names_is_run_as_it_is(images, teacher):
    swept = ["--methods", "ce", "kd", "--sweep", "kd.weight=0.1,0.9"]
    out = run(*tiny(images, teacher, *swept))
    found = json.loads((out / "results.json").read_text())["methods"]
    assert "sweep" not in found["ce"] and not (out / "sweep-ce.png").exists()
    assert len(found["kd"]["sweep"]["settings"]) == 2 and (out / "sweep-kd.png").exists()
    assert found["kd"]["difference"]["difference"] is not None


def test_nothing_is_trained_on_the_validation_split(images, monkeypatch):
    trained_on = []
    real = fit.train_together

    def spy(students, images, targets, **how):
        trained_on.append(images)
        return real(students, images, targets, **how)

    monkeypatch.setattr(fit, "train_together", spy)
    comparisons = []

    class Kept(compare_methods.Comparison):
        def __init__(self, *given):
            super().__init__(*given)
            comparisons.append(self)

    monkeypatch.setattr(compare_methods, "Comparison", Kept)
    run(*tiny(images, "train", "--methods", "crd", "--sweep", "lr=1e-3,1e-2", "--epochs", "1"))
    (comparison,) = comparisons
    held = {image.numpy().tobytes() for image in comparison.validation[0]}
    assert len(held) == 4
    assert len(trained_on) == 2  # the teacher and the students
    for seen in trained_on:
        assert len(seen) == 16
        assert not held & {image.numpy().tobytes() for image in seen}
    bank = comparison.methods["crd"]["crd"].head
    assert isinstance(bank, partial) and bank.keywords["examples"] == 16


def test_a_method_whose_settings_all_diverge_is_told_and_the_others_are_kept(
    images, teacher, capsys
):
    swept = ["--methods", "kd", "ce", "--sweep", "kd.weight=2e38,3e38", "--output", "out"]
    assert compare_methods.main(tiny(images, teacher, *swept)) == 2
    assert "kd: of 2 settings each has a seed whose loss became" in capsys.readouterr().err
    assert list(json.loads(Path("out/results.json").read_text())["methods"]) == ["ce"]


def test_the_pictures_of_a_sweep_are_drawn_anew_from_its_results(images, teacher):
    out = run(*tiny(images, teacher, "--methods", "ce", "--sweep", "lr=1e-3,1e-2"))
    picture = out / "sweep-ce.png"
    picture.unlink()
    figures.write(out, json.loads((out / "results.json").read_text()))
    assert np.asarray(Image.open(picture).convert("L")).std() > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lr"], "--sweep: it takes items such as lr=1e-4,3e-4, but got 'lr'"),
        (["lr="], "--sweep: it takes items such as"),
        (["=1"], "--sweep: it takes items such as"),
        (["lr=high"], "--sweep: it takes items such as lr=1e-4,3e-4, but got 'lr=high'"),
        (["lr=inf"], "--sweep: it takes items such as"),
        (["lr=1,1.0"], "--sweep: each name and value is to be given once, but got 'lr=1,1.0'"),
        (["lr=1", "lr=2"], "--sweep: each name and value is to be given once, but got 'lr=2'"),
        (["lr=-1"], "--sweep: ce: init: lr must be zero or more and finite, but it is -1.0"),
        (["kd.temperature=1,0"], "--sweep: kd: term 'kd': soft_cross_entropy: temperature must be"),
        (["kd.weight=-1"], "--sweep: kd: Term: weight must be zero or more"),
        (
            ["kd.temprature=1"],
            "--sweep: hyperparameter 'kd.temprature' is not known; choose from lr, weight_decay, "
            "ce.weight, kd.weight, kd.temperature",
        ),
        (["lr=1", "--validation", "0"], "--validation: it is a share of the training set"),
        (["lr=1", "--validation", "1"], "--validation: it is a share of the training set"),
        (["lr=1", "--validation", "0.001"], "--validation: hold_out: a share of 0.001 holds out 0"),
        (["lr=1", "--batch-size", "800"], "--batch-size: batch_size must lie in [1, 7"),
    ],
)
def test_bad_sweeps_are_refused_before_any_work(arguments, message, capsys):
    assert compare_methods.main(["--methods", "ce", "kd", "--sweep", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_gpu_without_memory_left_is_told_what_to_do(images, teacher, monkeypatch, capsys):
    def full(*given, **how):
        raise torch.OutOfMemoryError("Tried to allocate 2 GiB")

    monkeypatch.setattr(fit, "train_together", full)
    assert compare_methods.main([*tiny(images, teacher), "--output", "out"]) == 2
    assert "--chunk takes fewer members at once: Tried to allocate 2 GiB" in capsys.readouterr().err
