"""The tutorial's whole table is scaled from its parts."""

import pytest

from benchmarks.speed import rivals, timed, whole


def timing(ms: float, first: float = 0.0) -> timed.Timing:
    return timed.Timing(first, 1, [ms] * 3, 100.0)


def test_the_whole_table_is_scaled_from_its_parts():
    timings = {}
    for group in whole.sides("cpu", ["fp32", "bf16"]):
        for side in group:
            if side.loop == "fkd's teacher":
                timings[side] = timing(512.0)  # a millisecond an image
            elif side.loop == "fkd":
                timings[side] = timing(8.0, first=10.0)  # of 4 members
            else:
                timings[side] = timing(250.0 if side.resident else 500.0, first=10.0)
    totals = whole.totals(timings)
    assert totals["setting"]["steps"] == 3910  # 10 epochs of 391
    rows = totals["rows"]
    slow, resident = "tutorial as it stands", "tutorial, live teacher"
    assert list(rows) == [slow, resident, "fkd, fp32", "fkd, bf16"]
    for name, seconds in ((slow, 7820), (resident, 3910)):
        assert rows[name]["seconds"] == dict.fromkeys(rivals.METHODS, seconds)  # 4 students each
        assert rows[name]["total"] == 4 * seconds
    ours = rows["fkd, fp32"]
    each = 10 + 0.008 * 3910  # the first step as it is, and 4 students at once
    assert ours["seconds"] == pytest.approx(dict.fromkeys(rivals.METHODS, each))
    assert ours["teacher"] == pytest.approx(50)  # 50,000 images, once for all methods
    assert ours["total"] == pytest.approx(50 + 4 * each)
    faster = ours["times_as_fast"][resident]
    assert faster["kd"] == pytest.approx(3910 / each)
    assert faster["total"] == pytest.approx(4 * 3910 / (50 + 4 * each))
