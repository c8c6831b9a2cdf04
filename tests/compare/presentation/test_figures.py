"""The pictures: which are drawn, what stands in them, and that they are drawn anew from a file."""

import os
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from compare.comparison_records import method, record, results_of_any_numbers, swept
from hypothesis import given, settings
from PIL import Image

from fkd.compare.conclusions import differences
from fkd.compare.presentation import figures
from fkd.compare.presentation._drawable import percent
from fkd.compare.results import DataSummary, Failure


def few():
    return record({"ce": method([0.4, 0.5]), "kd": method([0.5, 0.6])})


def many():
    return record({f"m{k}": method([0.4 + k / 50, 0.5]) for k in range(12)})


def names(folder):
    return sorted(path.name for path in folder.glob("*.png"))


@pytest.mark.parametrize("results", [few(), many()], ids=["few", "many"])
def test_every_comparison_has_its_two_pictures(results, tmp_path):
    results.draw(tmp_path)
    assert names(tmp_path) == ["accuracy.png", "curves.png"]
    for name in names(tmp_path):
        pixels = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert pixels.shape[1] > 1000 and pixels.std() > 10


def test_accuracies_and_differences_stand_at_their_places():
    left, right = figures.accuracy(few()).axes
    seeds = [np.asarray(dots.get_offsets())[:, 0] for dots in left.collections]
    assert np.allclose(seeds[0], [40, 50]) and np.allclose(seeds[2], [50, 60])
    assert np.allclose(seeds[1], 45) and np.allclose(seeds[3], 55)  # the means' diamonds
    assert np.allclose(right.collections[0].get_offsets(), [[10, 0.78], [10, 1.22]])
    assert [label.get_text() for label in left.get_yticklabels()] == ["ce", "kd"]
    assert "teacher 75.00 %" in left.get_title()


def test_a_thin_line_holds_for_all_methods_at_once():
    more = {"kd": method([0.5, 0.62, 0.55]), "hint": method([0.4, 0.52, 0.45])}
    results = record({"ce": method([0.4, 0.5, 0.45])} | more)
    _, right = figures.accuracy(results).axes
    *bars, zero = right.lines
    assert np.array_equal(np.asarray(zero.get_xdata()), [0, 0])
    for row, one in enumerate(differences(results).values(), start=1):
        joint, own = bars[2 * row - 2 : 2 * row]
        assert np.array_equal(np.asarray(joint.get_ydata()), [row, row])
        assert np.array_equal(np.asarray(own.get_ydata()), [row, row])
        assert joint.get_linewidth() < own.get_linewidth()
        np.testing.assert_allclose(
            np.asarray(joint.get_xdata()), percent([one.joint_low, one.joint_high])
        )
        np.testing.assert_allclose(np.asarray(own.get_xdata()), percent([one.low, one.high]))


def test_many_methods_stand_in_the_order_of_their_means():
    left, _ = figures.accuracy(many()).axes
    assert [label.get_text() for label in left.get_yticklabels()][:2] == ["m11", "m10"]


def test_the_curves_of_a_sweep_are_those_of_the_validation_split():
    results = swept({"lr": (1.0, 2.0)})
    (panel,) = figures.curves_together(results).axes
    assert panel.get_title() == "Validation accuracy, %"
    results.data = DataSummary("mine", 2, train=1, test=1)
    assert len(figures.curves_together(results).axes) == 2


def test_many_curves_have_a_panel_each_with_the_baseline_in_grey():
    panels = figures.curves_apart(many()).axes
    assert [len(panel.lines) for panel in panels] == [2] * 12


