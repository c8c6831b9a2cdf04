"""`compare` as a function: networks and data of one's own, sweeps, divergence, refusals."""

import errno
import inspect
import os
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from compare.small_comparisons import (
    ALL,
    EAGER,
    Narrow,
    Wide,
    examples,
    small,
    trained_elsewhere,
    vectors,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fkd import checkpoint, losses, methods, optim
from fkd.compare import Comparison, Results, compare
from fkd.compare._setup.oddities import SEEN
from fkd.compare.conclusions import differences
from fkd.data import Data, Resident, Streamed
from fkd.execution import Plan
from fkd.methods import Term
from fkd.model import state_dict
from fkd.train import train


@pytest.fixture
def data() -> Data:
    return vectors()


@pytest.fixture
def teacher_state() -> dict[str, Tensor]:
    return trained_elsewhere()


def test_a_comparison_of_ones_own_networks_and_data(data):
    results = small(data)
    assert results.complete and not results.failed and not results.compiled
    assert list(results.methods) == ["ce", "kd"] and results.baseline == "ce"
    for method in results.methods.values():
        assert method.seeds == [3, 5]
        for metric in ("loss", "test_accuracy", "teacher_agreement", "calibration_error"):
            assert np.shape(method.curves[metric]) == (2, 2)  # epochs, seeds
        # the last epoch, never the best
        assert method.last("test_accuracy") == method.curves["test_accuracy"][-1]
        assert all(method.seconds[part] > 0 for part in ("first_step", "steps", "evaluation"))
    assert results.data.train == 40 and results.data.test == 30
    assert results.data.unit == "examples"
    assert results.networks == {"teacher": "Wide", "student": "Narrow"}
    assert results.parameters == {"teacher": 114, "student": 58}
    assert results.shapes["student"] == {"logits": (10, 2), "hidden": (10, 8)}
    assert results.teacher and results.teacher.curves
    assert len(results.teacher.curves["loss"]) == 2
    assert results.seconds["total"] >= results.seconds["teacher_training"] > 0


@pytest.mark.plain
def test_what_it_returns_writes_and_reads_itself(data, tmp_path):
    results = small(data)
    results.write(tmp_path)
    assert Results.read(tmp_path) == results
    text = (tmp_path / "table.md").read_text()
    assert "\n| ce " in text and "\n| kd " in text
    assert "40 training and 30 test examples" in text and "learning rate 0.01, fp32" in text


@pytest.mark.plain
def test_a_run_repeats_and_a_seed_is_the_same_in_whatever_company(data, teacher_state):
    both = small(data, teacher_state=teacher_state).methods["kd"]
    again = small(data, teacher_state=teacher_state).methods["kd"]
    alone = small(data, teacher_state=teacher_state, methods={"kd": ALL["kd"]}, seeds=[5])
    assert again.curves == both.curves
    losses = np.array(both.curves["loss"])[:, 1:]
    np.testing.assert_allclose(losses, alone.methods["kd"].curves["loss"], rtol=1e-5)


def test_progress_says_what_is_going_on_and_how_far_it_is(data, teacher_state):
    comparison = Comparison(Wide, Narrow, ALL, data, seeds=(3, 5), epochs=2, plan=EAGER)
    steps: dict[str, list[int]] = {}
    for progress in comparison.run():
        assert progress.results is comparison.results and not progress.compiling
        steps.setdefault(progress.what, []).append(progress.step)
    assert list(steps) == [
        "teacher",
        "the teacher reads each example once",
        "ce (1 of 2): 2 students",
        "kd (2 of 2): 2 students",
    ]
    assert steps["teacher"] == list(range(9))  # 2 epochs of 4 steps
    assert sorted(set(steps["kd (2 of 2): 2 students"])) == list(range(9))
    assert comparison.teacher
    module = Wide()
    module.load_state_dict(state_dict(comparison.teacher.params, comparison.teacher.buffers))


def test_a_caller_who_stops_keeps_what_is_finished(data, teacher_state):
    comparison = Comparison(
        Wide, Narrow, ALL, data, seeds=[0], epochs=1, teacher_state=teacher_state, plan=EAGER
    )
    for progress in comparison.run():
        if progress.results.methods:
            break
    assert list(comparison.results.methods) == ["ce"] and not comparison.results.complete


@pytest.mark.plain
def test_the_teacher_sees_each_example_once_or_each_batch_once_for_all(data, teacher_state):
    Wide.seen = 0
    kept = small(data, teacher_state=teacher_state, order="shared")
    assert Wide.seen == SEEN + 70  # 40 for training and 30 for testing
    Wide.seen = 0
    live = small(data, teacher_state=teacher_state, teacher_memory=0)
    # 30 for testing, and 40 in each of two epochs, whatever the number of methods
    assert Wide.seen == SEEN + 110
    assert kept.teacher and live.teacher and live.teacher.live and not kept.teacher.live
    for name, method in kept.methods.items():
        for metric, curve in method.curves.items():
            np.testing.assert_allclose(live.methods[name].curves[metric], curve, rtol=1e-4)


def noisy(inputs: Tensor, key) -> Tensor:
    return inputs if key is None else inputs + (key.step + key.seed).to(inputs.dtype)


def test_of_examples_that_are_read_anew_no_answer_is_kept(data, teacher_state):
    train = data.train
    changing = Resident(train.inputs, train.targets, batch_size=10, transform=noisy)
    data = Data(data.name, data.classes, changing, data.test)
    comparison = Comparison(
        Wide, Narrow, ALL, data, epochs=1, seeds=[0], teacher_state=teacher_state, plan=EAGER
    )
    assert any("read anew" in note for note in comparison.notes)
    for _ in comparison.run():
        pass
    assert comparison.results.teacher and comparison.results.teacher.live


def test_a_stream_is_compared_as_what_lies_in_memory(data):
    train, test = (DataLoader(TensorDataset(*examples(n, s)), 10) for n, s in ((40, 0), (30, 1)))
    streams = Data(data.name, data.classes, Streamed(train), Streamed(test))
    mine, theirs = small(streams), small(data, order="shared")
    assert mine.teacher and mine.teacher.live
    for name, method in theirs.methods.items():
        np.testing.assert_allclose(
            mine.methods[name].curves["loss"], method.curves["loss"], rtol=1e-4
        )


def test_a_method_that_diverges_is_recorded_and_the_others_go_on(data, teacher_state):
    chosen = {"ce": methods.ce(), "kd": methods.kd(weight=3e38), "reverse": methods.reverse_kd()}
    results = small(data, methods=chosen, teacher_state=teacher_state)
    assert not results.complete and list(results.methods) == ["ce", "reverse"]
    assert results.failed["kd"].reason.startswith(
        "member 0 (seed 3): the loss became infinite or no"
    )
    assert "in epoch 1, step 1 of 4" in results.failed["kd"].reason


def test_a_teacher_that_diverges_ends_the_comparison(data):
    with pytest.raises(FloatingPointError, match=r"teacher: member 0 \(seed 42\): the loss became"):
        small(data, optimizer=optim.adam(1e30), epochs=3)


def test_a_sweep_reports_the_best_setting_and_tests_it_alone(data, teacher_state):
    swept = {"lr": (1e-3, 1e-2, 1e30), "kd.temperature": (1.0, 4.0)}
    options = {"teacher_state": teacher_state, "validation": 0.25}
    results = small(data, sweep=swept, **options)
    assert results.complete
    # a quarter of 18 and of 22 examples of a class
    assert (results.data.train, results.data.validation, results.data.test) == (29, 11, 30)
    for name, settings in (("ce", 3), ("kd", 6)):
        method = results.methods[name]
        assert method.sweep and len(method.sweep.settings) == settings
        for setting in method.sweep.settings:
            assert setting.diverged == (setting.hyper["lr"] == 1e30)
            assert setting.test_accuracy and setting.diverged == (None in setting.test_accuracy)
        assert method.sweep.best.test_accuracy == method.last("test_accuracy")
        assert method.answers is not None and method.answers.shape == (2, 30)
        np.testing.assert_allclose(method.answers.mean(1), method.last("test_accuracy"), atol=1e-7)
        best = method.sweep.best
        assert method.last("validation_accuracy") == best.validation_accuracy
        assert np.shape(method.curves["validation_accuracy"]) == (2, 2)
        assert np.shape(method.curves["test_accuracy"]) == (1, 2)
        alone = {key: (value,) for key, value in best.hyper.items()}
        again = small(data, methods={name: ALL[name]}, sweep=alone, **options).methods[name]
        for metric, curve in again.curves.items():
            np.testing.assert_allclose(method.curves[metric], curve, rtol=1e-4, atol=1e-6)
        assert again.answers is not None and np.array_equal(method.answers, again.answers)
        assert again.sweep and again.sweep.best.test_accuracy == method.sweep.best.test_accuracy


@pytest.mark.plain
def test_a_method_that_has_no_swept_number_is_run_as_it_is(data, teacher_state):
    swept = {"kd.weight": (0.1, 0.9)}
    results = small(data, sweep=swept, teacher_state=teacher_state)
    assert results.methods["ce"].sweep is None and results.methods["kd"].sweep
    assert list(differences(results)) == ["kd"]


def test_a_validation_source_of_ones_own_leaves_the_training_set_whole(data, teacher_state):
    inputs, labels = examples(20, seed=2)
    own = Resident(inputs, {"labels": labels})
    results = small(data, sweep={"lr": (0.1, 0.2)}, validation=own, teacher_state=teacher_state)
    assert (results.data.train, results.data.validation) == (40, 20)
    assert results.config["validation"] is None


@pytest.mark.plain
def test_settings_that_all_diverge_are_recorded(data, teacher_state):
    swept = {"kd.weight": (2e38, 3e38)}
    results = small(data, sweep=swept, teacher_state=teacher_state)
    assert results.failed["kd"].reason.startswith("each of 2 settings has a seed that diverged")
    assert list(results.methods) == ["ce"]


def test_nothing_is_trained_on_the_validation_split(data, monkeypatch):
    sources = []

    def spy(students, source, **options):
        sources.append(source)
        return train(students, source, **options)

    monkeypatch.setattr("fkd.compare._job.course.train", spy)
    comparison = Comparison(
        Wide, Narrow, {"ce": ALL["ce"]}, data, seeds=[0], epochs=1, sweep={"lr": (0.1, 0.2)}
    )
    for _ in comparison.run():
        pass
    held = {tuple(row.tolist()) for row in data.hold_out(0.2)[1].inputs}
    assert len(held) == 8 and len(sources) == 2  # the teacher and the students
    for source in sources:
        assert source.examples == 32
        assert not held & {tuple(row.tolist()) for row in source.inputs}


def test_a_schedule_is_followed_by_those_that_have_its_number(data, teacher_state):
    off = {"kd.weight": lambda step: torch.zeros_like(step, dtype=torch.float32)}
    method = {"ce": methods.ce(0.75), "kd": methods.kd()}
    results = small(data, methods=method, schedules=off, teacher_state=teacher_state)
    mine, theirs = (results.methods[name].curves["loss"] for name in ("ce", "kd"))
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_a_method_gets_what_it_needs_of_the_context(data, teacher_state):
    chosen = {"crd": methods.crd(), "ce": methods.ce(), "ps-kd": methods.ps_kd()}
    results = small(data, methods=chosen, teacher_state=teacher_state, epochs=1)
    assert results.complete and results.baseline == "ce"


def test_layouts_agree(data, teacher_state):
    plans = (
        Plan("loop", compile="none"),
        Plan("vmap", compile="none"),
        Plan("vmap", 1, compile="none"),
    )
    curves = [
        small(data, plan=plan, teacher_state=teacher_state).methods["kd"].curves["loss"]
        for plan in plans
    ]
    for other in curves[1:]:
        np.testing.assert_allclose(other, curves[0], rtol=1e-4)


@pytest.mark.plain
def test_a_slow_precision_is_told_before_the_start(data, monkeypatch):
    monkeypatch.setattr("fkd.compare.run.fast_in_bfloat16", lambda device: False)
    make = partial(Comparison, Wide, Narrow, ALL, data, plan=EAGER)
    assert any("bf16 is slower" in note for note in make(precision="bf16").notes)
    assert not make().notes


def test_what_is_noted_of_the_data_is_told_before_the_start(data):
    noted = replace(data, notes=("2 files are passed over",))
    assert Comparison(Wide, Narrow, ALL, noted, plan=EAGER).notes == ["2 files are passed over"]


def two_outputs_only() -> nn.Module:
    return nn.Linear(4, 2)


@pytest.mark.plain
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {}}, "methods: there are none"),
        ({"methods": {"hint": methods.hint()}}, "methods: hint: term 'hint'"),
        ({"seeds": []}, "seeds: there must be at least one"),
        ({"seeds": [1, 1]}, "seeds: there must be at least one, each once"),
        ({"epochs": 0}, "epochs: epochs must be a whole number of at least 1"),
        ({"teacher_memory": -1.0}, "teacher_memory: teacher_memory must be zero or more"),
        ({"order": "any"}, "order: order 'any' is not known"),
        ({"precision": "fp8"}, "precision: precision 'fp8' is not known"),
        ({"precision": "tf32"}, "precision: tf32 is for a GPU"),
        ({"baseline": "kdd"}, "baseline: method 'kdd' is not known; choose from ce, kd"),
        ({"teacher_state": {}}, "teacher_state: .*Missing key"),
        ({"sweep": {"lr": (-1.0,)}}, "sweep: ce: init: lr must be zero or more"),
        ({"sweep": {"kd.weight": (-1.0,)}}, "sweep: kd: Term: weight must be zero or more"),
        ({"sweep": {"kd.temprature": (1.0,)}}, "sweep: hyperparameter 'kd.temprature' is not"),
        ({"schedules": {"rate": torch.ones_like}}, "schedules: hyperparameter 'rate' is not known"),
        ({"sweep": {"lr": (1.0,)}, "validation": 0.001}, "validation: hold_out: a share of 0.001"),
    ],
)
def test_what_makes_no_sense_is_refused_at_the_door(changes, message, data):
    changes = dict(changes)
    student = two_outputs_only if "hint" in changes.get("methods", {}) else Narrow
    chosen = changes.pop("methods", ALL)
    with pytest.raises(ValueError, match=f"(?s)^{message}"):
        Comparison(Wide, student, chosen, data, **changes)


