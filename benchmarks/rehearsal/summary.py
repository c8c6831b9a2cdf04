"""What the stages came to: summary.json, summary.md, and the ladder of students as a picture."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.rehearsal.stage import Outcome
from benchmarks.speed import figures
from fkd.compare.environment import environment

KERNELS = 15  # that are shown
SPAN = ("begin", "part", "seconds")  # what a span tells of itself


def write(folder: Path, outcomes: Sequence[Outcome], minutes: float, rehearsed: bool) -> None:
    """Write all three anew."""
    where = _where()
    whole = {
        "environment": where,
        "minutes": minutes,
        "rehearsed": rehearsed,
        "stages": [asdict(outcome) for outcome in outcomes],
    }
    (folder / "summary.json").write_text(json.dumps(whole, indent=1) + "\n")
    hardware = where["gpu"] or f"{where['processor']}, {where['cores']} cores"
    lines = [
        f"{'Rehearsed, which measures nothing. ' if rehearsed else ''}{hardware}, torch "
        f"{where['torch']}, CUDA {where['cuda']}, {where['date']}, commit {where['commit']}.",
        "",
        *rows(
            ["stage", "ended", "s", "limit", "why"],
            [[o.name, o.ended, f"{o.seconds:.0f}", f"{o.limit:.0f}", o.why] for o in outcomes],
        ),
    ]
    for outcome in outcomes:
        if told := findings(folder / outcome.name):
            lines += ["", f"## {outcome.name}", "", *told]
    (folder / "summary.md").write_text("\n".join(lines) + "\n")
    _draw(folder)


@cache
def _where() -> dict[str, Any]:
    where: dict[str, Any] = environment() | {"cuda": torch.version.cuda, "gpu_gib": None}
    if where["gpu"]:
        where["gpu_gib"] = torch.cuda.get_device_properties(0).total_memory / 2**30
    return where


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def findings(folder: Path) -> list[str]:
    """What a stage's files say, as lines of Markdown; of one that was stopped, what it wrote."""
    told = []
    for name, tell in TOLD.items():
        file = folder / name
        if file.exists():
            try:
                told += tell(json.loads(file.read_text()), folder)
            except (ValueError, LookupError, TypeError) as error:  # it was stopped as it wrote
                told.append(f"{name} is not whole: {type(error).__name__}: {error}")
    return told


def _tests(results: Mapping[str, Any], folder: Path) -> list[str]:
    failed = results["failed"]
    names = [f"- {name}: {why.strip().splitlines()[-1]}" for name, why in failed.items()]
    counts = f"{results['passed']} passed, {len(failed)} failed, {len(results['skipped'])} skipped."
    return [counts, *([""] if names else []), *names]


def _correctness(results: Mapping[str, Any], folder: Path) -> list[str]:
    body = [
        [
            row["method"],
            row["way"],
            row["precision"],
            f"{row['distance']:.1e}" if "distance" in row else "",
            f"{row['bound']:.1e}" if "bound" in row else "",
            "holds" if row["holds"] else row.get("error", "too far"),
        ]
        for row in results["rows"]
    ]
    return rows(["method", "way", "precision", "distance", "bound", ""], body)


def _comparison(results: Mapping[str, Any], folder: Path) -> list[str]:
    seconds = {name: method["seconds"] for name, method in results["methods"].items()}
    steps = sum(each["steps"] for each in seconds.values())
    first = sum(each["first_step"] for each in seconds.values())
    evaluation = sum(each["evaluation"] for each in seconds.values())
    lines = []
    if (folder / "table.md").exists():
        lines += [*(folder / "table.md").read_text().splitlines(), ""]
    own = ", ".join(f"{name} {value:.1f}" for name, value in results["seconds"].items())
    return [
        *lines,
        f"Seconds of all students' steps: {steps:.1f}; of first steps, compilation among them: "
        f"{first:.1f}; of evaluation: {evaluation:.1f}. Of the whole: {own}.",
    ]


def _parts(results: Mapping[str, Any], folder: Path) -> list[str]:
    body = []
    for span in results["spans"]:
        own = {name: value for name, value in span.items() if name not in SPAN}
        within = ", ".join(f"{name} {_number(value)}" for name, value in own.items())
        body.append([f"{span['begin']:.1f}", span["part"], f"{span['seconds']:.2f}", within])
    return rows(["after s", "part", "s", "of which"], body)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _speed(results: Mapping[str, Any], folder: Path) -> list[str]:
    body = []
    for row in results.get("steps", ()):
        shares = row.get("share_of_floor", {})
        body.append(
            [
                row["side"],
                row["precision"],
                str(row["members"]),
                f"{row['ms']:.4f}",
                f"{row['ratios'][0]:.3f}" if row["ratios"] else "",
                *(f"{100 * shares[n]:.0f}" if shares else "" for n in ("unfused", "fused")),
                f"{row['peak_mib']:.0f}",
                f"{row['first_step_s']:.1f}",
            ]
        )
    head = ["side", "precision", "members", "ms a student's step", "of plain"]
    head += ["% of floor", "fused", "peak MiB", "first step s"]
    left_out = [f"- left out: {side}: {why}" for side, why in results["left_out"].items()]
    rates = results.get("floor", {}).get("machine")
    machine = []
    if rates:
        flops = ", ".join(f"{p} {v / 1e12:.0f}" for p, v in rates["flops_a_second"].items())
        machine = ["", f"{rates['bytes_a_second'] / 1e12:.2f} TB/s; TFLOP/s: {flops}."]
    return [*rows(head, body), *([""] if left_out else []), *left_out, *machine]


