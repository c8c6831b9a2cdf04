"""One loss's time and memory, ours and torchdistill's in turn."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.utils.benchmark
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.losses import cases, torchdistill


def gradient(loss: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """One forward and one gradient with respect to the student."""
    student = inputs[0].detach().requires_grad_()
    value = loss(student, *inputs[1:])
    (grad,) = torch.autograd.grad(value, student)
    return value.detach(), grad


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """The most memory that `run` held at once beyond what was there before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    assert record.profiler is not None and record.profiler.kineto_results is not None
    events: list[Any] = record.profiler.kineto_results.events()
    held, most = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def seconds(run: Callable[[], Any], number: int) -> float:
    """Seconds a call, over `number` calls."""
    return torch.utils.benchmark.Timer("run()", globals={"run": run}).timeit(number).mean


def measure(name: str, device: torch.device, rounds: int, turn: float = 0.02) -> dict[str, Any]:
    """One loss: our figures, torchdistill's where it has the loss, and their ratios.

    A turn takes about `turn` seconds.
    """
    inputs = cases.inputs(name, device)
    other = torchdistill.version(name)
    sides = {"fkd": cases.published(name)}
    if other:
        sides["torchdistill"] = other.loss
    runs: dict[tuple[str, str], Callable[[], Any]] = {}
    for side, loss in sides.items():
        runs[side, "forward"] = partial(loss, *inputs)
        runs[side, "gradient"] = partial(gradient, loss, inputs)
    numbers = {key: max(1, int(turn / seconds(run, 2))) for key, run in runs.items()}  # warms up
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            times[key].append(seconds(run, numbers[key]))
    results: dict[str, Any] = {side: {} for side in sides}
    for (side, what), values in times.items():
        results[side][f"{what}_ms"] = 1e3 * statistics.median(values)
        results[side][f"{what}_peak_mib"] = peak_bytes(runs[side, what], device) / 2**20
    for side, loss in sides.items():
        results[side]["value"] = float(loss(*inputs))
    if other:
        results |= _ratios(results, times, other.factor)
    return results


def _ratios(
    results: dict[str, Any], times: dict[tuple[str, str], list[float]], factor: float | None
) -> dict[str, float]:
    ours, theirs = results["fkd"], results["torchdistill"]
    pairs = zip(times["fkd", "gradient"], times["torchdistill", "gradient"], strict=True)
    ratios = {
        "time_ratio": statistics.median(mine / other for mine, other in pairs),
        "memory_ratio": ours["gradient_peak_mib"] / theirs["gradient_peak_mib"],
    }
    if factor is not None:
        expected = theirs["value"]
        ratios["value_error"] = abs(ours["value"] * factor - expected) / abs(expected)
    return ratios
