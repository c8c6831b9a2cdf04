"""The command line of what each loss costs."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import torch
from rich.progress import track
from rich.table import Table

from benchmarks._output import new_folder
from benchmarks.losses import torchdistill
from benchmarks.losses.cases import BATCH, CLASSES, MAP
from benchmarks.losses.measure import measure
from fkd import _check, losses
from fkd.compare._command.console import consoles
from fkd.compare.environment import environment


def table(results: dict[str, Any]) -> Table:
    """A row a loss; a ratio below one means that ours is the quicker or the smaller."""
    rows = Table(box=None, padding=(0, 1))
    rows.add_column("loss", no_wrap=True)
    for column in ("forward ms", "+ gradient ms", "peak MiB", "time ratio", "memory ratio"):
        rows.add_column(column, justify="right")
    for name, entry in results["losses"].items():
        ours = entry["fkd"]
        rows.add_row(
            name,
            f"{ours['forward_ms']:.2f}",
            f"{ours['gradient_ms']:.2f}",
            f"{ours['gradient_peak_mib']:.1f}",
            f"{entry['time_ratio']:.2f}" if "time_ratio" in entry else "",
            f"{entry['memory_ratio']:.2f}" if "memory_ratio" in entry else "",
        )
    return rows


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/losses", description="What each loss costs, beside torchdistill's."
    )
    parser.add_argument("--losses", nargs="+", default=losses.__all__, choices=losses.__all__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", help="a new folder for the results")
    options = parser.parse_args(arguments)
    _check.positive("--rounds", rounds=options.rounds)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device: cuda was asked for, but torch finds no GPU; use cpu")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 2 where it was refused."""
    console, _ = consoles()
    try:
        options = parse(arguments)
        folder = new_folder(options.output, "loss-costs")
    except ValueError as error:
        console.print(f"losses: {error}", markup=False, soft_wrap=True)
        return 2
    if not torchdistill.installed():
        text = 'torchdistill is not installed, so ours stand alone: pip install "fkd[rivals]"'
        console.print(text, markup=False)
    device = torch.device(options.device)
    results = {
        "environment": environment(),
        "setting": {"batch": BATCH, "classes": CLASSES, "map": MAP, "rounds": options.rounds},
        "device": str(device),
        "losses": {
            name: measure(name, device, options.rounds)
            for name in track(options.losses, "measuring")
        },
    }
    (folder / "losses.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console.print(table(results))
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0
