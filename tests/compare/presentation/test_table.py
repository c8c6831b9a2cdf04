"""The tables, and what a sweep chose in words."""

from dataclasses import replace

import numpy as np
import pytest
from compare.comparison_records import method, record, swept
from rich.console import Console

from fkd.compare.conclusions import differences
from fkd.compare.presentation import table
from fkd.compare.results import Failure, Results

GAPS = [0.019, 0.021, 0.020, 0.020]


def cells(results: Results, which: int = 0) -> list[dict[str, str]]:
    """The rows of a table in table.md by what heads each column, where that is said once."""
    tables = [part for part in table.markdown(results).split("\n\n") if part.startswith("|")]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in tables[which].splitlines()
    ]
    return [dict(zip(head[::-1], row[::-1], strict=True)) for row in rows]


def test_rows_by_hand():
    # 50 and 60 %: mean 55, deviation 7.07, t(0.975, 1) = 12.71 · 5 = 63.53 to either side; the
    # differences are 10 and 20: mean 15, and 63.53 to either side; half of that at 81 images
    base, kd = cells(record({"ce": method([0.4, 0.4]), "kd": method([0.5, 0.6])}))
    assert kd["accuracy %"] == "55.00 ± 7.07" and kd["95 % interval"] == "[-8.53, 118.53]"
    assert kd["− ce"] == "+15.00" and kd["95 % at once"] == "[-48.53, +78.53]"
    assert kd["p"] == "0.205" and kd["p at once"] == "0.500" and kd["s"] == "3.5"
    assert base["− ce"] == base["p"] == base["95 % at once"] == ""
    assert base["*"] == kd["*"] == "*"  # two seeds tell nothing


def test_the_star_stands_with_those_that_cannot_be_told_from_the_best():
    low, high = [0.4, 0.5, 0.45, 0.41, 0.44], [0.6, 0.71, 0.64, 0.62, 0.63]
    results = record({"ce": method(low), "kd": method(high), "one": method(high[::-1])})
    assert [row["*"] for row in cells(results)] == ["", "*", "*"]
    assert [row["*"] for row in cells(record({"ce": method(low)}))] == [""]
    assert [row["*"] for row in cells(record({"a": method([0.1]), "b": method([0.9])}))] == [""] * 2


def test_the_sentence_stands_first():
    text = table.markdown(record({"ce": method([0.4, 0.4]), "kd": method([0.5, 0.6])}))
    assert text.startswith("kd cannot be told from ce by 2 seeds.\n\n| method |")


def test_agreement_calibration_and_loss_are_compared_as_accuracy_is():
    results = record({"ce": method([0.4, 0.4]), "kd": method([0.5, 0.6])})
    for name, loss in (("ce", [1.25, 1.5]), ("kd", [1.0, 0.75])):
        results.methods[name].curves["test_loss"] = [loss]
    lines = table.markdown(results).split("\n\n")[2].splitlines()
    head, _, base, kd = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    metric = ["*", "− ce", "95 % at once", "p at once"]
    titles = ["agreement %", "calibration error %", "test loss, nats"]
    assert head == ["method", *[name for title in titles for name in (title, *metric)]]
    agreement = ["55.00", "*", "+15.00", "[-48.53, +78.53]", "0.500"]
    # the losses differ by 0.25 and 0.75: mean 0.5, deviation 0.3536, and 12.71 · 0.25 = 3.1766
    loss = ["0.8750", "*", "-0.5000", "[-3.6766, +2.6766]", "0.500"]
    assert kd == ["kd", *agreement, *agreement, *loss]
    assert base == ["ce", *["40.00", "*", "", "", ""] * 2, "1.3750", "*", "", "", ""]


def test_images_like_these_have_a_column_where_answers_were_kept():
    right = np.array([[True, False] * 4, [False, True] * 4])
    more = ~right
    more[0, 0] = True
    results = record({"ce": method([0.5, 0.5]), "kd": method([0.625, 0.5])})
    assert "95 % on images like these" not in cells(results)[1]
    for name, answers in (("ce", right), ("kd", more)):
        results.methods[name] = replace(results.methods[name], answers=answers)
    base, kd = cells(results)
    assert base["95 % on images like these"] == ""
    images = differences(results)["kd"].images
    assert images and kd["95 % on images like these"] == (
        f"[{100 * images.low:+.2f}, {100 * images.high:+.2f}]"
    )
    results.data = replace(results.data, unit="examples")
    assert "95 % on examples like these" in cells(results)[1]
    results.data = replace(results.data, unit="images")
    # Seeds that are all the same show no spread, and images alone do not tell how sure it is.
    results.methods["kd"] = replace(method([0.5, 0.5]), answers=~right)
    assert cells(results)[1]["95 % on images like these"] == "–"


