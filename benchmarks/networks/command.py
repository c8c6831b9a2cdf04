"""The command line: a table of milliseconds a student's step, and networks.json."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks._output import new_folder
from benchmarks.networks.sides import Side, make, peak
from benchmarks.speed import timed
from benchmarks.speed.timed import Timing
from benchmarks.speed.whole import IMAGES
from fkd import _check
from fkd.compare.environment import environment
from fkd.compare.presentation.table import show
from fkd.data import steps_per_epoch
from fkd.execution import PRECISIONS
from fkd.models import MODELS


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for; raises ValueError for what makes no sense."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/networks",
        description="How fast any network trains by fkd, beside a plain loop of the same work.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--networks", nargs="+", default=["resnet20"])
    parser.add_argument(
        "--members", type=int, nargs="+", default=[8], help="students of an ensemble"
    )
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a side in a round")
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS)
    parser.add_argument("--augment", action="store_true", help="crop and flip the images")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--no-compile", action="store_true", help="leave compiled sides out")
    ways.add_argument("--no-eager", action="store_true", help="leave out what is not compiled")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--output", help="a new folder (default: runs/networks-DATE)")
    values = parser.parse_args(arguments)
    for name in values.networks:
        if ":" not in name:
            _check.known("--networks", "network", name, MODELS)
    for members in values.members:
        _check.positive("--members", members=members)
    for flag in ("batch_size", "image_size", "rounds", "seconds"):
        _check.positive(f"--{flag.replace('_', '-')}", **{flag: getattr(values, flag)})
    if values.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device: cuda was asked for, but torch finds no GPU; use cpu")
    if values.device == "cpu" and values.precision == "tf32":
        raise ValueError("--precision: tf32 is a GPU's, but the device is cpu; use fp32 or bf16")
    return values


def groups(values: argparse.Namespace) -> Iterator[list[Side]]:
    """What is timed in turn, each time beside the plain loop of its network: first all that is not
    compiled, then what is, one by one, for each may take a minute to compile."""
    layout = "vmap" if values.device == "cuda" else "loop"
    shared = {
        "batch": values.batch_size,
        "image": values.image_size,
        "device": values.device,
        "precision": values.precision,
        "augment": values.augment,
    }
    for name in values.networks:
        plain = Side("plain", name, **shared)
        eager = [Side("fkd", name, members, layout=layout, **shared) for members in values.members]
        if not values.no_eager:
            yield [plain, *eager]
        if not values.no_compile:
            yield from ([plain, replace(side, compile="step")] for side in eager)


def rows(timings: Mapping[Side, Timing]) -> list[dict[str, Any]]:
    """Each side of a group by a student's step, and how it stands to the plain loop, if that ran.

    `epoch_s` are the seconds that a student's epoch over CIFAR-10's images would take.
    """
    entries = []
    for side, timing in timings.items():
        bases = [other for other in timings if other.loop == "plain"]
        ratios = [timed.ratio(timing, timings[base]) / side.members for base in bases]
        entries.append(
            {
                "side": str(side),
                "network": side.network,
                "members": side.members,
                "ms": timing.ms / side.members,
                "epoch_s": timing.ms / side.members / 1e3 * steps_per_epoch(IMAGES, side.batch),
                "of_plain": ratios[0] if ratios else None,
                "first_step": timing.first_step,
                "peak": timing.peak,
                "rounds": [ms / side.members for ms in timing.rounds],
            }
        )
    return entries


def table(entries: Sequence[Mapping[str, Any]]) -> Table:
    whole = Table(
        "side",
        "ms a student's step",
        "s an epoch",
        "of the plain loop",
        "first step, s",
        "peak, MiB",
    )
    for entry in entries:
        whole.add_row(
            entry["side"],
            f"{entry['ms']:.2f}",
            f"{entry['epoch_s']:.1f}",
            "" if entry["of_plain"] is None else f"{entry['of_plain']:.2f}",
            f"{entry['first_step']:.1f}",
            f"{entry['peak']:.0f}",
        )
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, or 2 where it was refused or a side failed."""
    console, errors = Console(), Console(stderr=True, style="bold red", soft_wrap=True)
    try:
        values = parse(arguments)
        folder = new_folder(values.output, "networks")
    except ValueError as error:
        errors.print(f"networks: {error}", markup=False)
        return 2
    entries: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    whole = {
        "setting": {key: value for key, value in vars(values).items() if key != "output"},
        "environment": environment(),
        "sides": entries,
        "left_out": left_out,
    }
    for group in groups(values):
        with console.status("measuring"):
            timings, failed = timed.alternate(
                group, make, peak, rounds=values.rounds, seconds=values.seconds
            )
        entries += rows(timings)
        left_out |= {str(side): str(why) for side, why in failed.items()}
        # After each, so that one that takes too long loses no other.
        (Path(folder) / "networks.json").write_text(json.dumps(whole, indent=1) + "\n")
    show(console, table(entries))
    for why in left_out.values():
        errors.print(f"networks: {why}", markup=False)
    console.print(f"Written to {folder}", soft_wrap=True)
    return 2 if left_out else 0
