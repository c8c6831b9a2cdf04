"""What each loss costs: time and peak memory, forward and gradient, beside torchdistill's version.

    pip install -e ".[compare,rivals]"
    python benchmarks/loss_costs.py --output benchmarks/results/loss-costs-cpu

At batch 128: logits of 100 classes, maps of 64x8x8, and these flattened for losses of relations.
Both sides run eagerly in one process, in turn, on the same tensors; a figure is a median over
rounds. torchdistill's value is compared with ours times a factor where its convention differs.
"""

import argparse
import importlib.util
import json
import statistics
import sys
from collections.abc import Callable
from typing import Any

import report
import torch
import torch.utils.benchmark
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from fkd import losses

BATCH, CLASSES, MAP = 128, 100, (64, 8, 8)
Made = tuple[Callable[..., Tensor], tuple[Tensor, ...]]


def arguments(name: str, device: torch.device) -> tuple[Tensor, ...]:
    """What a loss takes, by name: the student first, then the rest."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    labels = torch.randint(CLASSES, (BATCH,), generator=generator).to(device)
    logits = normal(BATCH, CLASSES), normal(BATCH, CLASSES)
    maps = normal(BATCH, *MAP), normal(BATCH, *MAP)
    special: dict[str, tuple[Tensor, ...]] = {
        "cross_entropy": (logits[0], labels),
        **{loss: (*logits, labels) for loss in ("dkd", "nkd", "wsld")},
        "vid": (*maps, normal(MAP[0]).exp()),
        "ofd": (*maps, -normal(MAP[0]).abs()),
        "fsp": (*maps, normal(BATCH, *MAP), normal(BATCH, *MAP)),
        "crd": (*(normal(BATCH, 128) for _ in "st"), *(normal(BATCH, 256, 128) for _ in "st")),
    }
    if name in special:
        return special[name]
    home = getattr(losses, name).__module__
    if home.endswith(("_response", "_decoupled", "_correlation")):
        return logits
    if home.endswith(("_relation", "_contrastive")):
        return maps[0].flatten(1), maps[1].flatten(1)
    return maps


def ours(name: str) -> Callable[..., Tensor]:
    """The published loss: the mean over what our function returns."""
    return lambda *given: getattr(losses, name)(*given).mean()


def theirs(name: str) -> tuple[Callable[..., Tensor], float] | None:
    """torchdistill's version of a loss, and what ours is to be multiplied by to equal it."""
    if importlib.util.find_spec("torchdistill") is None:
        return None
    td: Any = importlib.import_module("torchdistill.losses.mid_level")
    path = ("m", "output")
    side: dict[str, Any] = {"path": "m", "io": "output"}
    pair = {"p": {"student": side, "teacher": side, "weight": 1}}
    ends = dict(zip(("student_first", "student_second", "teacher_first", "teacher_second"),
                    ({"path": key, "io": "output"} for key in "abab"), strict=True))  # fmt: skip

    def simple(module: torch.nn.Module) -> Callable[..., Tensor]:
        return lambda s, t, *_: module({"m": {"output": s}}, {"m": {"output": t}})

    known: dict[str, tuple[Callable[[], Callable[..., Tensor]], float]] = {
        "kl_divergence": (lambda: simple(td.KDLoss(*path, *path, temperature=1.0, alpha=0.0)), 1.0),
        "standardized_kl_divergence": (
            lambda: simple(td.LogitStdKDLoss(*path, *path, temperature=2.0, alpha=0.0)),
            1 / 4,  # without T²
        ),
        "dist_inter": (lambda: simple(td.DISTLoss(*path, *path, gamma=0.0)), 1.0),
        "attention_transfer": (lambda: simple(td.ATLoss(pair, mode="paper")), 1.0),
        "attention_transfer_squared": (lambda: simple(td.ATLoss(pair, mode="code")), 1.0),
        "activation_boundary": (
            lambda: simple(td.AltActTransferLoss(pair, margin=1.0, reduction="mean")),
            1.0,
        ),
        "rkd_distance": (lambda: simple(td.RKDLoss("m", "m", 1.0, 0.0, "mean")), 1.0),
        "rkd_angle": (lambda: simple(td.RKDLoss("m", "m", 0.0, 1.0, "mean")), 1.0),
        "similarity": (lambda: simple(td.SPKDLoss("m", "m", "batchmean")), float("nan")),
        "pkt": (lambda: simple(td.PKTLoss(*path, *path)), 1 / BATCH),
        "correlation_congruence": (
            lambda: simple(
                td.CCKDLoss("m", "m", {"type": "gaussian", "gamma": 0.4, "max_p": 2}, "batchmean")
            ),
            float("nan"),
        ),
        "hierarchical_context": (
            lambda: lambda s, t: td.HierarchicalContextLoss(*path, *path)(
                {"m": {"output": (s, None)}}, {"m": {"output": t}}
            ),
            1.0,
        ),
        "factor_transfer": (
            lambda: lambda s, t: td.FTLoss()(
                {"translator": {"output": s}}, {"paraphraser": {"output": t}}
            ),
            1 / (MAP[0] * MAP[1] * MAP[2]),
        ),
        "vid": (
            lambda: lambda s, t, v: td.VIDLoss(pair)(
                {"m": {"output": (s, v.reshape(1, -1, 1, 1))}}, {"m": {"output": t}}
            ),
            1.0,
        ),
        "fsp": (
            lambda: lambda a, b, c, d: td.FSPLoss({"p": ends})(
                {"a": {"output": a}, "b": {"output": b}}, {"a": {"output": c}, "b": {"output": d}}
            ),
            float("nan"),
        ),
        "inter_channel_correlation": (lambda: simple(td.ChSimLoss(pair)), float("nan")),
    }  # fmt: skip
    if name not in known:
        return None
    make, factor = known[name]
    return make(), factor


