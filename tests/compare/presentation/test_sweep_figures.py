"""The pictures of sweeps: every setting stands at its place."""

import numpy as np
import pytest
from compare.comparison_records import method, record, swept

from fkd.compare.presentation import sweep_figures

VALUES = {
    "lr": (1e-4, 1e-3, 1e-2),
    "w": (1.0, 2.0, 4.0, 8.0),
    "v": (5.0, 6.0),
    "u": (7.0, 9.0),
}


@pytest.mark.parametrize("order", [("lr", "w", "v", "u"), ("w", "lr", "u", "v")])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_heat_maps_hold_every_setting_at_its_place(count, order):
    values = {name: VALUES[name] for name in order if name in list(VALUES)[:count]}
    results = swept(values, diverged=3)
    figure = sweep_figures.draw(results, "kd")
    drawn = {}
    for panel in figure.axes[:-1]:  # the last is the color bar
        facet = dict(part.split(" ") for part in panel.get_title().split(", ") if part)
        for text in panel.texts:
            x, y = text.get_position()
            here = facet | {"w": f"{VALUES['w'][int(x)]:g}", "lr": f"{VALUES['lr'][int(y)]:g}"}
            drawn[tuple(here[name] for name in values)] = text.get_text()
    choice = results.methods["kd"].sweep
    assert choice
    expected = {}
    for setting in choice.settings:
        if not setting.diverged:
            key = tuple(f"{value:g}" for value in setting.hyper.values())
            accuracy = np.array(setting.validation_accuracy, dtype=float)
            expected[key] = f"{100 * accuracy.mean():.1f}"
    assert drawn == expected
    assert len(expected) == len(choice.settings) - 1


def test_a_line_leaves_room_for_a_setting_that_diverged():
    figure = sweep_figures.draw(swept({"lr": (1.0, 2.0, 3.0)}, diverged=5), "kd")
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "2", "3"]
    assert [(text.get_text(), text.get_position()[0]) for text in panel.texts] == [("diverged", 2)]


def test_a_single_value_is_no_axis():
    (panel,) = sweep_figures.draw(swept({"w": (1.0,), "lr": (1.0, 2.0)}), "kd").axes
    assert panel.get_xlabel() == "lr"


def test_a_method_that_was_not_swept_is_refused():
    with pytest.raises(ValueError, match="draw: method 'ce' was not swept"):
        sweep_figures.draw(record({"ce": method([0.5])}), "ce")
