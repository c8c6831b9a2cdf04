"""The picture of what varies: each source's deviation at its place, and what is cut."""

import numpy as np
from compare.test_variance import PLAN, by_order, random, runs
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from PIL import Image

from fkd.compare import Variance
from fkd.compare.presentation import variance_figures

# By hand in tests of the record, here in hundredths: init √(26 / 3), order √(2 / 3), rest 1.
BY_HAND = [[0.01, 0.02, 0.03], [0.04, 0.04, 0.07], [0.07, 0.09, 0.08]]


def circles(axes: Axes) -> list[Collection]:
    """The dots, without the arrows."""
    return [one for one in axes.collections if len(np.asarray(one.get_paths()[0].vertices)) > 10]


def test_deviations_and_intervals_stand_at_their_places():
    variance = by_order(BY_HAND)
    (axes,) = variance_figures.draw(variance.of_differences, 5).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["", "init", "order", "rest"] and axes.texts[0].get_text() == "kd"
    dots = circles(axes)
    places = [tuple(np.asarray(dot.get_offsets())[0]) for dot in dots]
    np.testing.assert_allclose(places, [((26 / 3) ** 0.5, 1), ((2 / 3) ** 0.5, 2), (1, 3)])
    parts = variance.of_difference("kd")
    for line, part in zip(axes.lines, parts.values(), strict=True):
        low, high = (100 * max(x, 0) ** 0.5 for x in (max(part.low, 0), part.high))
        frame = axes.get_xlim()[1]
        np.testing.assert_allclose(np.asarray(line.get_xdata()), [low, min(high, frame)])
    assert axes.get_xlim()[0] == 0


def test_an_interval_that_is_cut_says_where_it_ends():
    variance = by_order(BY_HAND)
    part = variance.of_difference("kd")["init"]
    (axes,) = variance_figures.draw(variance.of_differences, 5).axes
    assert 100 * part.high**0.5 > axes.get_xlim()[1]
    assert f"{100 * part.high**0.5:.2f}" in [text.get_text() for text in axes.texts]


def test_a_source_that_is_not_seen_is_hollow():
    variance = by_order(BY_HAND)
    seen = [part.low > 0 for part in variance.of_difference("kd").values()]
    (axes,) = variance_figures.draw(variance.of_differences, 5).axes
    dots = circles(axes)
    assert [len(dot.get_facecolor()) > 0 for dot in dots] == seen and not all(seen)


def test_any_record_is_drawn(tmp_path):
    variance = Variance.of(PLAN, runs(random("ce", "kd")))
    variance.draw(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "variance.png").convert("L"))
    assert pixels.shape[1] > 1000 and pixels.std() > 10
    for values in variance.accuracy.values():  # nothing varies, and nothing is known
        values[:] = 0.5
    variance.draw(tmp_path)
    variance.accuracy.clear()
    variance.draw(tmp_path)
