"""The picture of several teachers: each one's difference, and both intervals."""

import numpy as np
from compare.test_teachers import BY_HAND, above
from PIL import Image

from fkd.compare.presentation import teachers_figures


def test_teachers_and_intervals_stand_at_their_places():
    record = above(BY_HAND)
    (axes,) = teachers_figures.draw(record, 5).axes
    mean, teachers = (np.asarray(one.get_offsets())[:, 0] for one in axes.collections)
    np.testing.assert_allclose(teachers, [2, 6])  # by hand in tests of the record
    np.testing.assert_allclose(mean, [4])
    _, these, like = record.over("kd")
    thin, thick, _ = axes.lines
    assert thin.get_linewidth() < thick.get_linewidth()
    np.testing.assert_allclose(np.asarray(thin.get_xdata()), [100 * like.low, 100 * like.high])
    np.testing.assert_allclose(np.asarray(thick.get_xdata()), [100 * these.low, 100 * these.high])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["kd"]


def test_any_record_is_drawn(tmp_path):
    record = above(BY_HAND)
    record.draw(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "teachers.png").convert("L"))
    assert pixels.shape[1] > 700 and pixels.std() > 10
    record.accuracy.clear()
    record.draw(tmp_path)
