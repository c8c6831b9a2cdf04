"""Results that no comparison measured, for tests that read, write, tell and draw."""

import numpy as np

from fkd.compare import sweep
from fkd.compare.results import (
    DataSummary,
    MethodResults,
    Results,
    SweepResults,
    TeacherResults,
)

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
