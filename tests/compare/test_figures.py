"""The pictures: which are drawn, what stands in them, and that they are drawn anew from a file."""

import os
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from compare.comparison_records import method, record, results_of_any_numbers, swept
from hypothesis import given, settings
from PIL import Image

from fkd.compare import figures
from fkd.compare.results import DataSummary


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


def test_a_baseline_that_diverged_is_drawn_nowhere(tmp_path):
    results = record({"kd": method([0.5, 0.6])}, baseline="ce")
    results.draw(tmp_path)
    assert len(figures.curves_apart(results).axes[0].lines) == 1


def test_pictures_are_drawn_anew_from_a_folder(tmp_path):
    results = swept({"lr": (1.0, 2.0)})
    results.write(tmp_path)
    figures.main([str(tmp_path)])
    assert names(tmp_path) == ["accuracy.png", "curves.png", "sweep-kd.png"]


def test_a_sweep_of_one_setting_has_no_picture(tmp_path):
    swept({"lr": (1.0,)}).draw(tmp_path)
    assert names(tmp_path) == ["accuracy.png", "curves.png"]


@given(results_of_any_numbers())
@settings(deadline=None, max_examples=20)
def test_any_results_are_drawn(results):
    with TemporaryDirectory() as folder:
        results.draw(folder)
        assert {"accuracy.png", "curves.png"} <= set(os.listdir(folder))
