"""A run's tables, with numbers by hand."""

import numpy as np
import pytest
from compare.comparison_records import method, record, swept

from fkd.compare.report import _tables
from fkd.compare.report._table import Column, Row, Table
from fkd.compare.results import MethodResults


def cells(table: Table, head: str) -> dict[str, str]:
    row = next(row for row in table.rows if row.head == head)
    return dict(zip((column.head for column in table.columns), row.cells, strict=True))


def test_accuracy_by_hand():
    # differences 0, 10 and 20 points: mean 10, deviation 10, t(0.975, 2) = 4.303, so
    # 10 ± 4.303 · 10 / √3 = 24.84; for two methods at once t(0.9875, 2) = 6.205, so 35.83
    base = [0.4, 0.5, 0.3]
    results = record(
        {"ce": method(base), "kd": method([0.4, 0.6, 0.5]), "hint": method([0.3, 0.5, 0.4])}
    )
    told = cells(_tables.accuracy(results), "kd")
    assert told["accuracy %"] == "50.00 ± 10.00" and told["− ce, points"] == "+10.00"
    assert "of averages %" not in told
    assert told["for all at once"] == "[-25.83, +45.83]"
    assert told["seconds"] == "3.5" and "seeds" not in told and "on images like these" not in told
    why = "for flips of the signs of 3 seeds allow no p below 0.125"
    assert _tables.accuracy(results).caption.endswith(f"no method can be told from the best, {why}")
    results.methods["kd"].curves["test_accuracy_of_average"] = [[0.1] * 3, [0.6, 0.7, 0.8]]
    assert cells(_tables.accuracy(results), "kd")["of averages %"] == "70.00"
    results.pilot = 2
    assert cells(_tables.accuracy(results), "ce")["seeds"] == "3"


def test_the_best_are_marked_where_they_are_not_all():
    high = [0.9, 0.91, 0.92, 0.9, 0.93, 0.92]
    low = [0.5, 0.52, 0.5, 0.51, 0.5, 0.53]
    results = record({"ce": method(low), "kd": method(high)})
    assert [row.best for row in _tables.accuracy(results).rows] == [False, True]
    # of calibration error, which is the same number in this record, the lower is the better
    calibration = next(t for t in _tables.others(results) if t.caption.startswith("Calibration"))
    assert [row.best for row in calibration.rows] == [True, False]


def test_loss_is_told_in_nats():
    one, other = method([0.5, 0.5]), method([0.5, 0.5])
    one.curves["test_loss"] = [[9.0, 9.0], [1.0, 2.0]]
    other.curves["test_loss"] = [[9.0, 9.0], [0.5, 1.25]]
    results = record({"ce": one, "kd": other})
    loss = next(t for t in _tables.others(results) if t.caption.startswith("Test loss"))
    assert cells(loss, "ce")["nats"] == "1.5000 ± 0.7071"
    assert cells(loss, "kd")["− ce, nats"] == "-0.6250"


def test_variances_by_hand():
    # kd is right about all, ce about the first of two images: d is 0 and 1 with each seed, so
    # the image's component is 0.5, of which a half, a variance of 0.25, is in the mean: 50 points
    right = {"ce": [[True, False], [True, False]], "kd": [[True, True], [True, True]]}
    plain = method([0.5, 0.5])
    results = record(
        {
            name: MethodResults(plain.seeds, plain.curves, plain.seconds, None, np.array(answers))
            for name, answers in right.items()
        }
    )
    table = _tables.variances(results)
    assert table is not None
    assert cells(table, "kd") == {
        "− ce, points": "+50.00",
        "from seeds": "–",
        "from test images": "50.00",
        "from the rest": "–",
    }
    assert _tables.variances(record({"ce": plain})) is None


def test_the_choice_of_an_epoch_by_hand():
    base, own = method([0.5, 0.5]), method([0.5, 0.5])
    own.curves["test_accuracy"] = [[0.75, 0.5], [0.5, 0.5]]
    table = _tables.epochs(record({"ce": base, "kd": own}))
    assert table is not None
    told = cells(table, "kd")
    assert (told["last epoch %"], told["best epoch %"]) == ("50.00", "62.50")
    assert told["best − last, points"] == told["added to − ce"] == "+12.50"
    base.curves["test_accuracy"] = base.curves["test_accuracy"][-1:]
    assert _tables.epochs(record({"ce": base})) is None


def test_a_sweep_has_its_choice_and_no_worth_where_it_is_not_known():
    table = _tables.sweeps(swept({"lr": (1.0, 2.0)}))
    assert table is not None and cells(table, "kd")["chosen"] == "lr 1"
    assert [column.head for column in table.columns][-1] == "test %"
    assert _tables.sweeps(record({"ce": method([0.5])})) is None


def test_settings_and_environment_are_words():
    results = record({"ce": method([0.5])})
    results.config |= {"root": "/home/me/images", "output": "/home/me/out", "chunk": None}
    settings = _tables.settings(results.config, results.baseline, results.parameters)
    where = _tables.environment(results.device, results.environment, results.seconds, 2)
    assert settings.words and cells(settings, "root")["value"] == "images"
    heads = {row.head for row in settings.rows}
    assert "output" not in heads and "chunk" not in heads and "batch size" in heads
    assert cells(settings, "parameters of the student")["value"] == "5"
    assert cells(where, "processor")["value"] == "a processor"
    assert {"GPU", "steps"}.isdisjoint(row.head for row in where.rows)
    assert cells(where, "gone on with")["value"] == "2 times"
    where = _tables.environment("cpu", {}, {}, steps="loop, compiled")
    assert cells(where, "steps")["value"] == "loop, compiled"


def test_what_was_measured_of_methods_that_failed_later_by_hand():
    # differences of 10 and 20 points on the two seeds that both have: 15, and 63.53 to either side
    results = record({"ce": method([0.4, 0.4, 0.9])})
    assert _tables.unfinished(results) is None
    results.unfinished = {"kd": method([0.5, 0.6])}
    table = _tables.unfinished(results)
    assert table is not None and cells(table, "kd") == {
        "seeds": "2",
        "accuracy %": "55.00 ± 7.07",
        "− ce, points": "+15.00",
        "95 % interval": "[-48.53, +78.53]",
    }
    results.methods, results.baseline = {}, "kd"  # which itself failed
    table = _tables.unfinished(results)
    assert table is not None and [column.head for column in table.columns][-1] == "accuracy %"


def test_a_p_that_is_at_odds_with_its_interval_has_a_foot():
    base = [0.4, 0.5, 0.45, 0.41]
    own = [x + gap for x, gap in zip(base, (0.019, 0.021, 0.020, 0.020), strict=True)]
    results = record({"ce": method(base), "kd": method(own)})
    for table in (_tables.accuracy(results), *_tables.others(results)):
        assert cells(table, "kd")["adjusted p"] == "0.125 †"
        assert table.foot.startswith("† ") and "4 seeds allow no p below 0.125." in table.foot
    results.methods["kd"] = method(base[::-1])
    assert not _tables.accuracy(results).foot


@pytest.mark.parametrize("head", ["full", "half"])
def test_a_column_that_says_nothing_is_left_out(head):
    columns = [Column("full"), Column("half"), Column("none")]
    table = Table("", Column("of"), columns, [Row("a", ["1", "", "–"]), Row("b", ["2", "3", ""])])
    trimmed = table.trimmed()
    assert [column.head for column in trimmed.columns] == ["full", "half"]
    assert cells(trimmed, "b")[head] == cells(table, "b")[head]
