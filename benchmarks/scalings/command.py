"""The command line: tables of what was measured and of what was put on paper, and scaling.json."""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks._output import new_folder
from benchmarks.scalings import efficiency, figures, launch
from benchmarks.scalings.efficiency import Pair, by_clock, by_processor, pairs
from benchmarks.scalings.hand import by_hand
from benchmarks.scalings.launch import SideFailed, Timing
from benchmarks.scalings.links import ETHERNET, INFINIBAND, NVLINK, PCIE
from benchmarks.scalings.paper import lines
from benchmarks.scalings.projection import measured_comparison, measured_step
from benchmarks.scalings.sides import Side
from benchmarks.scalings.tables import measured_table, paper_table
from fkd import _check
from fkd.compare._command.console import consoles
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show
from fkd.models import MODELS

H100 = Path(__file__).resolve().parents[1] / "results" / "gpu-h100"
LINE = 32, 128  # members, through whose steps on a GPU the line goes
COMPILED = ("lightnn",)  # of which a compilation is soon paid back


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/scaling.py",
        description="Students on more and more processes, and on paper on many GPUs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--networks", nargs="+", default=["lightnn", "resnet20"])
    parser.add_argument(
        "--members", type=int, nargs="+", default=[8, 1], help="a process, of each network"
    )
    parser.add_argument("--batch-size", type=int, nargs="+", default=[128, 32], help="of each")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a side in a round")
    parser.add_argument("--no-compile", action="store_true", help="train eagerly")
    parser.add_argument("--output", help="a new folder (default: runs/scaling-DATE)")
    values = parser.parse_args(arguments)
    for name in values.networks:
        if ":" not in name:
            _check.known("--networks", "network", name, MODELS)
    for flag in ("members", "batch_size"):
        numbers = getattr(values, flag)
        if len(numbers) != len(values.networks):
            raise ValueError(
                f"--{flag.replace('_', '-')}: there must be one number a network, but there are "
                f"{len(numbers)} and {len(values.networks)} networks"
            )
        for number in numbers:
            _check.positive(f"--{flag.replace('_', '-')}", **{flag: number})
    for flag in ("image_size", "rounds", "seconds"):
        _check.positive(f"--{flag.replace('_', '-')}", **{flag: getattr(values, flag)})
    return values


def bases(values: argparse.Namespace) -> list[Side]:
    """Of each network what one process trains."""
    return [
        Side(
            network,
            members,
            batch,
            compile="step" if network in COMPILED and not values.no_compile else "none",
            image=values.image_size,
        )
        for network, members, batch in zip(
            values.networks, values.members, values.batch_size, strict=True
        )
    ]


def entry(row: Pair, timings: Mapping[Side, Timing], sent: Mapping[Side, Any]) -> dict[str, Any]:
    """A pair as scaling.json holds it; `ms` are of a student's step, over the students of all
    ranks together, and `traffic` what a rank gives into the sums of a step."""
    base, side = timings[row.base], timings[row.side]
    sizes = [size for _, size in sent[row.side]] if row.side in sent else []
    return {
        "network": row.side.network,
        "name": row.name,
        "ranks": row.ranks,
        "work": row.work,
        "ms": side.ms / row.side.members,
        "base_ms": base.ms / row.base.members,
        "by_clock": by_clock(row, timings)._asdict(),
        "by_processor": by_processor(row, timings)._asdict(),
        "traffic": {
            "bytes": sum(sizes),
            "sums": len(sizes),
            "bytes_by_hand": sum(call.bytes for call in by_hand(row.side)),
        },
        "side": asdict(row.side),
        "base": asdict(row.base),
        "rounds_ms": {"side": asdict(side), "base": asdict(base)},
    }


def on_paper(sent: Mapping[Side, Any]) -> dict[str, Any] | None:
    """The projection, from what LightNNs sent and from what was measured on one H100; None where no
    LightNNs split a batch."""
    split = [side for side in sent if side.data_ranks > 1]
    light = [side for side in split if side.network == "lightnn"]
    if not light:
        return None
    gradient, norms = 0.0, (0, 0.0)
    for side in split:
        *small, largest = sorted(size for _, size in sent[side])
        if side in light:
            gradient = largest / side.members
        elif small:
            norms = len(small) // side.members, sum(small) / len(small) / side.data_ranks
    step = measured_step(H100 / "ladder-bf16" / "speed.json", LINE)
    one = measured_comparison(H100 / "table-bf16" / "results.json", step)
    return {
        "from": "benchmarks/results/gpu-h100: one H100, bf16, the steps of "
        f"{LINE[0]} and {LINE[1]} students and the table's seconds; links as published",
        "step": asdict(step),
        "comparison": asdict(one),
        "gradient_bytes_a_member": gradient,
        "small_sums_a_member": {"count": norms[0], "bytes_a_rank": norms[1]},
        "links": [asdict(link) for link in (NVLINK, INFINIBAND, PCIE, ETHERNET)],
        "lines": [line.entry() for line in lines(step, one, gradient, norms)],
    }


def measure(values: argparse.Namespace) -> dict[str, Any]:
    """What scaling.json holds. Raises `SideFailed`."""
    rows: list[dict[str, Any]] = []
    sent: dict[Side, Any] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for base in bases(values):
            each = pairs(base, os.cpu_count() or 1)
            sides = efficiency.sides(each)
            timings = launch.timed(sides, Path(name), values.rounds, values.seconds)
            several = [side for side in sides if side.ranks > 1]
            sent |= launch.counted(several, Path(name))
            rows += [entry(row, timings, sent) for row in each]
    return {
        "setting": {key: value for key, value in vars(values).items() if key != "output"},
        "environment": environment(),
        "measured": rows,
        "paper": on_paper(sent),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 2 where it was refused or a side failed."""
    console, errors = consoles()
    begin = time.perf_counter()
    try:
        values = parse(arguments)
        folder = new_folder(values.output, "scaling")
        whole = measure(values)
    except (ValueError, SideFailed) as error:
        errors.print(f"scaling: {error}", markup=False)
        return 2
    whole["seconds"] = time.perf_counter() - begin
    (folder / "scaling.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    figures.write(folder, whole)
    show(console, measured_table(whole))
    if whole["paper"] is not None:
        show(console, paper_table(whole))
        for line in whole["paper"]["lines"]:
            console.print(f"{line['name']}: {line['why']}", highlight=False)
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0
