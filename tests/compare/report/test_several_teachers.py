"""The page of several teachers, parsed: methods, teachers, what varies, the picture."""

from compare.comparison_records import method, record
from compare.report.read_page import check
from compare.test_teachers import BY_HAND, above

from fkd.compare import report
from fkd.compare.report import _several_teachers


def test_a_page_has_its_parts_in_order():
    told = above(BY_HAND)
    told.teachers_asked, told.waiting = 4, ["hint"]
    page = check(report.page({"one": told}))
    assert [title for level, title in page.headings if level == 2][2:5] == [
        *("Accuracy", "Teachers", "What varies")
    ]
    assert page.headings[0][1] == "mine, 2 teachers, 3 seeds, 2 epochs"
    assert "Incomplete: hint is not trained yet with all teachers; 2 of 4 teachers" in page.text
    assert "Is kd above ce on mine, and by how much? What of that holds with teachers" in page.text
    assert "(teacher, 75.00 to 75.00 % right on the test set)" in page.text
    assert len([tag for tag, _ in page.elements if tag == "svg"]) == 1


def test_figures_by_hand():
    # in tests of the record: the mean is 4, the teachers' 2 and 6; teacher √(22 / 3), seed √3
    methods, teachers, parts, *_ = _several_teachers.part("a", "one", above(BY_HAND)).tables
    _, like = above(BY_HAND).over("kd")[1:]
    assert [row.cells[:2] for row in methods.rows] == [["50.00", ""], ["54.00", "+4.00"]]
    assert methods.rows[1].cells[3] == f"[{100 * like.low:+.2f}, {100 * like.high:+.2f}]"
    assert [(row.head, *row.cells) for row in teachers.rows] == [
        ("42", "75.00", "50.00", "52.00"),
        ("43", "75.00", "50.00", "56.00"),
    ]
    cells = next(row.cells for row in parts.rows if row.head == "kd − ce")
    assert [cell.partition(" ")[0] for cell in cells] == ["2.71", "1.73", "1.41"]


def test_beside_comparisons_these_alone_have_ranks():
    told, one = above(BY_HAND), record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.6])})
    told.waiting = ["hint"]
    page = check(report.page({"teachers": told, "one": one}))
    assert page.headings[0][1] == "2 comparisons side by side"
    assert "Ranks over the runs" not in [title for _, title in page.headings]
    assert page.text.count("Incomplete: hint is not trained yet") == 2  # side by side, and below
    page = check(report.page({"teachers": told, "one": one, "two": one}))
    assert "Ranks over the runs" in [title for _, title in page.headings]
    assert page.row("kd")[1:] == ["+10.00 –"] * 2
    none = above(BY_HAND)
    none.accuracy.clear()
    assert "nothing can be concluded" in check(report.page({"one": none})).text
