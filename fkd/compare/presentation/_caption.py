"""What a table's figures are, and where and when they were measured."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fkd.compare._counted import counted, singular
from fkd.compare._difference import LEVEL, Difference
from fkd.compare._over_runs import OverRuns
from fkd.compare.presentation._numbers import p_value
from fkd.compare.presentation._steps import is_compiled, steps
from fkd.compare.results import DataSummary, Results
from fkd.compare.vary import TEACHER
from fkd.statistics import against_baseline

MARK = "†"


def caption(results: Results) -> str:
    """What the table's figures are, and where and when they were measured."""
    config, data = results.config, results.data
    lacks = lacking(results)
    whole = f"INCOMPLETE: {lacks}. " if lacks else ""
    teacher = "–"
    if results.teacher and math.isfinite(results.teacher.accuracy):
        teacher = f"{100 * results.teacher.accuracy:.2f}"
    why = why_all(results)
    pilot, interval, p = "", "Student's t interval", "the paired t-test's p"
    if results.pilot is not None:
        pilot = f" ({results.pilot} of them a pilot)"
        interval, p = "Stein's interval with the deviation of the pilot", "the p of its t"
    return (
        f"{whole}{data.name}: {splits(data)}; "
        f"{counted(results.seeds, 'seed')}{pilot}, {counted(config['epochs'], 'epoch')}, "
        f"batch {config['batch_size']}, "
        f"{_optimizer(config)}, {config.get('precision', 'fp32')}{_augmented(config)}"
        f"{_set(config)}; "
        f"{_networks(config)}teacher {teacher} %{_teacher_epochs(config)}. "
        f"{_how_chosen(results)}"
        f"Test accuracy after the last epoch: mean ± deviation over seeds, {interval}; * cannot be "
        f"told from the best{f' (as all are: {why})' if why else ''}; difference from "
        f"{results.baseline} paired by seed "
        f"(the same initial weights, {config['order']} order of batches), its interval and {p}, of "
        "each method by itself; agreement with the teacher in %; training seconds of all students "
        f"together, {'with compilation and ' * is_compiled(results)}without evaluation. "
        f"{_steps(results)}{_compiling(results.seconds)}"
        f"{where_and_when(results.environment, results.device)}"
    )


def lacking(results: Results) -> str:
    """Why not all is there that was asked for; nothing where it is."""
    if results.complete:
        return ""
    if TEACHER in results.failed:
        return "the teacher failed"
    return "a method failed or the run was stopped"


def state(record: OverRuns) -> str:
    """What is not whole, in front of all else."""
    return "" if record.whole else f"INCOMPLETE: {'; '.join(record.lacking)}. "


def where_and_when(environment: Mapping[str, Any], device: str) -> str:
    """`2026-11-24, a processor, 2 cores, torch 2.14.1.`"""
    on_gpu = device.startswith("cuda")  # which has a number behind it
    hardware = environment["gpu" if on_gpu else "processor"]
    cores, torch = environment["cores"], environment["torch"]
    return f"{environment['date'][:10]}, {hardware}, {counted(cores, 'core')}, torch {torch}."


def splits(data: DataSummary) -> str:
    """`898 training and 899 test images`."""
    test = counted(data.test, singular(f"test {data.unit}"))
    return f"{data.train:,} training and {test}"


def caption_of_wide(results: Results) -> str:
    """What the further figures of table.md are."""
    unit = results.data.unit
    joint, adjusted = "Bonferroni's on the t interval", "by max-t over sign flips of seeds"
    if results.pilot is not None:
        joint, adjusted = "Bonferroni's on Stein's", "by Holm"
    return (
        "At once: the interval of the difference that holds for all methods together, "
        f"{joint}, and p adjusted for all {adjusted}. On {unit} like these: the interval of the "
        f"difference where the test {unit} are as random as the seeds, both crossed; the others "
        f"are on these {unit}. The best epoch is each seed's own on the test set, told for what "
        "choosing it there would add to the accuracy and to the difference: no conclusion rests on "
        "it. Agreement, calibration error and test loss after the last epoch are compared as "
        "accuracy is; of the last two the lowest is the best."
    )


