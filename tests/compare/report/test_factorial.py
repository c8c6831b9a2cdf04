"""The page of a factorial, parsed: its components, its picture, and what is not whole."""

import pytest
from compare.report.read_page import Page, check
from compare.test_variance import PLAN, by_order, random, runs

from fkd.compare import Variance, report
from fkd.compare.failure import Failure
from fkd.compare.report import _factorial

# By hand in tests of the record: init √(26 / 3), order √(2 / 3), rest 1.
BY_HAND = [[0.01, 0.02, 0.03], [0.04, 0.04, 0.07], [0.07, 0.09, 0.08]]
NASTY = "<script>&"


@pytest.fixture(scope="module")
def page() -> Page:
    """Of a factorial of which one method failed, and another has not ended."""
    made = runs(random("ce", NASTY, "hint"))
    for run in made:
        run.config |= {"dataset": "folder", "methods": ["ce", NASTY, "hint", "dkd"]}
    del made[1].methods["hint"]
    made[0].failed["dkd"] = Failure("error", "it fell")
    return check(report.page({"one": Variance.of(PLAN, made)}))


def test_a_page_has_its_parts_in_order(page):
    assert [title for level, title in page.headings if level == 2] == [
        "What was asked",
        "What may be concluded",
        "Accuracy",
        "Difference from ce",
        "What failed",
        "Settings",
        "Environment",
        "How to run it again",
        "What each figure is",
    ]
    assert page.headings[0][1] == "What varies on mine, 2 levels of init, order, teacher, 2 epochs"


def test_what_is_not_whole_is_said(page):
    assert "Incomplete: hint is not trained yet with all teachers; dkd failed." in page.text
    assert "it fell" in page.text


def test_it_has_a_picture_of_accuracies_and_one_of_differences(page):
    titles = [f"Deviation that each source brings into {of}, in points" for of in WHAT]
    labels = [attrs["aria-labelledby"] for tag, attrs in page.elements if tag == "svg"]
    assert len(labels) == 2 and all(page.text.count(title) >= 2 for title in titles)
    assert "8 students of each method (student), every combination of 2 levels" in page.text
    assert "learned from each of 2 teachers" in page.text and "--levels" in page.text


WHAT = ("test accuracy", "the difference from ce")


def test_deviations_by_hand():
    part = _factorial.part("a", "one", by_order(BY_HAND))
    accuracy, difference, widths, *_ = part.tables
    assert [column.head for column in difference.columns] == [
        *("mean, points", "init", "order", "rest")
    ]
    (row,) = difference.rows
    assert (row.head, row.cells[0]) == ("kd", "+5.00")
    assert [cell.partition(" ")[0] for cell in row.cells[1:]] == ["2.94", "0.82", "1.00"]
    assert [row.head for row in accuracy.rows] == ["ce", "kd"]
    # √(1 + 8 (2 / 3) / (26 / 3 + 1))
    assert widths.rows[0].cells[0].startswith("1.25 [1.00, ")


def test_a_factorial_of_which_nothing_is_known_has_a_page():
    variance = by_order(BY_HAND)
    variance.accuracy.clear()
    text = check(report.page({"one": variance})).text
    assert "No difference from ce is known" in text
