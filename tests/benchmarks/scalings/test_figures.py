"""The picture, of a measurement that never was."""

import numpy as np
from fake_scaling import results

from benchmarks.scalings import figures


def test_the_picture_holds_every_number():
    whole = results()
    left, right = figures.scaling(whole).axes
    medians = {str(line.get_label()): np.asarray(line.get_xdata()).tolist() for line in left.lines}
    by_clock, by_processor = (medians[label] for _, _, label, _ in figures.WAYS)
    assert (by_clock, by_processor) == ([0.9, 0.6], [0.97, 0.7])
    beside = [text.get_text() for text in left.texts]
    assert beside[1:] == ["4.0 ms, nothing", "4.0 ms, 17.0 MB in 39 sums"]
    drawn = {str(line.get_label()): line for line in right.lines}
    for line in whole["paper"]["lines"]:
        points = {int(gpus): s for gpus, s in line["points"].items() if s is not None}
        assert np.asarray(drawn[line["name"]].get_xdata()).tolist() == list(points)
        assert np.asarray(drawn[line["name"]].get_ydata()).tolist() == list(points.values())
    assert "not measured" in right.get_title()


def test_a_measurement_without_paper_has_its_panel():
    assert len(figures.scaling(results() | {"paper": None}).axes) == 1
