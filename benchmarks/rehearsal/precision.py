"""Whether students in one precision are as accurate as the same students in another.

python -m benchmarks.rehearsal.precision RUN RUN --output FOLDER

Both runs are folders of comparisons, with seeds in common: the same initial weights and the same
order of batches. A teacher that each run trains for itself is another one in each, so that methods
which ask it differ by more than rounding; cross-entropy does not.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks._output import new_folder
from fkd.compare.presentation.table import show
from fkd.compare.results import MethodResults, Results
from fkd.ensemble import Seed
from fkd.statistics import paired

POINTS = 100.0
Methods = Mapping[str, MethodResults]


def rows(first: Methods, second: Methods) -> Iterator[dict[str, Any]]:
    """Of each method that both runs have, the second's mean accuracy above the first's over the
    seeds in common, in points, with Student's t interval at 95 %."""
    for name, one in first.items():
        other = second.get(name)
        if other is None:
            continue
        of_first, of_second = by_seed(one), by_seed(other)
        seeds = [seed for seed in of_first if seed in of_second]
        result = paired([of_second[seed] for seed in seeds], [of_first[seed] for seed in seeds])
        yield {
            "method": name,
            "seeds": len(seeds),
            "difference": in_points(result.difference),
            "low": in_points(result.low),
            "high": in_points(result.high),
        }


def in_points(share: float | None) -> float | None:
    """A share in points, or None for what is no finite number."""
    return None if share is None or not math.isfinite(share) else POINTS * share


def by_seed(method: MethodResults) -> dict[Seed, float]:
    """Each seed's test accuracy after the last epoch; one that is not finite is nan."""
    accuracy = np.array(method.last("test_accuracy"), dtype=float).tolist()
    return dict(zip(method.seeds, accuracy, strict=True))


def table(results: dict[str, Any]) -> Table:
    first, second = results["runs"]
    title = f"{second['precision']} − {first['precision']}"
    whole = Table("method", "seeds", title, "95 % interval", box=None, padding=(0, 1))
    for row in results["rows"]:
        figures = [row[key] for key in ("difference", "low", "high")]
        mean, low, high = ("" if x is None else f"{x:+.2f}" for x in figures)
        interval = f"[{low}, {high}]" if low else ""
        whole.add_row(row["method"], str(row["seeds"]), mean, interval)
    return whole


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/rehearsal/precision",
        description="Whether students in one precision are as accurate as those in another.",
    )
    parser.add_argument("runs", nargs=2, type=Path, metavar="RUN")
    parser.add_argument("--output", help="a new folder for the results")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; return 0."""
    values = parse(arguments)
    both = [Results.read(run) for run in values.runs]
    folder = new_folder(values.output, "precision")
    results = {
        "runs": [
            {"precision": run.config["precision"], "environment": run.environment} for run in both
        ],
        "rows": list(rows(*(run.methods for run in both))),
    }
    (folder / "precision.json").write_text(json.dumps(results, indent=1) + "\n")
    show(Console(), table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