def gradient(loss: Callable[..., Tensor], given: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """One forward and one gradient with respect to the student."""
    student = given[0].detach().requires_grad_()
    value = loss(student, *given[1:])
    (grad,) = torch.autograd.grad(value, student)
    return value.detach(), grad


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """The most memory that `run` held at once beyond what was there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    assert found.profiler is not None and found.profiler.kineto_results is not None
    held, most = 0, 0
    events: list[Any] = [
        e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"
    ]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def seconds(run: Callable[[], Any], number: int) -> float:
    """Seconds a call, over `number` calls."""
    return torch.utils.benchmark.Timer("run()", globals={"run": run}).timeit(number).mean


def measure(name: str, device: torch.device, rounds: int) -> dict[str, Any]:
    """One loss: our figures, torchdistill's where it has the loss, and their ratios."""
    given = arguments(name, device)
    other = theirs(name)
    sides = {"fkd": ours(name)} | ({"torchdistill": other[0]} if other else {})
    runs = {
        (side, what): run
        for side, loss in sides.items()
        for what, run in (
            ("forward", lambda loss=loss: loss(*given)),
            ("gradient", lambda loss=loss: gradient(loss, given)),
        )
    }
    numbers = {key: max(1, int(0.02 / seconds(run, 2))) for key, run in runs.items()}  # warms up
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            taken[key].append(seconds(run, numbers[key]))
    found: dict[str, Any] = {side: {} for side in sides}
    for (side, what), times in taken.items():
        found[side][f"{what}_ms"] = 1e3 * statistics.median(times)
        found[side][f"{what}_peak_mib"] = peak_bytes(runs[side, what], device) / 2**20
    for side, loss in sides.items():
        found[side]["value"] = float(loss(*given))
    if other:
        pairs = zip(taken["fkd", "gradient"], taken["torchdistill", "gradient"], strict=True)
        found["time_ratio"] = statistics.median(mine / their for mine, their in pairs)
        peaks = (found[side]["gradient_peak_mib"] for side in sides)
        found["memory_ratio"] = next(peaks) / next(peaks)
        if other[1] == other[1]:  # nan: another formula, so the values are not to be compared
            expected = found["torchdistill"]["value"]
            found["value_error"] = abs(found["fkd"]["value"] * other[1] - expected) / abs(expected)
    return found


def table(results: dict[str, Any]) -> Table:
    """A row a loss; a ratio below one means that ours is the quicker or the smaller."""
    made = Table(box=None, padding=(0, 1))
    made.add_column("loss", no_wrap=True)
    for column in ("forward ms", "+ gradient ms", "peak MiB", "time ratio", "memory ratio"):
        made.add_column(column, justify="right")
    for name, found in results["losses"].items():
        mine = found["fkd"]
        ratios = [f"{found[k]:.2f}" if k in found else "" for k in ("time_ratio", "memory_ratio")]
        made.add_row(
            *(name, f"{mine['forward_ms']:.2f}", f"{mine['gradient_ms']:.2f}"),
            *(f"{mine['gradient_peak_mib']:.1f}", *ratios),
        )
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description="What each loss costs, beside torchdistill's.")
    parser.add_argument("--losses", nargs="+", default=losses.__all__, choices=losses.__all__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", help="a new folder for the results")
    given = parser.parse_args()
    device, console = torch.device(given.device), Console()
    if importlib.util.find_spec("torchdistill") is None:
        text = 'torchdistill is not installed, so ours stand alone: pip install "fkd[rivals]"'
        console.print(text, markup=False)
    folder = report.new_folder(given.output, "loss-costs")
    results = {
        "environment": report.environment(),
        "setting": {"batch": BATCH, "classes": CLASSES, "map": MAP, "rounds": given.rounds},
        "device": str(device),
        "losses": {
            name: measure(name, device, given.rounds) for name in track(given.losses, "measuring")
        },
    }
    (folder / "losses.json").write_text(json.dumps(results, indent=1) + "\n")
    console.print(table(results))
    console.print(f"Written to {folder}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
