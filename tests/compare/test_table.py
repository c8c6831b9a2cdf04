"""The table, its caption, and what a sweep chose in words."""

import pytest
from compare.comparison_records import method, record, swept
from rich.console import Console

from fkd.compare import table
from fkd.compare.results import Failure


def test_a_row_by_hand():
    # 50 and 60 %: mean 55, deviation 7.07, t(0.975, 1) = 12.71 · 5 = 63.53 to either side
    results = record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.6])})
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.markdown(results).splitlines()
    ]
    assert rows[0][:4] == ["method", "accuracy %", "95 % interval", "− ce"]
    assert rows[3][:4] == ["kd", "55.00 ± 7.07", "[-8.53, 118.53]", "+10.00"]
    assert rows[2][3:6] == ["", "", ""]
    assert rows[3][6:8] == ["55.00", "3.5"]


def test_the_best_epoch_stands_beside_the_last():
    falling, rising = method([0.4, 0.5]), method([0.5, 0.6])
    falling.curves["test_accuracy"] = [[0.6, 0.5], [0.4, 0.7], [0.5, 0.5]]
    results = record({"ce": falling, "kd": rising})
    assert falling.best("test_accuracy") == [0.6, 0.7]  # of each seed by itself
    rows = [line.strip("|").split("|") for line in table.markdown(results).splitlines()]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells[0][-2:] == ["best epoch %", "best − last"]
    assert cells[2][-2:] == ["65.00", "+15.00"] and cells[3][-2:] == ["55.00", "+0.00"]
    assert results.to_json()["methods"]["ce"]["best"]["mean"] == pytest.approx(0.65)


def test_averages_of_weights_have_a_column_where_there_are_any():
    plain, averaged = method([0.4, 0.5]), method([0.5, 0.6])
    averaged.curves["test_accuracy_of_average"] = [[0.1, 0.1], [0.7, 0.9]]
    rows = table.markdown(record({"ce": plain, "ema": averaged})).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0][-1] == "average %" and cells[2][-1] == "–" and cells[3][-1] == "80.00"


def test_one_seed_has_no_spread():
    results = record({"ce": method([0.4]), "kd": method([0.5])})
    row = table.markdown(results).splitlines()[3]
    assert [cell.strip() for cell in row.strip("|").split("|")][1:6] == [
        "50.00",
        "–",
        "+10.00",
        "–",
        "–",
    ]


def test_who_failed_has_a_row_and_its_reason_a_line():
    reason = "ValueError: " + "why " * 100
    results = record({"a|b": method([0.4, 0.5])})
    results.failed = {
        "kd [bold]": Failure("memory", reason),
        "dkd": Failure("diverged", "member 0"),
    }
    lines = table.markdown(results).splitlines()
    assert lines[2].startswith("| a\\|b ")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[3:5]]
    assert cells[0][:3] == ["kd [bold]", "no memory", ""] and cells[1][:2] == ["dkd", "diverged"]
    assert lines[6].startswith("- kd [bold] failed: ValueError: why") and lines[6].endswith(" …")
    assert len(lines[6]) < 330 and lines[7] == "- dkd failed: member 0"


def test_a_table_in_a_terminal_takes_names_as_they_are(capsys):
    results = record({"[/red]": method([0.4, 0.5])})
    table.show(Console(width=200), table.table(results))
    assert "− [/red]" in capsys.readouterr().out


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0009, "<0.001"), (0.25, "0.250")])
def test_p_is_told_to_three_places(p, text):
    assert table._p(p) == text


def test_no_figure_is_cut_on_a_narrow_terminal(capsys):
    results = record({"ce": method([0.4, 0.5]), "logit-standardised": method([0.5, 0.6])})
    table.show(Console(width=40), table.table(results))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "118.53" in printed


def test_the_caption_says_what_was_measured():
    results = record({"ce": method([0.4, 0.5])})
    caption = table.caption(results)
    assert caption.startswith("mine: 40 training and 20 test images; 2 seeds, 2 epochs, batch 10, ")
    assert "Adam 0.001, fp32; teacher 75.00 %. Test accuracy" in caption
    assert "2026-11-24, a processor, 2 cores, torch 2." in caption
    assert "first steps" not in caption
    results.complete = False
    results.seconds["first_steps"] = 4.0
    results.config |= {"order": "own", "precision": "bf16"}
    caption = table.caption(results)
    assert caption.startswith("INCOMPLETE: a method failed or the run was stopped. mine:")
    assert "own order of batches" in caption and "Adam 0.001, bf16;" in caption
    assert "Of the run's 9.0 seconds, 4.0 were the first steps" in caption


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"optimizer": "SGD"}, "batch 10, SGD 0.001, fp32"),
        ({"optimizer": None}, "batch 10, learning rate 0.001, fp32"),
        ({"optimizer": None, "lr": None}, "batch 10, an optimizer of one's own, fp32"),
    ],
)
def test_the_caption_names_the_optimizer_where_it_has_a_name(config, text):
    results = record({"ce": method([0.4, 0.5])})
    results.config |= config
    assert text in table.caption(results)


def test_a_sweep_is_told():
    results = swept({"lr": (1.0, 2.0, 3.0)}, diverged=5)
    text = table.markdown(results)
    assert "\n- kd: lr 1: validation 89.00 %, the best of 3 settings, 1 diverged\n" in text
    assert "- kd: lr 1 is at the edge of the swept 1 to 3" in text
    assert "Adam at the swept rates" in text
    assert "a validation split of 100 images, held out of the training set (settings: kd 3)" in text
    assert "the students and the teacher (Adam 0.001) were trained on the rest" in text


def test_a_validation_split_of_its_own_was_not_held_out():
    results = swept({"lr": (1.0, 2.0)})
    results.config["validation"] = None
    caption = table.caption(results)
    assert "on a validation split of 100 images (settings: kd 2)" in caption
    assert "were trained on the whole training set." in caption


def test_numbers_that_were_set_are_told():
    results = record({"ce": method([0.4, 0.5])})
    results.config |= {"training": "Adam 0.001", "set": {"lr": 0.001, "kd.weight": 0.5}}
    assert "Adam 0.001, fp32, kd.weight 0.5; teacher 75.00 %" in table.caption(results)
