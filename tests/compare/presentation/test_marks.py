"""What pictures are made of: dots at their places, the frame about them, and panels in one."""

import numpy as np
from compare.comparison_records import method, record
from matplotlib.figure import Figure

from fkd.compare._difference import Difference
from fkd.compare.presentation import _marks


def test_seeds_are_paired_by_what_they_are_and_not_by_place():
    results = record({"ce": method([0.4, 0.5, 0.6]), "kd": method([0.9, 0.5, 0.7])})
    results.methods["kd"].seeds[:] = [2, 0, 9]  # the last of which the baseline has not yet
    axes = Figure().subplots()
    _marks.difference(axes, 3, results, "kd", Difference(0.2), "C0")
    seeds, mean = (np.asarray(dots.get_offsets()) for dots in axes.collections)
    np.testing.assert_allclose(seeds, [[30, 2.78], [10, 3.22]])
    np.testing.assert_allclose(mean, [[20, 3]])
    assert not axes.lines  # no interval is known


def test_a_frame_has_half_as_much_again_on_either_side():
    axes = Figure().subplots()
    _marks.seeds(axes, 0, [10.0, 14.0], "C0")
    _marks.bar(axes, 0, (-1.0, 0.2), "C0", 1.0)
    _marks.frame(axes)
    np.testing.assert_allclose(axes.get_xlim(), (8, 16))
    axes = Figure().subplots()
    _marks.seeds(axes, 0, [10.0, np.nan], "C0")
    _marks.bar(axes, 0, (-1.0, 1.0), "C0", 1.0)
    _marks.frame(axes, 14.0)
    np.testing.assert_allclose(axes.get_xlim(), (8, 16))


def test_panels_have_the_frame_that_one_panel_of_all_their_curves_would_have():
    low, high = (
        np.array([[0.5, 1.0], [2.0, 3.0]]),
        np.array([[10.0, 11.0], [12.0, 20.0], [9.0, 9.5]]),
    )
    each = [_marks.Panel("a", [(low, "red")]), _marks.Panel("b", [(low, "grey"), (high, "red")])]
    figure = Figure()
    behind = _marks.panels(figure, each, 1, 3)
    alone = Figure().subplots()
    for values in (low, high):
        _marks.curve(alone, values, "red")
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", ""]
    assert behind == figure.axes[2:]
    for axes in figure.axes:
        assert axes.get_xlim() == alone.get_xlim() and axes.get_ylim() == alone.get_ylim()
    assert [len(axes.lines) for axes in figure.axes] == [1, 2, 0]
