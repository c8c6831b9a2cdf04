"""Of one thing there is one, and of nothing there are none: in every word that is told of a run."""

import re
from dataclasses import replace

import pytest
from compare.comparison_records import WHERE, method, record
from matplotlib.figure import Figure
from matplotlib.text import Text

from fkd.compare import Factorial, Results, Teachers, Variance, sweep
from fkd.compare._counted import counted
from fkd.compare.presentation import (
    figures,
    sweep_figures,
    table,
    teachers_table,
    variance_table,
)
from fkd.compare.report import page
from fkd.compare.results import DataSummary


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (1, "seed", "1 seed"),
        (2, "seed", "2 seeds"),
        (0, "class", "0 classes"),
        (1, "class", "1 class"),
        (2, "batch", "2 batches"),
        (2, "epoch", "2 epochs"),
        (1200, "test image", "1,200 test images"),
        (1.0, "point", "1 point"),
        (1.5, "point", "1.5 points"),
    ],
)
def test_the_noun_agrees_with_the_number(number, noun, told):
    assert counted(number, noun) == told


# A number of things, as `1 seeds` and `1 more seeds` say it.
ONE_OF_SEVERAL = re.compile(
    r"\b1 (?:more |test |training |validation )?"
    r"(?:seed|epoch|method|student|teacher|setting|level|image|example|other|parameter|core|time"
    r"|run|step|point|classe)s\b"
)
ALONE = {"cores": 1}


def of_one(**config: object) -> Results:
    """A comparison of which there is one of everything that is told."""
    values = {"kd.weight": (0.5,)}
    choice = sweep.choose([{"kd.weight": 0.5}], [0.5], [True], 1)
    results = record({"kd": method([0.5], choice, epochs=1)}, environment=WHERE | ALONE)
    results.data = DataSummary("mine", 1, train=1, test=1, validation=1)
    results.config |= {"epochs": 1, "sweep": {name: list(v) for name, v in values.items()}}
    results.config |= {"teacher_epochs": 1, "methods": ["kd"]} | config
    results.parameters, results.resumed = {"teacher": 1, "student": 1}, 1
    return results


def drawn(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_the_words_of_a_comparison_agree_with_its_numbers():
    results = of_one()
    told = [table.markdown(results), page({"one": results}), results.summary]
    grid = [{"kd.weight": 0.5}, {"kd.weight": 1.0}]  # of one there is no picture
    swept = replace(results.methods["kd"], sweep=sweep.choose(grid, [0.5, 0.75], [True] * 2, 1))
    told += [drawn(figures.accuracy(results))]
    told += [drawn(sweep_figures.draw(replace(results, methods={"kd": swept}), "kd"))]
    assert "mine, 1 validation image, 1 seed, 1 epoch." in told[-1]
    assert not ONE_OF_SEVERAL.findall("\n".join(told))
    assert "1 training and 1 test image; 1 seed, 1 epoch, batch 10" in told[0]


def test_the_words_of_several_teachers_agree_with_their_numbers():
    runs = [of_one(teacher_seed=seed, seeds=[0, 1], sweep={}) for seed in (42, 43)]
    for run in runs:
        run.methods = {"kd": method([0.5, 0.75], epochs=1), "ce": method([0.5, 0.5], epochs=1)}
    teachers = Teachers.of(runs)
    alone = replace(teachers, teacher_seeds=[42], accuracy={}, teacher_accuracy=[0.5])
    told = [teachers_table.markdown(teachers), page({"one": teachers}), teachers.summary]
    assert not ONE_OF_SEVERAL.findall("\n".join(told))
    assert "1 of 2 teachers has ended" in alone.lacking


def test_the_words_of_a_factorial_agree_with_its_numbers():
    plan = Factorial(("init",), levels=2)
    results = of_one(sweep={})
    results.methods = {"kd": method([0.5, 0.75], epochs=1)}
    results.methods["kd"].seeds[:] = plan.seeds
    variance = Variance.of(plan, [results])
    told = [variance_table.markdown(variance), page({"one": variance}), variance.summary]
    assert not ONE_OF_SEVERAL.findall("\n".join(told))
    assert "1 epoch, batch 10" in told[0]