def _convolutions(results: Mapping[str, Any], folder: Path) -> list[str]:
    body, notes = [], []
    for row in results["rows"]:
        case = row["layer"], str(row["members"]), row["precision"]
        if row.get("winner"):
            ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
            body.append([*case, row["candidate"], row["how"], f"{row['ms']:.4f}", ratio])
        if row["note"]:
            notes.append(f"- {', '.join(case)}, {row['candidate']}: {row['note']}")
    head = ["layer", "members", "precision", "winner", "how", "ms a member", "of vmap"]
    return [*rows(head, body), *([""] if notes else []), *notes]


def _kernels(results: Mapping[str, Any], folder: Path) -> list[str]:
    lines = []
    for name, step in results["steps"].items():
        if "error" in step:
            lines += [f"{name}: {step['error']}", ""]
            continue
        body = [
            [
                f"{100 * row['share']:.1f}",
                f"{row['us_a_step']:.1f}",
                f"{row['calls_a_step']:.1f}",
                row["kind"],
                f"`{row['kernel'][:90]}`",
            ]
            for row in step["kernels"][:KERNELS]
        ]
        kinds = ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in step["by_kind"].items())
        lines += [
            f"{name}: a step takes {step['ms_a_step']:.3f} ms, its kernels "
            f"{step['kernel_ms_a_step']:.3f}: {kinds}.",
            "",
            *rows(["%", "µs a step", "calls", "kind", "kernel"], body),
            "",
        ]
        if step.get("parts"):  # of its first steps
            lines += [*_parts({"spans": step["parts"]}, folder), ""]
    return lines


def _memory(results: Mapping[str, Any], folder: Path) -> list[str]:
    body = [
        [
            row["precision"],
            row["compile"],
            str(row["members"]),
            f"{row['peak_mib']:.0f}" if "peak_mib" in row else row["error"],
            f"{row['mib_a_member']:.1f}" if "peak_mib" in row else "",
        ]
        for row in results["rows"]
    ]
    return rows(["precision", "compile", "members", "peak MiB", "of a member"], body)


def _networks(results: Mapping[str, Any], folder: Path) -> list[str]:
    body = [
        [
            row["side"],
            f"{row['ms']:.3f}",
            f"{row['epoch_s']:.2f}",
            "" if row["of_plain"] is None else f"{row['of_plain']:.3f}",
            f"{row['peak']:.0f}",
        ]
        for row in results["sides"]
    ]
    head = ["side", "ms a student's step", "s an epoch", "of plain", "peak MiB"]
    left_out = [f"- left out: {side}: {why}" for side, why in results["left_out"].items()]
    return [*rows(head, body), *([""] if left_out else []), *left_out]


def _losses(results: Mapping[str, Any], folder: Path) -> list[str]:
    body = []
    for name, entry in results["losses"].items():
        ours = entry["fkd"]
        times = f"{ours['forward_ms']:.3f}", f"{ours['gradient_ms']:.3f}"
        body.append([name, *times, f"{ours['gradient_peak_mib']:.1f}"])
    return rows(["loss", "forward ms", "with gradient", "peak MiB"], body)


Tell = Callable[[Mapping[str, Any], Path], list[str]]
TOLD: dict[str, Tell] = {
    "tests.json": _tests,
    "correctness.json": _correctness,
    "results.json": _comparison,
    "parts.json": _parts,
    "speed.json": _speed,
    "convolutions.json": _convolutions,
    "kernels.json": _kernels,
    "memory.json": _memory,
    "networks.json": _networks,
    "losses.json": _losses,
}


def _draw(folder: Path) -> None:
    """The ladder of all precisions in one picture, from what the stages of the ladder wrote."""
    parts = []
    for file in sorted(folder.glob("ladder-*/speed.json")):
        try:
            parts.append(json.loads(file.read_text()))
        except ValueError:  # it was stopped as it wrote
            continue
    if not parts:
        return
    together = parts[0] | {"steps": [row for part in parts for row in part.get("steps", ())]}
    figures.write(folder, together)