LONG = Failure("error", "RuntimeError: $x_ " + "a long reason " * 40)
FAILED = {"dkd": Failure("diverged", "member 0 (seed 3)"), "mine": LONG}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_who_failed_stands_below_the_others_with_the_reason():
    results = few()
    results.failed = FAILED
    figure = figures.accuracy(results)
    left, _ = figure.axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels == ["ce", "kd", "dkd", "mine"]
    assert [text.get_position()[1] for text in left.texts] == [2, 3]
    short, long = texts(left)
    assert short == "member 0 (seed 3)"
    first, last = long.split("\n")
    assert first.startswith("RuntimeError: $x_ a long") and len(first) <= 150
    assert last.endswith(" …")
    note = figure.get_supxlabel()
    assert "Failed: dkd\xa0(diverged), mine\xa0(error)" in note


def test_of_many_methods_who_failed_has_a_panel_with_the_reason():
    results = many()
    results.failed = FAILED
    panels = figures.curves_apart(results).axes
    assert len(panels) == 14 and [len(panel.lines) for panel in panels[-2:]] == [0, 0]
    assert [panel.get_title() for panel in panels[-2:]] == ["dkd  failed", "mine  failed"]
    assert texts(panels[-2]) == ["member 0 (seed 3)"]
    assert len(texts(panels[-1])[0].split("\n")) == 8


@pytest.mark.parametrize("number", [2, 12])
def test_where_all_failed_the_pictures_say_why(number, tmp_path):
    results = few()
    results.methods, results.failed = {}, {f"m{k}": LONG for k in range(number)}
    results.draw(tmp_path)
    assert names(tmp_path) == ["accuracy.png", "curves.png"]
    for name in names(tmp_path):
        pixels = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert pixels.max() == 255 and pixels.std() > 10
    left, _ = figures.accuracy(results).axes
    assert len(left.texts) == number


def test_a_baseline_that_failed_is_drawn_nowhere_but_as_failed(tmp_path):
    results = record({"kd": method([0.5, 0.6])}, baseline="ce", failed={"ce": LONG})
    results.draw(tmp_path)
    first, second = figures.curves_apart(results).axes
    assert len(first.lines) == 1 and len(second.lines) == 0


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    few().draw(tmp_path)
    before = (tmp_path / "accuracy.png").read_bytes()

    def torn(figure, path, **options):
        path.write_bytes(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(figures.Figure, "savefig", torn)
    with pytest.raises(KeyboardInterrupt):
        few().draw(tmp_path)
    assert (tmp_path / "accuracy.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_that_is_no_file_name_has_its_picture(tmp_path):
    results = swept({"lr": (1.0, 2.0)})
    results.methods = {"a/b": results.methods["kd"]}
    results.draw(tmp_path)
    assert names(tmp_path) == ["accuracy.png", "curves.png", "sweep-a%2Fb.png"]


def test_pictures_are_drawn_anew_from_a_folder(tmp_path):
    results = swept({"lr": (1.0, 2.0)})
    results.write(tmp_path)
    figures.main([str(tmp_path)])
    assert names(tmp_path) == ["accuracy.png", "curves.png", "sweep-kd.png"]


def test_a_sweep_of_one_setting_has_no_picture(tmp_path):
    swept({"lr": (1.0,)}).draw(tmp_path)
    assert names(tmp_path) == ["accuracy.png", "curves.png"]


def test_what_is_not_finite_is_left_out_of_a_picture(tmp_path):
    results = few()
    for name, value in (("ce", np.nan), ("kd", np.inf)):
        results.methods[name].curves["test_accuracy"][-1][0] = value
    results.draw(tmp_path)
    left, _ = figures.accuracy(results).axes
    seeds = np.ma.filled(left.collections[0].get_offsets(), np.nan)[:, 0]
    assert np.array_equal(seeds, [np.nan, 50], equal_nan=True)
    assert left.get_xlim() == pytest.approx((49.5, 60.5))  # of the seeds that there are


@pytest.mark.slow
@given(results_of_any_numbers())
@settings(max_examples=settings().max_examples // 2 or 1)
def test_any_results_are_drawn(results):
    with TemporaryDirectory() as folder:
        results.draw(folder)
        assert {"accuracy.png", "curves.png"} <= set(os.listdir(folder))
