"""The tables, of a measurement that never was."""

from fake_scaling import results
from rich.console import Console

from benchmarks.scalings.tables import measured_table, paper_table


def shown(table) -> list[str]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_what_was_measured():
    rows = shown(measured_table(results()))
    assert rows[2] == "lightnn members on 2, 8 each 4.00 3.90 0.90 0.97 0.00 0"
    assert rows[3] == "lightnn batch on 2, 128 each 4.00 3.90 0.60 0.70 17.00 39"


def test_what_was_put_on_paper_says_so():
    whole = results()
    rows = shown(paper_table(whole))
    assert "on paper" in rows[0] and "not measured" in rows[0]
    line = whole["paper"]["lines"][3]
    eight, more, none = rows[5].split()[-4:-1]
    assert eight == f"{100 * line['points']['8']:.1f}"
    assert more == f"{100 * line['points']['64']:.1f}"
    assert none == "none"  # of 128 examples
