"""How fast a member's step is, beside the plain loop of PyTorch's tutorial.

    pip install -e ".[compare]"
    python benchmarks/speed.py --output benchmarks/results/speed-cpu
    python benchmarks/speed.py --device cuda --members 1 8 32 128

KD of LightNN students on random images, with the teacher's logits looked up and the data on the
device on both sides. Each side lives in a process of its own, so that neither's settings touch the
other; they are warmed up, then timed in turn, and a figure is a median over rounds.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import matplotlib
import report
import rivals
import torch
from figures import FAINT, STYLE
from matplotlib.figure import Figure
from options import PRECISIONS
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils._pytree import tree_map

from fkd import _memory, data, methods, optim
from fkd.distillation import distill
from fkd.ensemble import ensemble
from fkd.model import functional
from fkd.models import DeepNN, LightNN

BATCH, EXAMPLES, CLASSES = 128, 4096, 10
STEPS = 32  # member-steps of a side in a round, or one step of many members


def made(device: str) -> tuple[torch.Tensor, ...]:
    """Images, labels and a teacher's logits."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (EXAMPLES, 3, 32, 32), generator=generator).byte()
    labels = torch.randint(CLASSES, (EXAMPLES,), generator=generator)
    logits = torch.randn(EXAMPLES, CLASSES, generator=generator)
    return images.to(device), labels.to(device), logits.to(device)


def plain(device: str, precision: str, members: int) -> Callable[[int], None]:
    """The tutorial's loop, one student."""
    images, labels, _ = made(device)
    teacher = DeepNN(CLASSES)
    given: Any = {"resident": True, "cached": True, "precision": precision, "batch_size": BATCH}
    return rivals.tutorial("kd", images, labels, teacher=teacher, device=device, **given)


def ours(device: str, precision: str, members: int) -> Callable[[int], None]:
    """An ensemble that is advanced as `fkd.train` does."""
    images, labels, logits = made(device)
    if device == "cpu":
        _memory.keep_freed()
    targets = {"labels": labels, "logits": logits}
    x, matched = data.take(images, targets, torch.arange(BATCH, device=device))
    net = functional(lambda: LightNN(CLASSES), PRECISIONS[precision])
    run_of = ensemble(distill(net, methods.kd(), optim.adam(1e-3), x, matched), compile=True)
    state = tree_map(lambda leaf: leaf.to(device), run_of.init(range(members)))
    order = data.order(0, 0, EXAMPLES, BATCH).to(device)
    done = 0

    def run(steps: int) -> None:
        nonlocal done
        for _ in range(steps):
            run_of.advance(state, *data.take(images, targets, order[done % len(order)]))
            done += 1
        if device != "cpu":
            torch.cuda.synchronize()

    return run


SIDES = {"plain": plain, "fkd": ours}


def work(pipe: Connection, side: str, device: str, precision: str, members: int) -> None:
    """A side's process: it takes a number of steps and gives seconds, and its peak in MiB."""
    run = SIDES[side](device, precision, members)
    run(3)
    pipe.send("ready")
    while steps := pipe.recv():
        begin = time.perf_counter()
        run(steps)
        pipe.send(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send(peak if device == "cpu" else torch.cuda.max_memory_allocated() / 2**20)


def measure(device: str, counts: list[int], rounds: int) -> list[dict[str, Any]]:
    """All sides in turn: milliseconds a member-step, and how they stand to the plain loop."""
    asked = [("plain", "fp32", 1)] + [("fkd", p, k) for p in PRECISIONS for k in counts]
    context, sides = multiprocessing.get_context("spawn"), []
    for side, precision, members in track(asked, "compiling"):
        mine, theirs = context.Pipe()
        process = context.Process(
            target=work, args=(theirs, side, device, precision, members), daemon=True
        )
        process.start()
        theirs.close()
        mine.recv()
        sides.append(mine)
    taken: list[list[float]] = [[] for _ in asked]
    for _ in track(range(rounds), "measuring"):
        for (_, _, members), pipe, times in zip(asked, sides, taken, strict=True):
            steps = max(1, STEPS // members)
            pipe.send(steps)
            times.append(1e3 * pipe.recv() / steps / members)
    found = []
    for (side, precision, members), pipe, times in zip(asked, sides, taken, strict=True):
        pipe.send(0)
        ratios = [a / b for a, b in zip(times, taken[0], strict=True)]
        found.append(
            {"side": side, "precision": precision, "members": members}
            | {"ms": statistics.median(times), "ratio": statistics.median(ratios)}
            | {"peak_mib": pipe.recv(), "rounds_ms": times}
        )
    return found


def table(found: list[dict[str, Any]]) -> Table:
    """A row a side."""
    shown = Table(box=None, padding=(0, 1))
    for column in ("side", "members", "ms a member-step", "of the plain loop", "peak MiB"):
        shown.add_column(column, justify="right")
    for row in found:
        name = f"{row['side']} {row['precision']}"
        figures = f"{row['ms']:.2f}", f"{row['ratio']:.2f}", f"{row['peak_mib']:.0f}"
        shown.add_row(name, str(row["members"]), *figures)
    return shown


def scaling(results: dict[str, Any]) -> Figure:
    """Time a member-step and memory over the number of members."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    counts = sorted({r["members"] for r in results["sides"][1:]})
    panels = (("ms", "Milliseconds a member-step"), ("peak_mib", "Peak memory of the process, MiB"))
    for axes, (key, title) in zip(figure.subplots(1, 2), panels, strict=True):
        for precision in PRECISIONS:
            rows = [
                r for r in results["sides"] if (r["side"], r["precision"]) == ("fkd", precision)
            ]
            counts, values = [r["members"] for r in rows], [r[key] for r in rows]
            axes.plot(counts, values, marker="o", label=f"fkd, {precision}")
        alone = results["sides"][0][key]
        axes.axhline(alone, color=FAINT, linestyle="--", label="the plain loop, one student")
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(k) for k in counts])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("members")
        axes.set_title(title)
        axes.grid()
    figure.axes[0].legend(frameon=False)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description="A member's step beside the tutorial's loop.")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", help="a new folder for the results")
    given = parser.parse_args()
    console = Console()
    if given.device == "cuda" and not torch.cuda.is_available():
        console.print("speed: cuda was asked for, but torch finds no GPU; use --device cpu")
        return 2
    folder: Path = report.new_folder(given.output, "speed")
    results = {
        "environment": report.environment(),
        "setting": {"device": given.device, "batch": BATCH, "rounds": given.rounds},
        "sides": measure(given.device, given.members, given.rounds),
    }
    (folder / "speed.json").write_text(json.dumps(results, indent=1) + "\n")
    with matplotlib.rc_context(STYLE):
        scaling(results).savefig(folder / "scaling.png", dpi=150, bbox_inches="tight")
    console.print(table(results["sides"]))
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
