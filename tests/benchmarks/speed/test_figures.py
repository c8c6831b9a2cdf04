"""The picture of a speed comparison."""

from typing import Any

import numpy as np

from benchmarks.speed import comparison, figures

RATES = {"bytes_a_second": 1e12, "flops_a_second": {"fp32": 1e12, "bf16": 2e12}}


def test_the_picture_holds_every_side():
    rows = [("tutorial", "fp32", 1, 10.0)]
    rows += [("fkd", p, k, 4.0 * k) for p in ("fp32", "bf16") for k in (1, 2)]
    rows.append(("jax", "fp32", 2, 5.0))
    steps = [
        {"loop": loop, "precision": p, "members": k, "ms": ms, "peak_mib": 100.0, "kept": False}
        for loop, p, k, ms in rows
    ]
    results: dict[str, Any] = {"steps": steps, "setting": {"device": "cpu"}, "imports_mib": 50.0}
    results["floor"] = comparison.floor_of(RATES)
    left, right = figures.scaling(results).axes
    values = [np.asarray(line.get_ydata()).tolist() for line in left.lines]
    floors = [results["floor"]["ms"][p]["fused"] for p in ("fp32", "bf16")]
    assert values == [[4.0, 8.0], [floors[0]] * 2, [4.0, 8.0], [floors[1]] * 2, [10.0] * 2]
    values = [np.asarray(line.get_ydata()).tolist() for line in right.lines]
    assert values == [[100.0] * 2] * 3 + [[50.0] * 2]
    for axes in (left, right):
        assert axes.get_ylim()[0] == 0
        assert axes.get_xscale() == "log"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
