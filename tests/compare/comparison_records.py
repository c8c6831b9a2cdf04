"""Results that no comparison measured, for tests that read, write, tell and draw."""

from typing import get_args

import numpy as np
from hypothesis import strategies as st

from fkd.compare import sweep
from fkd.compare.failure import Failure, Kind
from fkd.compare.results import (
    DataSummary,
    MethodResults,
    Results,
    SettingResults,
    SweepResults,
    TeacherResults,
)
from fkd.execution import Plan

WHERE = {
    "date": "2026-11-24T12:00:00+00:00",
    "commit": None,
    "python": "3.11",
    "fkd": "0",
    "torch": "2",
    "torchvision": "0",
    "processor": "a processor",
    "cores": 2,
    "threads": 2,
    "gpu": None,
}


def method(
    accuracy: list[float], choice: SweepResults | None = None, epochs: int = 2
) -> MethodResults:
    """A method whose seeds end with these accuracies, and agree with the teacher as often."""
    rising = np.linspace(0.5, 1, epochs)[:, None] * np.array(accuracy)
    curves = {"loss": (1 - rising).tolist(), "test_accuracy": rising.tolist()}
    curves["teacher_agreement"] = curves["calibration_error"] = rising.tolist()
    if choice:
        curves["validation_accuracy"] = rising.tolist()
    seconds = {"first_step": 1.0, "steps": 2.5, "evaluation": 0.25}
    return MethodResults(list(range(len(accuracy))), curves, seconds, choice)


def record(methods: dict[str, MethodResults], **changes) -> Results:
    """A whole comparison of these methods, the first of which is the baseline."""
    first = next(iter(methods.values()))
    results = Results(
        config={
            "seeds": first.seeds,
            "epochs": 2,
            "batch_size": 10,
            "lr": 0.001,
            "order": "shared",
            "precision": "fp32",
            "teacher": "train",
            "sweep": {},
            "validation": 0.25,
        },
        environment=WHERE,
        data=DataSummary("mine", 2, train=40, test=20),
        device="cpu",
        baseline=next(iter(methods)),
        parameters={"teacher": 10, "student": 5},
        shapes={"teacher": {"logits": (10, 2)}, "student": {"logits": (10, 2)}},
        seconds={"total": 9.0},
        teacher=TeacherResults(0.75, {"loss": [1.0, 0.5]}),
        methods=methods,
        complete=True,
    )
    for name, value in changes.items():
        setattr(results, name, value)
    return results


def swept(values: dict[str, tuple[float, ...]], diverged: int = -1) -> Results:
    """A sweep with two seeds whose accuracy falls from the first setting to the last."""
    grid = sweep.settings(values, values)
    accuracy = np.linspace(0.9, 0.8, 2 * len(grid)).tolist()
    finite = [k != diverged for k in range(2 * len(grid))]
    choice = sweep.choose(grid, accuracy, finite, 100)
    results = record({"kd": method([0.5, 0.5], choice)})
    results.config["sweep"] = {name: list(numbers) for name, numbers in values.items()}
    results.data = DataSummary("mine", 2, train=300, test=20, validation=100)
    return results


# Any number at all, and more often one that a comparison may have.
NUMBERS = st.floats() | st.floats(0, 1)
NAMES = st.text(min_size=1, max_size=20) | st.sampled_from(["ce", "kd", "a/b", "$x_", "[red]|"])


@st.composite
def methods_of_any_numbers(draw: st.DrawFn, seeds: int, epochs: int) -> MethodResults:
    """A method with any numbers in its curves, swept or not, of one hyperparameter to three."""
    row = st.lists(NUMBERS, min_size=seeds, max_size=seeds)
    curve = st.lists(row, min_size=epochs, max_size=epochs)
    metrics = ["loss", "test_accuracy", "teacher_agreement", "validation_accuracy"]
    curves = {metric: draw(curve) for metric in metrics}
    for metric in ("test_accuracy_of_average", "calibration_error", "test_loss"):
        if draw(st.booleans()):
            curves[metric] = draw(curve)
    seconds = {part: draw(NUMBERS) for part in ("first_step", "steps", "evaluation")}
    choice = None
    if draw(st.booleans()):
        names = ["lr", "kd.weight", "kd.temperature"][: draw(st.integers(1, 3))]
        values = {name: draw(st.lists(NUMBERS, min_size=1, max_size=3)) for name in names}
        accuracy = st.lists(NUMBERS | st.none(), min_size=seeds, max_size=seeds)
        settings = [
            SettingResults(hyper, draw(accuracy), draw(st.none() | accuracy))
            for hyper in sweep.settings(values, values)
        ]
        choice = SweepResults(settings, draw(st.integers(0, len(settings) - 1)))
    bits = st.lists(st.booleans(), min_size=3 * seeds, max_size=3 * seeds)
    answers = draw(st.none() | bits.map(lambda drawn: np.array(drawn).reshape(seeds, 3)))
    if answers is not None:
        curves["test_accuracy"][-1] = answers.mean(1).tolist()
    loop = Plan("loop", compile="none", graph=0)
    plans = draw(st.sampled_from([[], [loop], [Plan("vmap", 2, compile="step"), loop]]))
    return MethodResults(list(range(seeds)), curves, seconds, choice, answers, plans)


@st.composite
def results_of_any_numbers(draw: st.DrawFn) -> Results:
    """A comparison of up to eleven methods, some of which failed, or all."""
    seeds, epochs = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    one = methods_of_any_numbers(seeds, epochs)
    methods = draw(st.dictionaries(NAMES, one, max_size=3))
    failures = st.builds(Failure, st.sampled_from(get_args(Kind)), st.text(max_size=300))
    failed = draw(st.dictionaries(NAMES.filter(lambda name: name not in methods), failures))
    results = record({"ce": method([0.5] * seeds)})
    results.methods, results.failed = methods, failed
    results.unfinished = {name: draw(one) for name in failed if draw(st.booleans())}
    results.baseline = draw(st.sampled_from([*methods, *failed, "ce"]))
    results.seconds = {"total": draw(NUMBERS), "first_steps": draw(NUMBERS)}
    accuracy, curve = draw(NUMBERS), draw(st.lists(NUMBERS, max_size=2))
    results.teacher = draw(st.sampled_from([None, TeacherResults(accuracy, {"loss": curve})]))
    validation = draw(st.sampled_from([0, 100]))
    results.data = DataSummary("mine", 2, train=40, test=3, validation=validation)
    results.pilot = draw(st.sampled_from([None, 2])) if seeds > 1 else None
    return results
