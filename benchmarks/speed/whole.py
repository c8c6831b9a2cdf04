"""The tutorial's whole table: every method's students over all epochs, a time step by step.

4 seeds of ce, kd, cosine and hint for 10 epochs over 50,000 images, the teacher given. The tutorial
trains one student after the other, its teacher beside it. fkd runs the teacher once over the
images, then trains each method's students as one ensemble. A few steps of each are measured and
scaled to the whole; not scaled is fkd's first step of each method, with what it compiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.speed.rivals import METHODS
from benchmarks.speed.sides import BATCH, TAUGHT, Side
from benchmarks.speed.timed import Timing
from fkd.data import steps_per_epoch

IMAGES, EPOCHS, SEEDS = 50_000, 10, 4
STEPS = EPOCHS * steps_per_epoch(IMAGES, BATCH)  # of a student


def sides(device: str, precisions: Sequence[str]) -> list[list[Side]]:
    """What is timed, in groups whose sides take turns: the teacher's passes, then each method."""
    groups = [[Side("fkd's teacher", precision=p, device=device) for p in precisions]]
    for method in METHODS:
        groups.append(
            [
                Side("tutorial", method, resident=False, cached=False, device=device),
                Side("tutorial", method, cached=False, device=device),
                *(Side("fkd", method, p, SEEDS, device=device) for p in precisions),
            ]
        )
    return groups


def totals(timings: Mapping[Side, Timing]) -> dict[str, Any]:
    """Seconds of the whole by who trains, with its parts, and how many times as fast fkd is.

    `seconds` of a method are its students' alone; `teacher` is what fkd's teacher takes, once.
    """
    rows: dict[str, Any] = {}
    for side, timing in timings.items():
        if side.loop == "fkd's teacher":
            row = rows.setdefault(f"fkd, {side.precision}", {})
            row["teacher"] = timing.ms / 1e3 / TAUGHT[side.device] * IMAGES
            continue
        name = side.name if side.loop == "tutorial" else f"fkd, {side.precision}"
        row = rows.setdefault(name, {})
        # A step of an ensemble advances all seeds; the tutorial's takes them one after the other.
        scaled = timing.ms / 1e3 * STEPS * (SEEDS / side.members)
        first = timing.first_step if side.loop == "fkd" else 0.0
        row.setdefault("first_step", {})[side.method] = first
        row.setdefault("scaled", {})[side.method] = scaled
        row.setdefault("seconds", {})[side.method] = first + scaled
    rows = dict(sorted(rows.items(), key=lambda row: row[0].startswith("fkd")))
    for row in rows.values():
        row["total"] = row.get("teacher", 0.0) + sum(row["seconds"].values())
    for name, row in rows.items():
        if not name.startswith("fkd"):
            continue
        row["times_as_fast"] = {
            other: {m: beside["seconds"][m] / row["seconds"][m] for m in row["seconds"]}
            | {"total": beside["total"] / row["total"]}
            for other, beside in rows.items()
            if not other.startswith("fkd")
        }
    return {
        "setting": {"images": IMAGES, "epochs": EPOCHS, "seeds": SEEDS, "steps": STEPS},
        "rows": rows,
        "measured": [asdict(side) | timing._asdict() for side, timing in timings.items()],
    }
