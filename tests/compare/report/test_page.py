"""The page, parsed: it is whole and safe, and says what the results say."""

import re
from dataclasses import replace

import numpy as np
import pytest
from compare.comparison_records import method, record, results_of_any_numbers, swept
from compare.report.read_page import Page, check
from hypothesis import given, settings

from fkd.compare import report
from fkd.compare.results import Failure, MethodResults, Results, SweepResults

NASTY = "<script>alert('&')</script>"


def answered(accuracy: list[float], seed: int) -> MethodResults:
    """A method with its answers on 40 images, and its loss."""
    one = method(accuracy)
    random = np.random.default_rng(seed)
    right = random.random((len(accuracy), 40)) < np.array(accuracy)[:, None]
    curves = one.curves | {"test_loss": [[1.0] * len(accuracy), [0.5, 0.25, 0.75, 0.5]]}
    return MethodResults(one.seeds, curves, one.seconds, None, right)


def nasty() -> Results:
    """A run whose names and reasons are markup, of which one method failed."""
    methods = {
        "ce": answered([0.4, 0.5, 0.45, 0.5], 0),
        NASTY: answered([0.5, 0.6, 0.5, 0.7], 1),
        "kd\0 \ud800": answered([0.4, 0.6, 0.5, 0.6], 2),
    }
    results = record(methods, complete=False)
    results.failed = {"<b>dkd": Failure("error", "ValueError: </dd></main><img src=x>")}
    results.unfinished = {"<b>dkd": method([0.25, 0.35])}
    results.data = replace(results.data, name="<i>mine</i>", test=40)
    results.config |= {"dataset": "folder", "root": "/secret/<u>", "methods": ["ce", NASTY]}
    return results


@pytest.fixture(scope="module")
def page() -> Page:
    return check(report.page({"one": nasty()}))


def test_a_page_has_its_parts_in_order(page):
    titles = [title for level, title in page.headings if level == 2]
    assert titles == [
        "What was asked",
        "What may be concluded",
        "Accuracy",
        "Agreement, calibration and loss",
        "Over the epochs",
        "What failed",
        "Settings",
        "Environment",
        "How to run it again",
        "What each figure is",
    ]
    assert page.headings[0][1] == "<i>mine</i>: 4 methods, 4 seeds, 2 epochs"


def test_names_and_reasons_are_words(page):
    assert page.text.count(NASTY) > 5
    assert "ValueError: </dd></main><img src=x>" in page.text
    assert "kd\ufffd \ufffd" in page.text and "\0" not in page.text
    assert "Incomplete" in page.text and "/secret" not in page.text


def test_the_sentence_and_the_numbers_are_those_of_the_results(page):
    results = nasty()
    assert "can be told from ce by 4 seeds" in page.text
    accuracy = results.accuracy("ce")
    assert page.row("ce")[1] == f"{100 * accuracy.mean:.2f} ± {100 * (accuracy.deviation or 0):.2f}"
    head = next(row for row in page.rows if row[0].startswith("method"))
    words = [re.sub(r"[\d ]*$", "", cell) for cell in head]
    assert words[:3] == ["method", "accuracy %", "95 % interval"]
    assert "on images like these" in words and "− ce, points" in words and "adjusted p" in words
    assert page.row("<b>dkd")[1] == "error"
    assert ["<b>dkd", "2", "30.00 ± 7.07"] in [row[:3] for row in page.rows]


def test_each_note_is_referred_to_and_numbered_as_it_stands(page):
    places = [attrs["id"] for tag, attrs in page.elements if tag == "li" and "id" in attrs]
    references = [
        (attrs["href"], (attrs["aria-label"] or "").removeprefix("footnote "))
        for tag, attrs in page.elements
        if tag == "a"
    ]
    assert set(references) == {(f"#{place}", f"{k}") for k, place in enumerate(places, 1)}


def test_a_sweep_and_a_pilot_are_told():
    results = swept({"lr": (1.0, 2.0)})
    choice = results.methods["kd"].sweep
    assert choice is not None
    first, second = choice.settings
    rows = [replace(first, test_accuracy=[0.7, 0.8]), replace(second, test_accuracy=[0.6, 0.6])]
    results.methods["kd"] = method([0.7, 0.8], SweepResults(rows, choice.chosen))
    results.pilot = 2
    page = check(report.page({"one": results}))
    assert "The sweep" in [title for _, title in page.headings]
    # worth of a choice by each seed: 70 and 80 less the means of 65 and 70, so 7.5
    row = next(row for row in page.rows if row[:2] == ["kd", "lr 1"])
    assert "+7.50" in row
    assert "Stein" in page.text and "The first 2 seeds were a pilot" in page.text


def test_several_runs_stand_side_by_side():
    runs = {
        "first": record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.6])}),
        "<b>second": record({"ce": method([0.4, 0.5]), "hint": method([0.5, 0.7])}),
    }
    page = check(report.page(runs))
    assert page.headings[0][1] == "2 comparisons side by side"
    assert [title for level, title in page.headings if level == 2] == [
        "Side by side",
        "first",
        "<b>second",
        "What each figure is",
    ]
    assert page.row("kd")[1:] == ["+10.00 –", ""]
    assert "all have 1" in page.text  # of methods in common, so there are no ranks


def test_a_run_without_results_has_a_page():
    results = record({"ce": method([0.5])})
    results.methods, results.failed = {}, {"ce": Failure("memory", "the memory is full")}
    page = check(report.page({"one": results}))
    assert "concluded" in page.text


@pytest.mark.plain
def test_no_runs_are_refused():
    with pytest.raises(ValueError, match="page: there are no runs"):
        report.page({})
    with pytest.raises(ValueError, match="page: runs must be"):
        report.page([nasty()])  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
@settings(max_examples=10)
@given(results_of_any_numbers())
def test_any_results_have_a_page(results):
    check(report.page({"one": results}))
