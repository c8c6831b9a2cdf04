"""The lines of the projection, and what their walls are said to be."""

import re

import pytest
from fake_scaling import RUN, STEP

from benchmarks.scalings.links import HGX, summed
from benchmarks.scalings.paper import GPUS, lines

LINES = [line.entry() for line in lines(STEP, RUN, 1e6, (38, 100.0))]


def test_every_axis_has_its_lines():
    assert [line["of"] for line in LINES] == ["members"] * 3 + ["batch"] * 3
    for line in LINES:
        assert list(line["points"]) == [str(gpus) for gpus in GPUS]
        assert line["points"]["1"] == pytest.approx(1)
        shares = [share for share in line["points"].values() if share is not None]
        assert shares == sorted(shares, reverse=True)
        assert (
            line["half"]
            == max((gpus for gpus in GPUS if (line["points"][str(gpus)] or 0) >= 0.5), default=1)
            or line["half"] > GPUS[-1]
        )


def test_a_batch_ends_with_its_examples():
    for line in LINES[3:]:
        assert line["points"]["128"] is not None and line["points"]["256"] is None


def test_numbers_of_the_walls():
    each, short, long, batch, normed, _ = (line["why"] for line in LINES)
    # 1,023 copies of 100 MB at 12.5 GB/s, of 110 seconds.
    assert "take 8 s of a run of 110" in each
    # A step of 1,024 members is 103.4 ms, of 32 is 4.2: 30 seconds become 738.6.
    assert "80 s beside 739 dealt" in short
    assert "1.4 % of what all students take" in long  # 240 of 24 · 738.6
    computed, summing, beyond = map(float, re.findall(r"\d+\.\d\d", batch))
    assert computed == pytest.approx(1.4)  # 1 and 32 · 0.1 / 8
    assert summing == pytest.approx(1e3 * summed(32e6, 8, HGX), abs=0.005)
    assert beyond == pytest.approx(1e3 * summed(32e6, 16, HGX), abs=0.005)
    (few,) = map(float, re.findall(r"\d+\.\d\d", normed))
    assert few == pytest.approx(1e3 * 38 * summed(8 * 3200, 8, HGX), abs=0.005)
