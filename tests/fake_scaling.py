"""A measurement that never was, in round numbers."""

from typing import Any

from benchmarks.scalings.paper import lines
from benchmarks.scalings.projection import Comparison, Step

STEP = Step(fixed=1e-3, each=1e-4)
RUN = Comparison(members=32, once=70.0, teacher=10.0, dealt=30.0, step=STEP, bytes_read=1e8)


def row(name: str, clock: float, processor: float, sums: int = 0) -> dict[str, Any]:
    return {
        "network": "lightnn",
        "name": name,
        "ms": 4.0,
        "base_ms": 3.9,
        "by_clock": {"value": clock, "rounds": [clock - 0.1, clock, clock + 0.1]},
        "by_processor": {"value": processor, "rounds": [processor] * 3},
        "traffic": {"bytes": 17e6 if sums else 0, "sums": sums},
    }


def results() -> dict[str, Any]:
    rows = [row("members on 2, 8 each", 0.9, 0.97), row("batch on 2, 128 each", 0.6, 0.7, 39)]
    drawn = [line.entry() for line in lines(STEP, RUN, 1e6, (38, 100.0))]
    return {"measured": rows, "paper": {"lines": drawn}, "environment": {"cores": 2}}
