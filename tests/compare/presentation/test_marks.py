"""What pictures are made of: dots at their places, and the frame about them."""

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