def test_the_best_epoch_stands_beside_the_last():
    falling, rising = method([0.4, 0.5]), method([0.5, 0.6])
    falling.curves["test_accuracy"] = [[0.6, 0.5], [0.4, 0.7], [0.5, 0.5]]
    results = record({"ce": falling, "kd": rising})
    assert falling.best("test_accuracy") == [0.6, 0.7]  # of each seed by itself
    base, kd = cells(results)
    assert (base["best epoch %"], base["best − last"], base["best adds"]) == ("65.00", "+15.00", "")
    assert kd["best epoch %"] == "55.00" and kd["best − last"] == "+0.00"
    # 0 − 10 and 0 − 20, and 63.53 to either side
    assert kd["best adds"] == "-15.00 [-78.53, +48.53]"
    assert results.to_json()["methods"]["ce"]["best"]["mean"] == pytest.approx(0.65)


def test_averages_of_weights_have_a_column_where_there_are_any():
    plain, averaged = method([0.4, 0.5]), method([0.5, 0.6])
    averaged.curves["test_accuracy_of_average"] = [[0.1, 0.1], [0.7, 0.9]]
    base, ema = cells(record({"ce": plain, "ema": averaged}))
    assert base["average %"] == "–" and ema["average %"] == "80.00"


def test_one_seed_has_no_spread():
    _, kd = cells(record({"ce": method([0.4]), "kd": method([0.5])}))
    assert kd["accuracy %"] == "50.00" and kd["− ce"] == "+10.00"
    assert kd["95 % interval"] == kd["p"] == kd["95 % at once"] == kd["p at once"] == "–"


def test_who_failed_has_a_row_and_its_reason_a_line():
    reason = "ValueError: " + "why " * 100
    results = record({"a|b": method([0.4, 0.5])})
    results.failed = {
        "kd [bold]": Failure("memory", reason),
        "dkd": Failure("diverged", "member 0"),
    }
    sentence, first, _, failed, _ = table.markdown(results).split("\n\n")
    assert sentence.endswith("; kd [bold] and dkd failed.")
    lines = first.splitlines()
    assert lines[2].startswith("| a\\|b ")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[3:5]]
    assert rows[0][:3] == ["kd [bold]", "no memory", ""] and rows[1][:2] == ["dkd", "diverged"]
    first, second = failed.splitlines()
    assert first.startswith("- kd [bold] failed: ValueError: why") and first.endswith(" …")
    assert len(first) < 330 and second == "- dkd failed: member 0"


def test_a_table_in_a_terminal_takes_names_as_they_are(capsys):
    results = record({"[/red]": method([0.4, 0.5])})
    table.show(Console(width=200), table.table(results))
    assert "− [/red]" in capsys.readouterr().out


def test_four_methods_fit_a_terminal():
    wide = [0.9123, 0.9321, 0.9012, 0.8903]
    rows = {"ce": method(wide)} | {k: method(wide[::-1]) for k in ("kd", "cosine", "hint")}
    shown = table.table(record(rows))
    console = Console(width=200)
    assert console.measure(shown).maximum <= 80


def test_no_figure_is_cut_on_a_narrow_terminal(capsys):
    results = record({"ce": method([0.4, 0.5]), "logit-standardised": method([0.5, 0.6])})
    table.show(Console(width=40), table.table(results))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "118.53" in printed


def test_a_sweep_is_told():
    results = swept({"lr": (1.0, 2.0, 3.0)}, diverged=5)
    text = table.markdown(results)
    assert "\n- kd: lr 1: validation 89.00 %, the best of 3 settings, 1 diverged\n" in text
    assert "- kd: lr 1 is at the edge of the swept 1 to 3" in text
    assert "of all settings" not in text  # which were not tested


def test_what_the_choice_of_a_setting_is_worth_is_told():
    results = swept({"lr": (1.0, 2.0)})
    one = results.methods["kd"]
    assert one.sweep
    first, second = one.sweep.settings  # 90.00 and 86.67, 83.33 and 80.00 on validation
    settings = [replace(first, test_accuracy=[0.8, 0.9]), replace(second, test_accuracy=[0.7, 0.7])]
    results.methods["kd"] = replace(one, sweep=replace(one.sweep, settings=settings))
    # 5 and 10 points above the mean: 7.5, and 12.71 · 2.5 to either side; validation is above test
    # by 10 and −3.33, and over both settings by 11.67 and 3.33
    assert table.choices(results)[-1] == (
        "kd: the setting that a seed alone would choose is +7.50 points [-24.27, +39.27] above the "
        "mean of all settings on the test set; validation tells -4.17 [-35.93, +27.60] too much of "
        "it"
    )


def test_a_p_that_is_at_odds_with_its_interval_has_a_footnote():
    base = [0.4, 0.5, 0.45, 0.41]
    rows = {"ce": method(base), "kd": method([x + d for x, d in zip(base, GAPS, strict=True)])}
    text = table.markdown(record(rows))
    # accuracy, and in this record agreement and calibration, which are the same number
    assert text.count("0.125 †") == 3 and text.count("\n† The interval for all at once") == 1
    assert "flips of the signs of 4 seeds allow no p below 0.125." in text
    assert "†" not in table.markdown(record({"ce": method(base), "kd": method(base[::-1])}))