def test_a_batch_that_is_too_large_is_refused(data):
    with pytest.raises(ValueError, match=r"^batch_size: 41 is more than .*, which are 40"):
        Comparison(Wide, Narrow, ALL, data.batched(41))


def test_examples_without_classes_are_refused(data):
    bare = DataLoader(TensorDataset(torch.ones(20, 4), torch.ones(20)), 10)
    source = Streamed(bare, split=lambda raw: (raw[0], {"value": raw[1]}))
    with pytest.raises(ValueError, match=r"^data: a batch must have a target 'labels'.*value"):
        Comparison(Wide, Narrow, ALL, Data("bare", ("a", "b"), source, data.test))


def test_without_a_method_that_needs_no_teacher_the_first_is_the_baseline(data):
    term = Term(losses.squared_error, weight=1.0)
    only = {"mine": {"mine": term}, "kd": methods.kd()}
    assert Comparison(Wide, Narrow, only, data).results.baseline == "mine"


@pytest.mark.plain
def test_compare_takes_what_a_comparison_takes_and_hands_all_of_it_on(monkeypatch):
    whole = inspect.signature(Comparison)
    takes = dict(inspect.signature(compare).parameters)
    del takes["folder"], takes["checkpoint_minutes"]
    assert list(takes.values()) == list(whole.parameters.values())  # with types and defaults
    made, values = Mock(), {name: object() for name in takes}
    made.return_value.run.return_value = made.return_value.troubles = []
    monkeypatch.setattr("fkd.compare.run.Comparison", made)
    options: dict[str, Any] = values | {"folder": "here", "checkpoint_minutes": 1.0}
    assert compare(**options) is made.return_value.results
    assert whole.bind(*made.call_args.args, **made.call_args.kwargs).arguments == values
    made.return_value.run.assert_called_once_with("here", checkpoint_minutes=1.0)


def test_what_could_not_be_written_is_warned_of(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "write", full)
    with pytest.warns(RuntimeWarning) as warned:
        results = small(vectors(), {"ce": methods.ce()}, epochs=1, folder=tmp_path / "run")
    told = [str(one.message) for one in warned]
    assert any(line.startswith("compare: students-ce.safetensors cannot be wr") for line in told)
    assert any("students-ce.safetensors is not written: no checkpoint holds" in one for one in told)
    assert results.complete  # what was measured is there all the same