def why_at_odds(differences: Iterable[Difference], seeds: int) -> str:
    """The footnote of the p-values that bear its mark; nothing where none does."""
    if not any(one.at_odds for one in differences):
        return ""
    # Of differences that all point one way no flips but those of none and of all go as far.
    least = float(against_baseline(np.ones((1, seeds))).adjusted[0])
    return (
        f"{MARK} The interval for all at once leaves out zero, and this p does not say so: the "
        "interval rests on the normality of the differences, p on their symmetry alone, and flips "
        f"of the signs of {counted(seeds, 'seed')} allow no p below {least:.3g}."
    )


def why_all(results: Results) -> str:
    """Why all methods are among the best, where there are too few seeds for another answer."""
    seeds, several = results.seeds, len(results.methods) > 1 and not results.factorial
    least = 0.5**seeds  # the flip of none, of all: `fkd.statistics.best_set`
    if not several or seeds < 2 or results.pilot is not None or least <= LEVEL:
        return ""
    return f"flips of the signs of {seeds} seeds allow no p below {least:.3g}"


def adjusted(one: Difference) -> str:
    """The p-value for all at once, with a mark where the interval for all at once is at odds."""
    return p_value(one.adjusted) + (f" {MARK}" if one.at_odds else "")


def _networks(config: dict[str, Any]) -> str:
    """`student resnet20, teacher resnet56: `, where the command line chose them."""
    if "student_model" not in config:
        return ""
    return f"student {config['student_model']}, teacher {config['teacher_model']}: "


def _teacher_epochs(config: dict[str, Any]) -> str:
    epochs = config.get("teacher_epochs")
    if not epochs or epochs == config["epochs"]:
        return ""
    return f" after {counted(epochs, 'epoch')}"


def _augmented(config: dict[str, Any]) -> str:
    names = config.get("augment")
    return f", augmented by {' and '.join(names)}" if names else ""


def _set(config: dict[str, Any]) -> str:
    """The methods' numbers that were set on the command line; an optimizer's is in its words."""
    own = {name: value for name, value in config.get("set", {}).items() if "." in name}
    return "".join(f", {name} {value:g}" for name, value in own.items())


def _optimizer(config: dict[str, Any]) -> str:
    """`Adam 0.001`; results that name no optimizer are from before there was a choice."""
    swept = "lr" in config.get("sweep", {})
    if "training" in config:  # the command line's own words
        rate = f" {config['lr']:g}"
        return config["training"].replace(rate, " at the swept rates" if swept else rate, 1)
    name = config.get("optimizer", "Adam") or ("" if config["lr"] is None else "learning rate")
    if swept:
        return f"{name} at the swept rates"
    if config["lr"] is None:
        return name or "an optimizer of one's own"
    return f"{name} {config['lr']:g}"


def _steps(results: Results) -> str:
    """How the steps were taken, where that is known."""
    told = steps(results)
    return f"Steps: {told}. " if told else ""


def _compiling(seconds: dict[str, float]) -> str:
    """What compilation cost, once a run that compiled is over."""
    if "first_steps" not in seconds or "total" not in seconds:
        return ""
    return (
        f"Of the run's {seconds['total']:.1f} seconds, {seconds['first_steps']:.1f} were the first "
        "steps of its trainings, which compile; what is compiled is kept for the next run. "
    )


def _how_chosen(results: Results) -> str:
    if not results.config.get("sweep"):
        return ""
    counts = ", ".join(
        f"{name} {len(method.sweep.settings) if method.sweep else 1}"
        for name, method in results.methods.items()
    )
    teacher = ""
    if results.teacher and results.teacher.curves:  # it was trained here, at the plain rate
        unswept = _optimizer(results.config | {"sweep": {}})
        teacher = f" and the teacher ({unswept})"
    data = results.data
    split = f"a validation split of {counted(data.validation, singular(data.unit))}"
    rest = "the whole training set"
    if results.config.get("validation") is not None:
        split, rest = f"{split}, held out of the training set", "the rest"
    return (
        f"Hyperparameters were chosen by mean accuracy over seeds on {split} "
        f"(settings: {counts}); the students{teacher} were trained on {rest}. "
    )
